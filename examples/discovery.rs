//! A source of backends of your own: a file of lines, read anew every ten seconds.
//!
//! ```text
//! cargo run --example discovery -- check -c examples/conf/discovery.yaml
//! cargo run --example discovery -- -c examples/conf/discovery.yaml
//! curl 127.0.0.1:8000/
//! echo '127.0.0.1:8002 3' >> examples/conf/backends.txt
//! cargo run --example discovery -- status                   # within 10 s: two backends
//! ```
//!
//! Two backends for it, each in a terminal: `python3 -m http.server 8001` and `python3 -m http.server 8002`.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use evenkeel::app::App;
use pingora::lb::Backend;
use pingora::lb::discovery::ServiceDiscovery;
use pingora::prelude::{Error, ErrorType, OrErr, Result};
use serde::Deserialize;

/// What stands beside the name in the configuration: a file of lines like `10.0.0.1:80 5`, address and weight. A weight of 0
/// lets a backend finish what it has, and gives it nothing new.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    file: PathBuf,
}

#[async_trait]
impl ServiceDiscovery for Lines {
    // An error leaves the backends as they are, and is logged. The second of the pair is not asked.
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let text = std::fs::read_to_string(&self.file);
        let text = text.or_err_with(ErrorType::FileReadError, || self.file.display().to_string())?;
        let mut backends = BTreeSet::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (address, weight) = line.split_once(' ').unwrap_or((line, "1"));
            let Ok(weight @ 0..=1000) = weight.trim().parse() else {
                return Error::e_explain(ErrorType::InternalError, format!("no weight of 0 to 1000 in '{line}'"));
            };
            let found = tokio::net::lookup_host(address).await;
            for address in found.or_err_with(ErrorType::InternalError, || format!("no address in '{line}'"))? {
                backends.insert(Backend::new_with_weight(&address.to_string(), weight)?);
            }
        }
        Ok((backends, HashMap::new()))
    }
}

fn extend(app: App) -> App {
    app.discovery("lines", |options| options.parse::<Lines>())
}

fn main() -> ExitCode {
    evenkeel::cli::main(extend)
}

#[cfg(test)]
mod tests {
    use evenkeel::testing::{Backend, Balancer};

    #[test]
    fn backends_are_those_of_the_file() -> std::io::Result<()> {
        let (one, two, drained) = (Backend::saying("one"), Backend::saying("two"), Backend::saying("drained"));
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, format!("{one} 3\n# no backend\n{two} 1\n{drained} 0\n"))?;
        let source = format!("discovery: {{ lines: {{ file: {} }} }}", file.path().display());
        let balancer = Balancer::start(&format!("pools: {{ web: {{ {source} }} }}"), super::extend);
        let answers: String = (0..8).map(|_| balancer.get("/").send().text().into_owned()).collect();
        assert_eq!((answers.matches("one").count(), answers.matches("two").count()), (6, 2));
        assert!(balancer.pool("web").backends.iter().any(|it| it.state == "draining"));
        Ok(())
    }
}
