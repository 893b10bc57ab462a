//! Scripts in a VM, without a server around them.

mod api;
mod bounds;
mod load;

use std::sync::Arc;
use std::time::Duration;

use pingora::http::{RequestHeader, ResponseHeader};

use super::failure::Failure;
use super::kept::Kept;
use super::message::{Facts, Reply, Rights};
use super::source::Source;
use super::vm::Passing;
use super::{ANSWERABLE, Hook, RESPONSE, threads};
use crate::filter::Ctx;

/// Longer than the default, for a build that is not optimised.
const TIME: Duration = Duration::from_millis(50);
const MEMORY: usize = 4 << 20;

fn source(text: &str) -> Result<Source, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hooks.lua");
    std::fs::write(&path, text).unwrap();
    Source::read("hooks.lua".as_ref(), path, TIME, MEMORY)
}

/// A script, and a request that passes it.
struct Tried {
    source: Arc<Source>,
    request: RequestHeader,
    response: ResponseHeader,
    kept: Kept,
}

impl Tried {
    fn new(text: &str) -> Self {
        let mut request = RequestHeader::build("GET", b"/a/b?c=d", None).unwrap();
        request.insert_header("X-Tenant", "acme").unwrap();
        let response = ResponseHeader::build(200, None).unwrap();
        Tried { source: Arc::new(source(text).unwrap()), request, response, kept: Kept::default() }
    }

    fn call(&mut self, hook: Hook, rights: Rights) -> Result<Option<Reply>, Failure> {
        let vm = threads::vm(&self.source).unwrap();
        let passing = Passing {
            request: &mut self.request,
            response: rights.see_response.then_some(&mut self.response),
            rights,
            facts: Facts::of(&Ctx::new()),
            kept: std::mem::take(&mut self.kept),
        };
        let (kept, outcome) = vm.call(hook, passing, &self.source);
        self.kept = kept;
        outcome
    }

    fn request_filter(&mut self) -> Result<Option<Reply>, Failure> {
        self.call(Hook::Request, ANSWERABLE)
    }

    fn response_filter(&mut self) -> Result<Option<Reply>, Failure> {
        self.call(Hook::Response, RESPONSE)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What a request_filter of these lines says of the request: the header `x-said` that it sets by `say`.
fn says(lines: &str) -> String {
    let mut tried =
        Tried::new(&in_hook(&format!("local function say(x) request:set_header('x-said', tostring(x)) end {lines}")));
    tried.request_filter().unwrap();
    tried.header("x-said").unwrap_or_default().to_owned()
}

/// How a request_filter of these lines fails.
fn fails(lines: &str) -> Failure {
    Tried::new(&in_hook(lines)).request_filter().err().unwrap_or_else(|| panic!("does not fail: {lines}"))
}

fn in_hook(lines: &str) -> String {
    format!("function request_filter(request) {lines} end")
}
