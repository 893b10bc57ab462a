//! A client that lives with a balancer for long, does many things at once, and counts everything that goes wrong.
//!
//! ```text
//! traffic --http 127.0.0.1:8080 --h2 127.0.0.1:8081 --websockets 500 --downloads 50
//! ```
//!
//! Everything can be checked: who is asked gives back what it is asked with ([`mirror.rs`](../mirror.rs)). Requests are sent
//! when they are due, whatever became of the others; streams stay open and are opened anew if they were cut. Each failure is
//! counted by who met it, by its kind and by the phase that it happened in. Nothing is sent a second time, except what the
//! balancer, by the rules of HTTP, has not begun with: what could not be written to a connection that it had closed, and
//! what HTTP/2 says was refused.
//!
//! It is told by lines on standard input: `phase NAME` says what happens from now on, `report` has it print what there
//! was so far as a line of JSON, and `stop` (or the end of the input) ends it, after a last report.

#[path = "traffic/download.rs"]
mod download;
#[path = "traffic/http1.rs"]
mod http1;
#[path = "traffic/http2.rs"]
mod http2;
#[path = "traffic/kind.rs"]
mod kind;
#[path = "traffic/ledger.rs"]
mod ledger;
#[path = "traffic/pattern.rs"]
mod pattern;
#[path = "traffic/request.rs"]
mod request;
#[path = "traffic/websocket.rs"]
mod websocket;

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use structopt::StructOpt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use ledger::Ledger;

/// Requests and streams for a balancer, until it is told to stop; counts every failure.
#[derive(Clone, Debug, StructOpt)]
#[structopt(name = "traffic")]
struct Options {
    /// Where HTTP/1.1 is spoken
    #[structopt(long)]
    http: SocketAddr,
    /// Where HTTP/2 is spoken without TLS
    #[structopt(long)]
    h2: Option<SocketAddr>,
    /// Requests by HTTP/1.1 per second, on average
    #[structopt(long, default_value = "300")]
    rate: f64,
    /// Requests by HTTP/2 per second, on average
    #[structopt(long, default_value = "100")]
    h2_rate: f64,
    /// Share of the requests that are POSTs with a body
    #[structopt(long, default_value = "0.1")]
    posts: f64,
    /// How many requests a connection is used for, on average
    #[structopt(long, default_value = "50")]
    reuse: usize,
    /// How many WebSockets are open
    #[structopt(long, default_value = "0")]
    websockets: usize,
    /// How often each sends a message
    #[structopt(long, default_value = "1s", parse(try_from_str = humantime::parse_duration))]
    message_every: Duration,
    /// How many downloads are under way
    #[structopt(long, default_value = "0")]
    downloads: usize,
    /// How long each takes
    #[structopt(long, default_value = "3m", parse(try_from_str = humantime::parse_duration))]
    download_time: Duration,
    /// Bytes per second of each
    #[structopt(long, default_value = "16384")]
    download_rate: u64,
    /// After what time a request has failed, an echo is lost, and a download that is silent is dead
    #[structopt(long, default_value = "10s", parse(try_from_str = humantime::parse_duration))]
    timeout: Duration,
    /// The same seed sends at the same times
    #[structopt(long, default_value = "1")]
    seed: u64,
}

/// What every task needs.
#[derive(Clone)]
struct Shared {
    options: Arc<Options>,
    ledger: Arc<Ledger>,
    /// Becomes true when all has to end.
    stop: watch::Receiver<bool>,
}

impl Shared {
    async fn stopped(&self) {
        // Without a sender it is over as well.
        let _ = self.stop.clone().wait_for(|stopped| *stopped).await;
    }
}

fn start(shared: &Shared) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(request::arrive(shared.clone(), request::Client::Http1(http1::Client::new(&shared.options))));
    if let Some(address) = shared.options.h2 {
        tasks.spawn(request::arrive(
            shared.clone(),
            request::Client::Http2(http2::Client::new(address, &shared.options)),
        ));
    }
    for number in 0..shared.options.websockets {
        tasks.spawn(websocket::live(shared.clone(), number));
    }
    for number in 0..shared.options.downloads {
        tasks.spawn(download::go_on(shared.clone(), number));
    }
    tasks
}

/// The lines of standard input, read aside: it cannot be waited for otherwise.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let (stop, stopped) = watch::channel(false);
    let shared = Shared { options: Arc::new(options), ledger: Arc::new(Ledger::new()), stop: stopped };
    let mut tasks = start(&shared);
    let mut commands = commands();
    while let Some(line) = commands.recv().await {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("phase", name) => shared.ledger.enter(name),
            ("report", _) => writeln!(io::stdout(), "{}", shared.ledger.report())?,
            ("stop", _) => break,
            _ => eprintln!("traffic: '{line}' is not phase NAME, report or stop"),
        }
    }
    stop.send_replace(true);
    // What was begun is waited for, as far as its timeouts let it.
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    writeln!(io::stdout(), "{}", shared.ledger.report())?;
    Ok(())
}

fn main() -> ExitCode {
    let options = Options::from_args();
    // One thread: no request waits for a lock, and the rest of the machine is left to those who answer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("traffic: {error}");
            ExitCode::FAILURE
        }
    }
}
