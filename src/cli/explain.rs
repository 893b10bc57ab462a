//! `evenkeel explain`: what would become of a request, and why.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use structopt::StructOpt;

use super::{client, failed, load, wrong};
use crate::admin::{ApiError, BackendView, Explanation, FilterPlace, PoolChoice, PoolView, Question};
use crate::app;

#[derive(Debug, StructOpt)]
pub(super) struct Arguments {
    /// The host that is asked for
    #[structopt(long, value_name = "HOST", default_value = "")]
    host: String,
    /// The path, with a query or without
    #[structopt(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// The method
    #[structopt(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header; may be given several times
    #[structopt(long = "header", value_name = "NAME:VALUE", number_of_values = 1)]
    headers: Vec<Header>,
    /// The address of who asks
    #[structopt(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The configuration file, for the admin address; explained from it alone if no process answers there
    #[structopt(short = "c", long = "conf", value_name = "FILE")]
    conf: Option<PathBuf>,
    /// The admin address [default: that of the file]
    #[structopt(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Print the explanation as JSON
    #[structopt(long)]
    json: bool,
}

/// `NAME:VALUE`, as curl has it.
#[derive(Clone, Debug)]
struct Header(String, String);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("must be NAME:VALUE, like 'x-canary: 1'")?;
        Ok(Header(name.trim().to_owned(), value.trim().to_owned()))
    }
}

pub(super) fn explain(arguments: &Arguments) -> ExitCode {
    let question = Question {
        method: arguments.method.clone(),
        host: arguments.host.clone(),
        path: arguments.path.clone(),
        headers: arguments.headers.iter().map(|Header(name, value)| (name.clone(), value.clone())).collect(),
        client: arguments.client,
    };
    let explanation = match answer(arguments, &question) {
        Ok(explanation) => explanation,
        Err(code) => return code,
    };
    if arguments.json {
        println!("{}", serde_json::json!(explanation));
    } else {
        print!("{}", screen(&question, &explanation));
    }
    ExitCode::SUCCESS
}

/// From the process that runs, or from the file.
fn answer(arguments: &Arguments, question: &Question) -> Result<Explanation, ExitCode> {
    let config = arguments.conf.as_deref().map(load).transpose().map_err(wrong)?;
    let asked = match client::address_of(config.as_ref(), arguments.admin) {
        Some(admin) => ask(admin, question),
        None => Err("this configuration has no admin address (admin: off)".to_owned()),
    };
    match (asked, config) {
        (Ok(said), _) => said.map_err(wrong),
        (Err(e), Some(config)) => {
            eprintln!("from the file alone, nothing is known of backends: {e}");
            app::explain(&config, None, question).map_err(wrong)
        }
        (Err(e), None) => Err(failed(e)),
    }
}

/// What a process says: an explanation, or what is wrong with the question. The error is why it says nothing.
fn ask(admin: SocketAddr, question: &Question) -> Result<Result<Explanation, String>, String> {
    let body = serde_json::json!(question).to_string().into_bytes();
    match client::order(admin, "/api/v1/explain", body)? {
        (200, body) => match serde_json::from_slice(&body) {
            Ok(said) => Ok(Ok(said)),
            Err(e) => Err(format!("{admin} does not answer as evenkeel does: {e}")),
        },
        (400, body) => Ok(Err(why(&body))),
        (status, _) => Err(format!("{admin} answered with status {status}")),
    }
}

fn why(body: &[u8]) -> String {
    serde_json::from_slice::<ApiError>(body).map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |e| e.error)
}

fn screen(question: &Question, said: &Explanation) -> String {
    let host = if question.host.is_empty() { "any host" } else { &question.host };
    let mut out = format!("{} {} of {host}\n", question.method, question.path);
    // Writing to a string does not fail.
    if question.path.split('?').next() != Some(said.path.as_str()) {
        let _ = writeln!(out, "path      {}, in its one form", said.path);
    }
    if let Some(why) = &said.refused {
        let _ = writeln!(out, "refused   {why}");
        return out;
    }
    match &said.route {
        Some(route) => {
            let _ = writeln!(out, "route     {}{}: {}", route.key, line(route.line), route.matches);
            let _ = writeln!(out, "          {}", route.does);
        }
        None => out.push_str("route     none: 404, no_route\n"),
    }
    for passed in &said.passed_over {
        let _ = writeln!(out, "not       {}{}: {} does not hold", passed.key, line(passed.line), passed.because);
    }
    for filter in &said.filters {
        let _ = writeln!(out, "filter    {}", place(filter));
    }
    for pool in &said.pools {
        out.push_str(&choice(pool));
    }
    out
}

fn line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(" (line {line})") }
}

fn place(filter: &FilterPlace) -> String {
    match &filter.listener {
        Some(address) => format!("{}, {}, for what comes to {address}", filter.name, filter.key),
        None => format!("{}, {}", filter.name, filter.key),
    }
}

fn choice(pool: &PoolChoice) -> String {
    let share = if pool.share < 1.0 { format!(", {:.1}%", pool.share * 100.0) } else { String::new() };
    let Some(state) = &pool.state else { return format!("pool      {}{share}\n", pool.name) };
    let mut out =
        format!("pool      {}{share}: {} of {} backends admitted\n", pool.name, state.admitted, state.backends.len());
    let width = state.backends.iter().map(|backend| backend.address.len()).max().unwrap_or_default();
    for backend in &state.backends {
        let (may, why) = pick(state, backend);
        let word = if may { "may be picked" } else { "not picked" };
        let _ = writeln!(out, "  {:width$}  {word}: {why}", backend.address);
    }
    out
}

/// Whether it may be picked now, and why.
fn pick(pool: &PoolView, backend: &BackendView) -> (bool, String) {
    let BackendView { state, reason, preferred, in_flight, .. } = backend;
    let said = reason.as_ref().map_or_else(|| state.clone(), |reason| format!("{state}, {reason}"));
    if backend.max_in_flight.is_some_and(|max| *in_flight >= max) {
        return (false, format!("{said}, full with {in_flight} in flight"));
    }
    if !backend.admitted {
        // In a pool that fails open.
        let open = *preferred > 0.0 && pool.admitted == 0;
        return (open, if open { format!("{said}, but nobody is admitted, and health is not asked") } else { said });
    }
    if *preferred == 0.0 && pool.backends.iter().any(|one| one.preferred > 0.0) {
        let zone = backend.zone.as_ref().map(|zone| format!(" in zone {zone}")).unwrap_or_default();
        return (false, format!("{said}, priority {}{zone}: only for what others cannot take", backend.priority));
    }
    (true, format!("{said}, weight {}, {in_flight} in flight", backend.weight))
}
