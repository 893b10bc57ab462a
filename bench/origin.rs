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

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use structopt::StructOpt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

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
    fn take(&mut self, now: Instant) -> Instant {
        let free = self.free.pop().map_or(now, |Reverse(free)| free.max(now));
        let factor = if self.constant { 1.0 } else { -(1.0 - self.random.f64()).ln() };
        let done = free + self.service.mul_f64(factor);
        self.free.push(Reverse(done));
        done
    }
}

async fn listen(listener: TcpListener, workers: Workers) {
    let name = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let (name, workers) = (Bytes::from(name), Arc::new(Mutex::new(workers)));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, name.clone(), Arc::clone(&workers)))),
            Err(error) => {
                // No more file descriptors, most likely: some may be closed soon.
                eprintln!("origin: cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, name: Bytes, workers: Arc<Mutex<Workers>>) {
    let answer = |_: Request<Incoming>| {
        let done = workers.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let name = name.clone();
        async move {
            sleep_until(done).await;
            let response =
                Response::builder().header("X-Origin", name.as_ref()).body(Full::new(Bytes::from_static(b"done\n")));
            Ok::<_, Infallible>(response.expect("an address is a valid header"))
        }
    };
    // A client that goes away is no matter of ours.
    let _ = stream.set_nodelay(true);
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    for (number, (address, service)) in options.places.iter().enumerate() {
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        let workers = Workers {
            free: vec![Reverse(Instant::now()); options.parallel.max(1)].into(),
            service: *service,
            constant: options.constant,
            random: fastrand::Rng::with_seed(options.seed.wrapping_add(number as u64)),
        };
        println!("{}", listener.local_addr()?);
        tokio::spawn(listen(listener, workers));
    }
    Ok(tokio::signal::ctrl_c().await?)
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
