//! The command line: arguments in, exit code out; one file per command.
//!
//! Exit codes: 0 done, 1 failed at run time, 2 wrong usage or wrong configuration.

mod check;
mod client;
mod demo;
mod drain;
mod explain;
mod reload;
mod run;
mod schema;
mod status;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use structopt::StructOpt;
use structopt::clap::ErrorKind;

use crate::app::App;
use crate::config::{Config, ConfigError};

/// What went wrong, as an exit code.
const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// A programmable HTTP load balancer on Pingora.
#[derive(Debug, StructOpt)]
#[structopt(name = "evenkeel", after_help = "Begin with: evenkeel demo")]
struct Arguments {
    /// The configuration file
    #[structopt(short = "c", long = "conf", value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Run in the background
    #[structopt(short, long)]
    daemon: bool,
    /// Take the listening sockets over from the running process
    #[structopt(short, long)]
    upgrade: bool,
    /// Check the configuration and exit
    #[structopt(short, long)]
    test: bool,
    /// Without a file: the address to listen on, like :8080
    #[structopt(long, value_name = "ADDRESS", requires = "to", conflicts_with = "conf")]
    listen: Option<String>,
    /// Without a file: the backends, like 10.0.0.1:80,10.0.0.2:80
    #[structopt(long, value_name = "HOST:PORT,…", requires = "listen", require_delimiter = true)]
    to: Vec<String>,
    #[structopt(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, StructOpt)]
enum Command {
    /// Try it: three sample backends, the proxy and the admin pages in one process
    Demo,
    /// Find every mistake in a configuration
    Check {
        /// The configuration file
        #[structopt(short = "c", long = "conf", value_name = "FILE")]
        conf: PathBuf,
        /// Print the mistakes as JSON
        #[structopt(long)]
        json: bool,
    },
    /// Say what would become of a request: which route, which filters, who may be picked, and why not the others
    Explain(explain::Arguments),
    /// Print what a configuration may hold as JSON Schema, for editors
    Schema,
    /// Show pools and backends of the running process
    Status {
        /// The configuration file, for the admin address
        #[structopt(short = "c", long = "conf", value_name = "FILE", conflicts_with = "admin")]
        conf: Option<PathBuf>,
        /// The admin address
        #[structopt(long, value_name = "ADDRESS")]
        admin: Option<std::net::SocketAddr>,
        /// Print the state as JSON
        #[structopt(long)]
        json: bool,
    },
    /// Load the changes of the configuration file into the running process
    Reload(reload::ReloadArguments),
    /// Say what a reload of a configuration file would do; exit code 3 if there are changes
    Plan(reload::PlanArguments),
    /// Replace the running process by the program that is there now; returns when that serves
    Upgrade(upgrade::Arguments),
    /// Send a backend of the running process no new work; --wait until what it has is done
    Drain(drain::Arguments),
    /// Send a backend that was drained work again; --wait until it gets it
    Undrain(drain::Arguments),
}

/// Run the command line of this process. `extend` adds to the [`App`] what is yours: filters, algorithms, health checks,
/// sources of backends. Every command then knows them.
pub fn main(extend: impl Fn(App) -> App) -> ExitCode {
    let arguments = match Arguments::from_args_safe() {
        Ok(arguments) => arguments,
        Err(e) if matches!(e.kind, ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed) => {
            println!("{}", e.message);
            return ExitCode::SUCCESS;
        }
        Err(e) => return wrong(&e.message),
    };
    match arguments.command {
        Some(Command::Demo) => demo::demo(&extend),
        Some(Command::Check { conf, json }) => check::check(&conf, json, &extend),
        Some(Command::Explain(arguments)) => explain::explain(&arguments),
        Some(Command::Schema) => schema::schema(&extend),
        Some(Command::Status { conf, admin, json }) => status::status(conf.as_deref(), admin, json),
        Some(Command::Reload(arguments)) => reload::reload(&arguments),
        Some(Command::Plan(arguments)) => reload::plan(&arguments),
        Some(Command::Upgrade(arguments)) => upgrade::upgrade(&arguments),
        Some(Command::Drain(arguments)) => drain::run(drain::Goal::Drained, &arguments),
        Some(Command::Undrain(arguments)) => drain::run(drain::Goal::Admitted, &arguments),
        None => run::run(&arguments, &extend),
    }
}

/// Say what is wrong with the usage or the configuration.
fn wrong(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(WRONG)
}

/// Say what failed.
fn failed(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("evenkeel: {message}");
    ExitCode::from(FAILED)
}

fn load(file: &Path) -> Result<Config, ConfigError> {
    Config::load(file)
}
