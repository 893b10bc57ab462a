//! Origins that serve a few requests at a time, each as quick or as slow as it is told.
//!
//! ```text
//! origin 127.0.0.1:9001=25ms 127.0.0.1:9002=25ms 127.0.0.1:9003=250ms --parallel 4
//! ```
//!
//! Each address stands for a server with a small pool of workers: it accepts every connection, but works on at most
//! `--parallel` requests, the others wait in the order in which they came. A worker does nothing but let time pass, so that
//! many such servers fit on one machine. What was begun is finished, even if nobody waits for the answer any more.
//!
//! When a request will be done is known when it comes: from when the workers are free, and from its own service time. So
//! one sleep until then is all there is to it, and how exactly timers wake up does not add up.
//!
//! With `--fault`, SIGUSR1 makes something go wrong with all addresses of the process, and SIGUSR2 ends that:
//!
//! ```text
//! origin 127.0.0.1:9001=5ms --fault errors=0.5 --count & sleep 5; kill -USR1 $!; sleep 30; kill -INT $!
//! ```

#[path = "origin/deaf.rs"]
mod deaf;
#[path = "origin/fault.rs"]
mod fault;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::future::pending;
use std::io::{self, Write};
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use structopt::StructOpt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use fault::{Fault, Switch};

/// Serves HTTP/1.1 at every address, a few requests at a time, until it is ended. Prints the addresses.
#[derive(Debug, StructOpt)]
#[structopt(name = "origin")]
struct Options {
    /// Where to listen (port 0: any free one), and how long a worker takes for a request, like 127.0.0.1:9001=25ms
    #[structopt(value_name = "ADDRESS=SERVICE", required = true, parse(try_from_str = place))]
    places: Vec<(SocketAddr, Duration)>,
    /// How many requests each address serves at once
    #[structopt(long, default_value = "4", value_name = "K")]
    parallel: usize,
    /// All requests take equally long; without this, service times are distributed exponentially around the given one
    #[structopt(long)]
    constant: bool,
    /// The same seed gives the same service times, in the order of the requests at an address
    #[structopt(long, default_value = "1")]
    seed: u64,
    /// What goes wrong from a SIGUSR1 to a SIGUSR2: slow=TIMES, errors=SHARE (a 500 at once), reset, hang, drip (the body, a
    /// byte each second), drip_header, syn_drop (connections end, new ones are dropped) or blackhole (those that are there
    /// are silent, new ones are dropped)
    #[structopt(long)]
    fault: Option<Fault>,
    /// At the end, print as JSON how many requests each address got, and how many of them while something was wrong
    #[structopt(long)]
    count: bool,
}

fn place(text: &str) -> Result<(SocketAddr, Duration), String> {
    let (address, service) = text.split_once('=').ok_or("must be ADDRESS=SERVICE")?;
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let service = humantime::parse_duration(service).map_err(|error| format!("{service}: {error}"))?;
    Ok((address, service))
}

/// The workers of one address.
struct Workers {
    /// When each one has finished what it was given so far.
    free: BinaryHeap<Reverse<Instant>>,
    service: Duration,
    constant: bool,
    random: fastrand::Rng,
}

impl Workers {
    /// Gives the next request to the worker that is free first, and says when it will be done.
    fn take(&mut self, now: Instant, slower: f64) -> Instant {
        let free = self.free.pop().map_or(now, |Reverse(free)| free.max(now));
        let factor = if self.constant { 1.0 } else { -(1.0 - self.random.f64()).ln() };
        let done = free + self.service.mul_f64(factor * slower);
        self.free.push(Reverse(done));
        done
    }
}

/// One address, and what is known of it.
struct Place {
    name: String,
    workers: Mutex<Workers>,
    switch: Arc<Switch>,
    requests: AtomicU64,
    /// Of those, the ones that came while something was wrong.
    faulty: AtomicU64,
}

impl Place {
    fn take(&self, slower: f64) -> Instant {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), slower)
    }

    /// Whether chance, of this share, is against a request.
    fn draws(&self, share: f64) -> bool {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).random.f64() < share
    }
}

async fn listen(listener: TcpListener, place: Arc<Place>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&place)))),
                Err(error) => {
                    // No more file descriptors, most likely: some may be closed soon.
                    eprintln!("origin: cannot accept: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            () = place.switch.until_deaf() => {
                if let Err(error) = stay_deaf(&listener, &place.switch).await {
                    eprintln!("origin: {}: cannot drop connections: {error}", place.name);
                    return;
                }
            }
        }
    }
}

