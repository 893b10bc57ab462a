//! A hook of your own on the way of a request: a filter that lets in who has an API key, and tells the backend who that is.
//!
//! ```text
//! cargo run --example hook -- check -c examples/conf/hook.yaml
//! cargo run --example hook -- -c examples/conf/hook.yaml
//! curl -i 127.0.0.1:8000/                               # 401
//! curl -i -H 'X-Api-Key: wrong' 127.0.0.1:8000/         # 403
//! curl -i -H 'X-Api-Key: open-sesame' 127.0.0.1:8000/   # to a backend, with X-Api-Client: alice
//! ```
//!
//! Two backends for it, each in a terminal: `python3 -m http.server 8001` and `python3 -m http.server 8002`.

use std::collections::HashMap;
use std::process::ExitCode;

use async_trait::async_trait;
use evenkeel::app::App;
use evenkeel::filter::{Ctx, Filter};
use pingora::http::RequestHeader;
use pingora::prelude::{Error, HTTPStatus, Result};
use pingora::proxy::Session;
use serde::Deserialize;

/// What stands beside the name in the configuration: whose key is which.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKey {
    keys: HashMap<String, String>,
}

/// What one hook leaves in the context for the next.
#[derive(Clone)]
struct Client(String);

#[async_trait]
impl Filter for ApiKey {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(key) = session.req_header().headers.get("x-api-key") else {
            return Error::e_explain(HTTPStatus(401), "no X-Api-Key");
        };
        let Some(client) = key.to_str().ok().and_then(|key| self.keys.get(key)) else {
            return Error::e_explain(HTTPStatus(403), "unknown X-Api-Key");
        };
        ctx.extensions.insert(Client(client.clone()));
        Ok(false)
    }

    async fn upstream_request_filter(&self, _: &mut Session, to: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
        // The backend learns who asks, not the key.
        to.remove_header("x-api-key");
        if let Some(Client(name)) = ctx.extensions.get().cloned() {
            to.insert_header("X-Api-Client", name)?;
        }
        Ok(())
    }
}

fn extend(app: App) -> App {
    app.filter("api_key", |options| options.parse::<ApiKey>())
}

fn main() -> ExitCode {
    evenkeel::cli::main(extend)
}

#[cfg(test)]
mod tests {
    use evenkeel::testing::{Backend, Balancer};

    #[test]
    fn who_has_a_key_comes_in() {
        let backend = Backend::saying("in");
        let pools = format!("pools: {{ web: {{ backends: [{backend}] }} }}");
        let routes = "routes: [{ pool: web, filters: [api_key: { keys: { sesame: alice } }] }]";
        let balancer = Balancer::start(&format!("{pools}\n{routes}"), super::extend);
        let ask = |key: &str| balancer.get("/").header("X-Api-Key", key).send().status();
        assert_eq!(balancer.get("/").send().status(), 401);
        assert_eq!((ask("wrong"), ask("sesame")), (403, 200));
        let [seen] = &backend.requests()[..] else { panic!("a refused request has got to the backend") };
        assert_eq!((seen.header("x-api-client"), seen.header("x-api-key")), (Some("alice"), None));
    }

    #[test]
    fn a_typo_does_not_start() {
        let yaml =
            "pools: { web: { backends: [127.0.0.1:1] } }\nroutes: [{ pool: web, filters: [api_key: { key: {} }] }]";
        let refused = Balancer::try_start(yaml, super::extend).unwrap_err().to_string();
        assert!(refused.contains("did you mean 'keys'?"), "{refused}");
    }
}
