//! Backends that give back what they get, so that a client can tell that nothing was lost, changed or given to another.
//!
//! ```text
//! mirror 127.0.0.1:9001=2ms 127.0.0.1:9002=8ms
//! ```
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /healthz` | 200 at once; counted as a probe |
//! | `GET /-/counts` | how many requests and probes there were, as JSON |
//! | an upgrade to WebSocket | every message comes back |
//! | `GET /download?bytes=N&rate=R` | N bytes of a [pattern](pattern), R each second |
//! | `POST` | the body, after the service time |
//! | anything else | its path and query, after the service time |
//!
//! Every answer names its address in `X-Origin`. Requests do not wait for one another: service times are spread
//! evenly from half of what was said to one and a half, so that nobody is slow by chance and ejected for it.

#[path = "mirror/answer.rs"]
mod answer;
#[path = "mirror/counts.rs"]
mod counts;
#[path = "traffic/pattern.rs"]
mod pattern;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use structopt::StructOpt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use answer::Place;
use counts::Counts;

/// Gives back what it gets at every address, until it is ended. Prints the addresses.
#[derive(Debug, StructOpt)]
#[structopt(name = "mirror")]
struct Options {
    /// Where to listen, and how long a request takes on average, like 127.0.0.1:9001=2ms
    #[structopt(value_name = "ADDRESS=SERVICE", required = true, parse(try_from_str = place))]
    places: Vec<(SocketAddr, Duration)>,
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

async fn listen(listener: TcpListener, place: Arc<Place>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&place)))),
            Err(error) => {
                eprintln!("mirror: cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, place: Arc<Place>) {
    // A client that goes away is no matter of ours.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| Arc::clone(&place).answer(request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    for (number, (address, service)) in options.places.iter().enumerate() {
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        let place = Place {
            name: listener.local_addr()?.to_string(),
            service: *service,
            random: Mutex::new(fastrand::Rng::with_seed(options.seed.wrapping_add(number as u64))),
            counts: Counts::new(),
        };
        println!("{}", place.name);
        tokio::spawn(listen(listener, Arc::new(place)));
    }
    Ok(tokio::signal::ctrl_c().await?)
}

fn main() -> ExitCode {
    let options = Options::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mirror: {error}");
            ExitCode::FAILURE
        }
    }
}
