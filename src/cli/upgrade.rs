//! `evenkeel upgrade`: replace the running process by the program that is there now.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use structopt::StructOpt;

use super::{client, failed, load, wrong};
use crate::admin::{ApiError, Handover};
use crate::config::Config;

/// Beyond what the process itself gives its successor: to start it, and to see to its end if it fails.
const BEYOND: Duration = Duration::from_secs(30);

#[derive(Debug, StructOpt)]
pub(super) struct Arguments {
    /// The configuration file, for the admin address
    #[structopt(short = "c", long = "conf", value_name = "FILE")]
    conf: Option<PathBuf>,
    /// The admin address, if it is not the one in the file
    #[structopt(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Print the result as JSON
    #[structopt(long)]
    json: bool,
}

pub(super) fn upgrade(arguments: &Arguments) -> ExitCode {
    let config = match arguments.conf.as_deref().map(load).transpose() {
        Ok(config) => config,
        // The successor would not start with it either.
        Err(e) => return wrong(e),
    };
    let limit = config.as_ref().map_or(Config::UPGRADE_TIMEOUT, |config| config.upgrade_timeout) + BEYOND;
    let Some(admin) = client::address_of(config.as_ref(), arguments.admin) else {
        return wrong(
            "this configuration has no admin address (admin: off); send the process USR2, and look into its log",
        );
    };
    match client::order_within(admin, "/api/v1/upgrade", Vec::new(), limit) {
        Ok((200, answer)) => match serde_json::from_slice::<Handover>(&answer) {
            Ok(_) if arguments.json => {
                print!("{}", String::from_utf8_lossy(&answer));
                ExitCode::SUCCESS
            }
            Ok(Handover { from, to, what }) => {
                println!("process {to} serves in the place of {from}: {what}");
                ExitCode::SUCCESS
            }
            Err(e) => failed(format!("{admin} cannot be understood: {e}")),
        },
        Ok((status, answer)) => match serde_json::from_slice::<ApiError>(&answer) {
            Ok(refused) => failed(format!("not upgraded, the old process serves on: {}", refused.error)),
            Err(_) => failed(format!("{admin} answers with status {status}; is it the admin address of this version?")),
        },
        Err(e) => failed(e),
    }
}
