//! Evenkeel: a programmable HTTP load balancer on [Pingora](pingora).
//!
//! The binary of the same name runs a YAML file. This library is the same program with doors in it: it registers what is
//! yours under a name, and the file then says where it is used. Built-in and registered names are equals.
//!
//! | to add | implement | register with | named in the file as |
//! |---|---|---|---|
//! | a hook on a request | [`filter::Filter`], with the names of `ProxyHttp`'s own hooks | [`app::App::filter`] | `filters: [NAME]` of a route |
//! | a balancing algorithm | pingora's `BackendSelection`, or [`selection::Algorithm`] for a [`selection::Selection`] | [`app::App::balance`] | `balance: NAME` of a pool |
//! | a health check | pingora's `HealthCheck` | [`app::App::health_check`] | `health_check: { NAME: {} }` of a pool |
//! | a source of backends | pingora's `ServiceDiscovery` | [`app::App::discovery`] | `discovery: NAME` of a pool |
//!
//! A whole program that adds a filter. `check`, `status` and every other command know it too:
//!
//! ```no_run
//! use async_trait::async_trait;
//! use evenkeel::filter::{Ctx, Filter};
//! use pingora::http::ResponseHeader;
//! use pingora_proxy::Session;
//!
//! /// Tells the client which backend has answered: `filters: [served_by: { header: x-served-by }]`.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct ServedBy {
//!     header: String,
//! }
//!
//! #[async_trait]
//! impl Filter for ServedBy {
//!     async fn response_filter(
//!         &self,
//!         _session: &mut Session,
//!         response: &mut ResponseHeader,
//!         ctx: &mut Ctx,
//!     ) -> pingora::Result<()> {
//!         if let Some(backend) = ctx.backend() {
//!             response.insert_header(self.header.clone(), backend.label())?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     evenkeel::cli::main(|app| app.filter("served_by", |options| options.parse::<ServedBy>()))
//! }
//! ```
//!
//! Whoever wants another proxy altogether implements `ProxyHttp` and takes a [`pool::Pool`] from a [`pool::PoolBuilder`]:
//! [`pool::Pool::acquire`] gives the next backend, [`pool::Pool::again`] says whether another attempt follows, and
//! [`pool::PoolService`] keeps discovery and health checks going: `examples/own_proxy.rs`.
//!
//! What you add is tested in ten lines, with the balancer in the test's own process: [`testing`].
//!
//! Everything else is told in the [`book`], the pages of `docs/`.
//!
//! # The modules, from the top down
//!
//! A module uses those below it and never those above.
//!
//! | module | holds |
//! |---|---|
//! | [`testing`] | a test kit: the balancer in a test's process, backends that follow a script |
//! | [`cli`] | the command line: arguments in, exit code out |
//! | [`app`] | the composition root: a configuration and what is registered become a pingora `Server` |
//! | `front` | a client's connection on its way to pingora: its limits, and its end |
//! | [`admin`] | what people see of a running process: readiness, metrics, JSON |
//! | [`proxy`] | the `ProxyHttp` implementation, and the [generation](proxy::Generation) that it serves |
//! | [`access_log`] | a line for each request |
//! | [`filter`], [`route`] | hooks, and what is known of a request while it is under way; which route it takes |
//! | [`terms`] | what is true of every request of a connection |
//! | [`pool`] | a set of backends: pick one, connect to it, try another, probe them all |
//! | [`selection`], [`health`], [`discovery`] | implementations of pingora's three traits |
//! | [`backend`] | what is known of one backend, and the lease on it |
//! | [`metrics`], [`reason`] | every metric; why a request got no answer |
//! | [`config`] | the YAML file as checked, plain data; imports nothing of the others |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access_log;
pub mod admin;
pub mod app;
pub mod backend;
#[cfg(any(doc, doctest))]
pub mod book;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod filter;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod metrics;
pub mod pool;
pub mod proxy;
mod proxy_header;
pub mod reason;
pub mod route;
pub mod selection;
pub mod terms;
pub mod testing;
