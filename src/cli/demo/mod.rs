//! `evenkeel demo`: something to try in one command. Three sample backends that differ in speed, the proxy before them, and
//! a way to stop and start them while requests flow. The proxy is the ordinary one, with the ordinary configuration.

mod sample;
mod switch;

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::run::{end, start_log};
use super::{failed, wrong};
use crate::app::{App, RunError, RunOptions};
use crate::config::{Admin, Config, ConfigError};
use sample::Sample;
use switch::Switch;

/// Where the proxy listens.
const PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// The sample backends: name, the port that each has if nobody else does, and how long an answer takes.
const SAMPLES: [(&str, u16, u64); 3] = [("a", 8001, 1), ("b", 8002, 20), ("c", 8003, 80)];

pub(super) fn demo(extend: &impl Fn(App) -> App) -> ExitCode {
    start_log();
    // Asked here too, so that what is printed is not followed by an error.
    if let Err(e) = [PROXY, Admin::ADDRESS].into_iter().try_for_each(free) {
        return end(Err(e));
    }
    let samples = match samples() {
        Ok(samples) => samples,
        Err(e) => return failed(format!("cannot start the sample backends: {e}")),
    };
    let config = match configuration(&samples) {
        Ok(config) => config,
        Err(e) => return wrong(e),
    };
    print!("{}", guide(&samples, &command()));
    let app = extend(App::new(config)).filter("switch", move |_| Ok(Switch::new(&samples)));
    end(app.run(RunOptions::default()))
}

fn free(address: SocketAddr) -> Result<(), RunError> {
    let listen = |source| RunError::Listen { address: address.to_string(), source };
    TcpListener::bind(address).map(drop).map_err(listen)
}

/// The sample backends, serving.
fn samples() -> io::Result<Vec<Arc<Sample>>> {
    let (mut samples, mut sockets) = (Vec::new(), Vec::new());
    for (name, port, delay) in SAMPLES {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let socket = bind(port).or_else(|_| bind(0))?;
        samples.push(Sample::new(name, socket.local_addr()?, Duration::from_millis(delay)));
        sockets.push(socket);
    }
    sample::serve(samples.iter().cloned().zip(sockets).collect())?;
    Ok(samples)
}

fn configuration(samples: &[Arc<Sample>]) -> Result<Config, ConfigError> {
    let backends: Vec<String> = samples.iter().map(|sample| sample.address.to_string()).collect();
    let text = format!(
        "\
listeners:
  - address: {PROXY}
admin: {{ address: {admin} }}
pools:
  samples:
    backends: [{backends}]
    health_check: {{ http: {{ path: {health} }}, interval: 1s, timeout: 500ms, rise: 2, fall: 2 }}
routes:
  - match: {{ path_prefix: /demo }}
    filters: [switch]
    respond: {{ status: 404, body: \"POST /demo/stop/NAME or /demo/start/NAME\\n\" }}
  - pool: samples
",
        admin = Admin::ADDRESS,
        backends = backends.join(", "),
        health = sample::HEALTH,
    );
    Config::parse(&text, None)
}

/// How this program was called, so that what is printed can be typed.
fn command() -> String {
    let first = std::env::args_os().next();
    first.map_or_else(|| "evenkeel".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What this is, and what to try.
fn guide(samples: &[Arc<Sample>], command: &str) -> String {
    let mut out = format!("Evenkeel on http://{PROXY}, and behind it three sample backends in the same process:\n\n");
    for Sample { name, address, delay, .. } in samples.iter().map(AsRef::as_ref) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {name}  {address}  answers after {} ms", delay.as_millis());
    }
    let tries = [
        (format!("http://{}/", Admin::ADDRESS), "in a browser: what follows, as it happens"),
        (format!("curl {PROXY}/"), "again and again: they take turns"),
        (format!("curl -X POST {PROXY}/demo/stop/b"), "kill b, connections and all"),
        (format!("curl {PROXY}/"), "no request fails: a and c share them"),
        (format!("{command} status"), "b becomes unhealthy within 2 s"),
        (format!("curl {}/api/v1/pools", Admin::ADDRESS), "the same as JSON"),
        (format!("curl -X POST {PROXY}/demo/start/b"), "b is back within 3 s"),
    ];
    out.push_str("\nTry this in another terminal:\n\n");
    let width = tries.iter().map(|(what, _)| what.len()).max().unwrap_or_default();
    for (what, why) in &tries {
        let _ = writeln!(out, "  {what:width$}  # {why}");
    }
    out.push_str("\nCtrl-C ends it. The log follows; what fails on one backend is tried on the next.\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<Arc<Sample>> {
        let sample = |(name, port, delay)| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            Sample::new(name, address, Duration::from_millis(delay))
        };
        SAMPLES.into_iter().map(sample).collect()
    }

    #[test]
    fn the_configuration_is_valid_and_knows_every_sample() {
        let samples = three();
        let config = configuration(&samples).unwrap();
        assert_eq!(config.pools.len(), 1);
        let app = App::new(config).filter("switch", move |_| Ok(Switch::new(&samples)));
        app.check().unwrap();
    }

    #[test]
    fn the_guide_fits_a_terminal_and_says_how_to_stop_and_start() {
        let guide = guide(&three(), "target/debug/evenkeel");
        assert!(guide.lines().all(|line| line.len() <= 100), "{guide}");
        assert!(guide.contains("curl -X POST 127.0.0.1:8000/demo/stop/b"));
        assert!(guide.contains("curl -X POST 127.0.0.1:8000/demo/start/b"));
        assert!(guide.contains("target/debug/evenkeel status"));
    }
}
