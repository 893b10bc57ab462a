//! The demo's switch: `POST /demo/stop/NAME` and `POST /demo/start/NAME`. A filter like anybody's.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use pingora_core::Result;
use pingora_proxy::Session;

use super::sample::Sample;
use crate::filter::{Answer, Ctx, Filter};

/// Stops and starts the samples.
pub(super) struct Switch {
    samples: Vec<Arc<Sample>>,
}

impl Switch {
    pub(super) fn new(samples: &[Arc<Sample>]) -> Self {
        Switch { samples: samples.to_vec() }
    }

    /// What to answer; nothing for what it does not know.
    fn turn(&self, method: &Method, path: &str) -> Option<(StatusCode, String)> {
        let (stop, name) = match path.strip_prefix("/demo/")?.split_once('/')? {
            ("stop", name) => (true, name),
            ("start", name) => (false, name),
            _ => return None,
        };
        let sample = self.samples.iter().find(|sample| sample.name == name)?;
        if method != Method::POST {
            return Some((StatusCode::METHOD_NOT_ALLOWED, format!("POST {path}\n")));
        }
        let now = match (stop, sample.stop(stop)) {
            (true, true) => "is killed: its socket is closed, its connections are cut",
            (true, false) => "is dead already",
            (false, true) => "listens again",
            (false, false) => "is alive already",
        };
        Some((StatusCode::OK, format!("{name} {now}\n")))
    }
}

#[async_trait]
impl Filter for Switch {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let request = session.req_header();
        let Some((status, text)) = self.turn(&request.method, request.uri.path()) else {
            return Ok(false);
        };
        let mut answer = Answer::new(status.as_u16())?.text(text);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            answer = answer.header("Allow", "POST")?;
        }
        answer.send(session, ctx).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_post_that_names_a_sample_turns_it() {
        let sample = Sample::new("b", ([127, 0, 0, 1], 1).into(), Duration::ZERO);
        let switch = Switch::new(&[sample]);
        let turn = |method, path| switch.turn(&method, path).map(|(status, _)| status.as_u16());
        for path in ["/demo", "/demo/", "/demo/stop", "/demo/stop/", "/demo/stop/x", "/demo/burn/b"] {
            assert_eq!(turn(Method::POST, path), None, "{path}");
        }
        assert_eq!(turn(Method::GET, "/demo/stop/b"), Some(405));
        assert!(switch.samples[0].stop(true), "a GET has not stopped it");
        assert_eq!(turn(Method::POST, "/demo/start/b"), Some(200));
        assert!(switch.samples[0].stop(true), "it was started");
    }
}
