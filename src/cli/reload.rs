//! `evenkeel reload`: load the file's changes into the running process; `evenkeel plan`: say what that would do.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use structopt::StructOpt;

use super::{client, failed, wrong};
use crate::admin::{ApiError, Candidate, Receipt, ReloadRequest};

/// `plan`: there are changes.
const CHANGES: u8 = 3;

/// What the admin address answers to a configuration with mistakes.
const UNPROCESSABLE: u16 = 422;

#[derive(Debug, StructOpt)]
pub(super) struct ReloadArguments {
    /// The configuration file, which must be that of the running process
    #[structopt(short = "c", long = "conf", value_name = "FILE")]
    conf: Option<PathBuf>,
    /// The admin address, if it is not the one in the file
    #[structopt(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Print the receipt as JSON
    #[structopt(long)]
    json: bool,
}

#[derive(Debug, StructOpt)]
pub(super) struct PlanArguments {
    /// The configuration file, the running process's or another
    #[structopt(short = "c", long = "conf", value_name = "FILE")]
    conf: PathBuf,
    /// The admin address, if it is not the one in the file
    #[structopt(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Print it as JSON
    #[structopt(long)]
    json: bool,
}

pub(super) fn reload(arguments: &ReloadArguments) -> ExitCode {
    let conf = arguments.conf.as_deref();
    let admin = match address(conf, arguments.admin) {
        Ok(admin) => admin,
        Err(code) => return code,
    };
    let body = ReloadRequest { file: conf.map(absolute) };
    match order(admin, "/api/v1/reload", &body) {
        Ok(receipt) if arguments.json => print_json(&receipt),
        Ok(receipt) => {
            warn(&receipt);
            println!("{receipt}");
            ExitCode::SUCCESS
        }
        Err(refused) => refused.say(conf),
    }
}

pub(super) fn plan(arguments: &PlanArguments) -> ExitCode {
    let file = &arguments.conf;
    let admin = match address(Some(file), arguments.admin) {
        Ok(admin) => admin,
        Err(code) => return code,
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) => return wrong(format!("{}: cannot be read: {e}", file.display())),
    };
    let receipt = match order(admin, "/api/v1/plan", &Candidate { file: absolute(file), text }) {
        Ok(receipt) => receipt,
        Err(refused) => return refused.say(Some(file)),
    };
    if arguments.json {
        print_json(&receipt);
    } else {
        show(&receipt);
    }
    if receipt.nothing() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) }
}

/// What a plan says.
fn show(receipt: &Receipt) {
    warn(receipt);
    if receipt.nothing() {
        println!("no changes");
        return;
    }
    for difference in &receipt.changes {
        println!("{difference}");
    }
    println!("{receipt}");
    if !receipt.needs_upgrade.is_empty() {
        println!("a reload would refuse this; it needs an upgrade: {}", receipt.needs_upgrade.join("; "));
    }
}

fn warn(receipt: &Receipt) {
    for warning in &receipt.warnings {
        eprintln!("warning: {warning}");
    }
}

fn print_json(receipt: &Receipt) -> ExitCode {
    match serde_json::to_string_pretty(receipt) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => failed(e),
    }
}

/// Where to ask: a file with mistakes says that as well, unless somebody else says it.
fn address(conf: Option<&Path>, admin: Option<SocketAddr>) -> Result<SocketAddr, ExitCode> {
    match admin {
        Some(admin) => Ok(admin),
        None => client::address(conf, None),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Why it was not done.
enum Refused {
    /// The configuration is wrong.
    Wrong(String),
    Failed(String),
}

impl Refused {
    /// The process knows the file by its absolute path; who asked called it otherwise.
    fn say(self, conf: Option<&Path>) -> ExitCode {
        let named = |message: String| match conf {
            Some(conf) => message.replace(&*absolute(conf).to_string_lossy(), &conf.to_string_lossy()),
            None => message,
        };
        match self {
            Refused::Wrong(message) => wrong(named(message)),
            Refused::Failed(message) => failed(named(message)),
        }
    }
}

fn order(admin: SocketAddr, path: &str, body: &impl serde::Serialize) -> Result<Receipt, Refused> {
    let body = serde_json::to_vec(body).map_err(|e| Refused::Failed(e.to_string()))?;
    let (status, answer) = client::order(admin, path, body).map_err(Refused::Failed)?;
    if status == 200 {
        return serde_json::from_slice(&answer)
            .map_err(|e| Refused::Failed(format!("{admin} cannot be understood: {e}")));
    }
    let message = match serde_json::from_slice::<ApiError>(&answer) {
        Ok(refused) => refused.error,
        Err(_) => format!("{admin} answers with status {status}; is it the admin address of this version?"),
    };
    Err(if status == UNPROCESSABLE { Refused::Wrong(message) } else { Refused::Failed(message) })
}
