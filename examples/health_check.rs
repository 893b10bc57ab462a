//! A health check of your own: a backend is well while the Redis beside it answers PING.
//!
//! ```text
//! redis-server --port 6379 &
//! cargo run --example health_check -- check -c examples/conf/health_check.yaml
//! cargo run --example health_check -- -c examples/conf/health_check.yaml
//! curl 127.0.0.1:8000/
//! redis-cli -p 6379 shutdown                                # within 4 s: 503
//! cargo run --example health_check -- status                # and why
//! ```
//!
//! A backend for it, in another terminal: `python3 -m http.server 8001`.

use std::process::ExitCode;

use async_trait::async_trait;
use evenkeel::app::App;
use pingora::lb::Backend;
use pingora::lb::health_check::HealthCheck;
use pingora::prelude::{Error, ErrorType, OrErr, Result};
use pingora::protocols::l4::socket::SocketAddr;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What stands beside the name in the configuration: the port of the Redis on each backend's host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redis {
    port: u16,
}

#[async_trait]
impl HealthCheck for Redis {
    // The pool's `timeout` bounds the whole of it.
    async fn check(&self, target: &Backend) -> Result<()> {
        let SocketAddr::Inet(address) = &target.addr else {
            return Error::e_explain(ErrorType::ConnectError, "no Redis beside a Unix socket");
        };
        let stream = TcpStream::connect((address.ip(), self.port)).await;
        let mut stream = stream.or_err(ErrorType::ConnectError, "cannot connect to Redis")?;
        let asked = stream.write_all(b"PING\r\n").await;
        asked.or_err(ErrorType::WriteError, "cannot ask Redis")?;
        let mut answer = [0; 7];
        let answered = stream.read_exact(&mut answer).await;
        answered.or_err(ErrorType::ReadError, "no whole answer from Redis")?;
        if &answer == b"+PONG\r\n" {
            return Ok(());
        }
        let answer = answer.escape_ascii();
        Error::e_explain(ErrorType::Custom("NotPong"), format!("Redis answers '{answer}…'"))
    }

    // Not asked: `rise` and `fall` are the pool's.
    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

fn extend(app: App) -> App {
    app.health_check("redis", |options| options.parse::<Redis>())
}

fn main() -> ExitCode {
    evenkeel::cli::main(extend)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    use evenkeel::testing::{Backend, Balancer};

    /// What answers as Redis does, while it is well. It ends with the test's process.
    fn redis(well: &Arc<AtomicBool>) -> std::io::Result<u16> {
        let (listener, well) = (TcpListener::bind("127.0.0.1:0")?, Arc::clone(well));
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut asked = [0; 6];
                if stream.read_exact(&mut asked).is_ok() && &asked == b"PING\r\n" {
                    let answer = if well.load(SeqCst) { "+PONG\r\n" } else { "-LOADING wait\r\n" };
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        Ok(port)
    }

    #[test]
    fn who_has_no_redis_gets_nothing() -> std::io::Result<()> {
        let well = Arc::new(AtomicBool::new(true));
        let (backend, port) = (Backend::saying("answer"), redis(&well)?);
        let check = format!("redis: {{ port: {port} }}, interval: 500ms, timeout: 400ms, rise: 1, fall: 2");
        let yaml = format!("pools: {{ web: {{ backends: [{backend}], health_check: {{ {check} }} }} }}");
        let balancer = Balancer::start(&yaml, super::extend);
        assert_eq!(balancer.get("/").send().text(), "answer");
        well.store(false, SeqCst);
        balancer.wait_until("nobody is admitted", |balancer| balancer.pool("web").admitted == 0);
        let reason = balancer.pool("web").backends[0].reason.clone().unwrap_or_default();
        assert!(reason.starts_with("NotPong: Redis answers '-LOADIN"), "{reason}");
        well.store(true, SeqCst);
        balancer.wait_until("it is admitted again", |balancer| balancer.pool("web").admitted == 1);
        Ok(())
    }
}