async fn stay_deaf(listener: &TcpListener, switch: &Switch) -> io::Result<()> {
    let _kept = deaf::deafen(listener).await?;
    switch.until(false).await;
    deaf::hear_again(listener)
}

async fn serve(stream: TcpStream, place: Arc<Place>) {
    // A client that goes away is no matter of ours.
    let _ = stream.set_nodelay(true);
    // The same socket once more, for what is no proper answer.
    let Ok(raw) = stream.as_fd().try_clone_to_owned().map(|raw| Arc::new(net::TcpStream::from(raw))) else { return };
    let service = service_fn(|_: Request<Incoming>| answer(Arc::clone(&place), Arc::clone(&raw)));
    tokio::select! {
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        () = place.switch.until_cut() => {}
    }
}

/// An error ends the connection, and nothing more is sent.
async fn answer(place: Arc<Place>, raw: Arc<net::TcpStream>) -> io::Result<Response<Full<Bytes>>> {
    place.requests.fetch_add(1, Relaxed);
    place.faulty.fetch_add(u64::from(place.switch.is_on()), Relaxed);
    let mut slower = 1.0;
    match place.switch.active() {
        Some(Fault::Slow(times)) => slower = times,
        Some(Fault::Errors(share)) if place.draws(share) => return response(&place, 500, "error\n"),
        Some(Fault::Hang | Fault::SynDrop | Fault::Blackhole) => pending().await,
        Some(Fault::Reset) => {
            // What is closed like this is reset, whatever has been read and sent.
            SockRef::from(&*raw).set_linger(Some(Duration::ZERO))?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::Drip) => return drip(&place, &raw, DRIPPED_HEADER.len()).await,
        Some(Fault::DripHeader) => return drip(&place, &raw, 0).await,
        Some(Fault::Errors(_)) | None => {}
    }
    sleep_until(place.take(slower)).await;
    response(&place, 200, "done\n")
}

fn response(place: &Place, status: u16, body: &'static str) -> io::Result<Response<Full<Bytes>>> {
    let response = Response::builder().status(status).header("X-Origin", &place.name);
    response.body(Full::new(Bytes::from_static(body.as_bytes()))).map_err(io::Error::other)
}

const DRIPPED_HEADER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n";
const DRIPPED_BODY: &[u8] = &[b'.'; 60];

/// After its usual time, sends this many bytes at once and the others one each second, past hyper. Returns when all are
/// sent, or nobody takes them.
async fn drip(place: &Place, mut raw: &net::TcpStream, at_once: usize) -> io::Result<Response<Full<Bytes>>> {
    sleep_until(place.take(1.0)).await;
    let bytes = [DRIPPED_HEADER, DRIPPED_BODY].concat();
    let (begin, rest) = bytes.split_at(at_once);
    raw.write_all(begin)?;
    for byte in rest {
        sleep(Duration::from_secs(1)).await;
        raw.write_all(&[*byte])?;
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let switch = Arc::new(Switch::new(options.fault));
    // Before the addresses are printed: who has seen them may send a signal.
    let (mut begins, mut ends) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let mut places = Vec::new();
    for (number, (address, service)) in options.places.iter().enumerate() {
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        let workers = Workers {
            free: vec![Reverse(Instant::now()); options.parallel.max(1)].into(),
            service: *service,
            constant: options.constant,
            random: fastrand::Rng::with_seed(options.seed.wrapping_add(number as u64)),
        };
        let place = Arc::new(Place {
            name: listener.local_addr()?.to_string(),
            workers: Mutex::new(workers),
            switch: Arc::clone(&switch),
            requests: AtomicU64::new(0),
            faulty: AtomicU64::new(0),
        });
        println!("{}", place.name);
        places.push(Arc::clone(&place));
        tokio::spawn(listen(listener, place));
    }
    loop {
        tokio::select! {
            _ = begins.recv() => turn(&switch, true),
            _ = ends.recv() => turn(&switch, false),
            interrupted = tokio::signal::ctrl_c() => break interrupted?,
        }
    }
    if options.count {
        println!("{}", counts(&places));
    }
    Ok(())
}

fn turn(switch: &Switch, broken: bool) {
    switch.set(broken);
    println!("{}", if broken { "broken" } else { "well" });
}

fn counts(places: &[Arc<Place>]) -> serde_json::Value {
    let of = |place: &Place| {
        let (requests, faulty) = (place.requests.load(Relaxed), place.faulty.load(Relaxed));
        (place.name.clone(), serde_json::json!({ "requests": requests, "faulty": faulty }))
    };
    places.iter().map(|place| of(place)).collect()
}

fn main() -> ExitCode {
    let options = Options::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("origin: {error}");
            ExitCode::FAILURE
        }
    }
}
