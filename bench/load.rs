//! An open-loop HTTP/1.1 load generator that counts every failure by its kind.
//!
//! Requests are due at the times of a Poisson process, and each is sent when it is due, whatever became of the others. Its
//! latency counts from the moment in which it was due: so waiting for a connection, or for this program, is part of it,
//! and nothing is left out because a server that stalls is asked less (coordinated omission).
//!
//! ```text
//! load http://127.0.0.1:8080/ --rate 400 --seconds 20
//! ```
//!
//! A request that fails counts as one that took all of `--timeout`: nobody gains by failing quickly. Nothing is sent a
//! second time, except what a kept connection, closed by the server meanwhile, did not take over at all. On SIGINT no more
//! requests are sent, and the report is about those that were.

#[path = "load/tally.rs"]
mod tally;

use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use structopt::StructOpt;
use tokio::net::TcpStream;
use tokio::signal;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use tally::{Kind, Outcome, Tally};

/// Sends requests at their time, whatever becomes of them, and prints what became of them as JSON.
#[derive(Debug, StructOpt)]
#[structopt(name = "load")]
struct Options {
    /// What to ask for with GET, like http://127.0.0.1:8080/
    #[structopt(parse(try_from_str = url))]
    url: Uri,
    /// Requests per second, on average
    #[structopt(long, default_value = "100", parse(try_from_str = positive))]
    rate: f64,
    /// For how long requests are sent and counted
    #[structopt(long, default_value = "10", parse(try_from_str = positive))]
    seconds: f64,
    /// For how long requests are sent before that, which are not counted
    #[structopt(long, parse(try_from_str = positive))]
    warmup: Option<f64>,
    /// How long after it was due a request has failed, like 10s
    #[structopt(long, default_value = "10s", parse(try_from_str = humantime::parse_duration))]
    timeout: Duration,
    /// How many connections there may be; a request that finds all of them in use waits
    #[structopt(long, default_value = "4000")]
    connections: usize,
    /// The same seed sends at the same times
    #[structopt(long, default_value = "1")]
    seed: u64,
    /// Write here, for each request, when it was due, its latency and whether it was answered well: microseconds, 1 or 0
    #[structopt(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// A header of every request, like 'Accept: text/html'
    #[structopt(long = "header", value_name = "NAME: VALUE", number_of_values = 1, parse(try_from_str = header))]
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http"), Some(_)) => Ok(url),
        _ => Err("must begin with http://HOST".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|error| format!("{error}"))?;
    if (1e-3..1e9).contains(&number) { Ok(number) } else { Err("must be from 0.001 to 1e9".to_owned()) }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be NAME: VALUE")?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let value = value.trim().parse().map_err(|error| format!("{error}"))?;
    Ok((name, value))
}

type Sender = SendRequest<Empty<Bytes>>;

struct Client {
    address: (String, u16),
    template: Request<Empty<Bytes>>,
    /// A permit is a connection in use. Those that are not are kept here, the last one used on top.
    permits: Semaphore,
    idle: Mutex<Vec<Sender>>,
}

impl Client {
    fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        let host = options.url.host().unwrap_or_default();
        let path = options.url.path_and_query().map_or("/", |path| path.as_str());
        let authority = options.url.authority().map_or(host, |authority| authority.as_str());
        let mut template = Request::get(path).header(HOST, authority).body(Empty::new())?;
        template.headers_mut().extend(options.headers.iter().cloned());
        Ok(Self {
            // An IPv6 address stands in brackets in a URL, and nowhere else.
            address: (host.trim_matches(['[', ']']).to_owned(), options.url.port_u16().unwrap_or(80)),
            template,
            permits: Semaphore::new(options.connections),
            idle: Mutex::default(),
        })
    }

    /// Sends one request and reads its answer to the end.
    async fn ask(&self, deadline: Instant) -> Result<Option<String>, Kind> {
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| "timeout")?.map_err(|_| "stopped")?;
        let (mut sender, response) = self.send(deadline).await?;
        let status = response.status();
        let origin =
            response.headers().get("x-origin").map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        timeout_at(deadline, drain(response)).await.map_err(|_| "timeout")??;
        // A connection that is not to be used again fails this.
        if timeout_at(deadline, sender.ready()).await.is_ok_and(|ready| ready.is_ok()) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        if status.is_success() { Ok(origin) } else { Err(format!("status_{}", status.as_u16())) }
    }

    async fn send(&self, deadline: Instant) -> Result<(Sender, Response<Incoming>), Kind> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_new = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => timeout_at(deadline, self.connect()).await.map_err(|_| "connect_timeout")??,
            };
            let sending = sender.try_send_request(self.template.clone());
            match timeout_at(deadline, sending).await.map_err(|_| "timeout")? {
                Ok(response) => return Ok((sender, response)),
                // It comes back whole: the server closed the connection while we kept it, and has seen nothing of this.
                Err(error) if error.message().is_some() && !is_new => {}
                Err(error) => return Err(kind(error.error())),
            }
        }
    }

    async fn connect(&self) -> Result<Sender, Kind> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|_| "connect")?;
        stream.set_nodelay(true).map_err(|_| "connect")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| kind(&error))?;
        // What goes wrong there is told to the request that it goes wrong for.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn drain(response: Response<Incoming>) -> Result<(), Kind> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| if is_reset(&error) { "reset" } else { "truncated" })?;
    }
    Ok(())
}

fn kind(error: &hyper::Error) -> Kind {
    let word = match error {
        error if is_reset(error) => "reset",
        error if error.is_parse() => "malformed",
        // Anything else is an end of the connection before that of the answer's header.
        _ => "closed",
    };
    word.to_owned()
}

fn is_reset(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe))
}

/// Sends every request at its time; each tells its outcome, if it counts. Ends with the last one sent.
async fn arrive(options: &Options, client: Arc<Client>, outcomes: mpsc::UnboundedSender<Outcome>) {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let begin = Instant::now();
    let counted = begin + Duration::from_secs_f64(options.warmup.unwrap_or_default());
    let end = counted + Duration::from_secs_f64(options.seconds);
    let mut due = begin;
    loop {
        due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / options.rate);
        if due >= end {
            return;
        }
        sleep_until(due).await;
        let (client, outcomes, timeout) = (Arc::clone(&client), outcomes.clone(), options.timeout);
        tokio::spawn(async move {
            let (late, waited) = (due.elapsed(), client.permits.available_permits() == 0);
            let result = client.ask(due + timeout).await;
            let latency = if result.is_ok() { due.elapsed().min(timeout) } else { timeout };
            if due >= counted {
                // The receiver outlives all senders.
                let _ = outcomes.send(Outcome { due: due - counted, late, waited, latency, result });
            }
        });
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let client = Arc::new(Client::new(options)?);
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() + options.warmup.unwrap_or_default();
    let arrivals = async {
        tokio::select! {
            () = arrive(options, client, sender) => {}
            _ = signal::ctrl_c() => {}
        }
    };
    let counting = async {
        let mut tally = Tally::default();
        while let Some(outcome) = outcomes.recv().await {
            tally.add(outcome);
        }
        tally
    };
    let ((), tally) = tokio::join!(arrivals, counting);
    if let Some(path) = &options.samples {
        fs::write(path, tally.samples())?;
    }
    println!("{}", tally.report(began));
    Ok(())
}

fn main() -> ExitCode {
    let options = Options::from_args();
    // One thread: no request waits for a lock, and the rest of the machine is left to those who answer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
