//! `evenkeel drain` and `evenkeel undrain`: a backend out of service and back, awaited.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use structopt::StructOpt;

use super::{client, failed};
use crate::admin::{ApiError, BackendView, DrainAnswer};
use crate::config;

/// How often the process is asked.
const POLL: Duration = Duration::from_millis(250);
/// How long `--wait` waits if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60);
/// From one line of progress to the next, at least.
const PROGRESS: Duration = Duration::from_secs(1);

#[derive(Debug, StructOpt)]
pub(super) struct Arguments {
    /// The pool, and the backend's address as status shows it
    #[structopt(value_name = "POOL/BACKEND")]
    target: Target,
    /// Come back when it is done
    #[structopt(long)]
    wait: bool,
    /// How long to wait at most [default: 60s]
    #[structopt(long, value_name = "DURATION", requires = "wait", parse(try_from_str = config::duration))]
    timeout: Option<Duration>,
    /// The configuration file, for the admin address
    #[structopt(short = "c", long = "conf", value_name = "FILE", conflicts_with = "admin")]
    conf: Option<PathBuf>,
    /// The admin address
    #[structopt(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

/// A backend of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    pool: String,
    backend: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The first slash: a Unix socket has more of them, a pool's name has none.
        match text.split_once('/') {
            Some((pool, backend)) if !pool.is_empty() && !backend.is_empty() => {
                Ok(Target { pool: pool.to_owned(), backend: backend.to_owned() })
            }
            _ => Err(format!("must be POOL/BACKEND, like web/10.0.0.1:80, got '{text}'")),
        }
    }
}

/// What is to become of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Drained,
    Admitted,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// And what there is to say of it.
    Going(String),
    /// It will not come to it, and why.
    Lost(String),
}

pub(super) fn run(goal: Goal, arguments: &Arguments) -> ExitCode {
    let admin = match client::address(arguments.conf.as_deref(), arguments.admin) {
        Ok(admin) => admin,
        Err(code) => return code,
    };
    let timeout = arguments.wait.then(|| arguments.timeout.unwrap_or(TIMEOUT));
    match (Job { admin, target: &arguments.target, goal, begun: Instant::now() }).run(timeout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(message),
    }
}

struct Job<'a> {
    admin: SocketAddr,
    target: &'a Target,
    goal: Goal,
    begun: Instant,
}

impl Job<'_> {
    /// Ask for it, and if `wait` says how long, wait for it.
    fn run(&self, wait: Option<Duration>) -> Result<(), String> {
        let operation = if self.goal == Goal::Drained { "/drain" } else { "/undrain" };
        let answer: DrainAnswer = understood(self.admin, client::post(self.admin, &self.path(operation))?)?;
        if let Some(warning) = &answer.warning {
            eprintln!("warning: {}: {warning}", self.name());
        }
        match wait {
            Some(timeout) => self.wait(answer.backend, timeout),
            None => {
                self.say(&self.at_once(&answer));
                Ok(())
            }
        }
    }

    /// What there is to say if nobody waits.
    fn at_once(&self, answer: &DrainAnswer) -> String {
        let now = match (self.goal, self.goal.step(&answer.backend)) {
            (_, Step::Going(what) | Step::Lost(what)) => what,
            (Goal::Drained, Step::Done) => "drained".to_owned(),
            (Goal::Admitted, Step::Done) => "admitted".to_owned(),
        };
        match (self.goal, answer.changed) {
            (_, true) => now,
            (Goal::Drained, false) => format!("{now}; it was asked for before"),
            (Goal::Admitted, false) => format!("{now}; no operator had it drain"),
        }
    }

    fn wait(&self, mut view: BackendView, timeout: Duration) -> Result<(), String> {
        let mut progress = Progress::default();
        loop {
            let elapsed = self.begun.elapsed();
            match self.goal.step(&view) {
                Step::Done => {
                    let done = if self.goal == Goal::Drained { "drained" } else { "admitted" };
                    self.say(&format!("{done} after {:.1}s", elapsed.as_secs_f64()));
                    return Ok(());
                }
                Step::Lost(why) => return Err(format!("{}: {why}", self.name())),
                Step::Going(what) if elapsed >= timeout => {
                    let goal = if self.goal == Goal::Drained { "drained" } else { "admitted" };
                    let within = humantime::format_duration(timeout);
                    return Err(format!("{}: not {goal} within {within}: {what}", self.name()));
                }
                Step::Going(what) => {
                    if progress.is_due(&what, Instant::now()) {
                        self.say(&what);
                    }
                }
            }
            thread::sleep(POLL.min(timeout.saturating_sub(elapsed)));
            view = self.view()?;
        }
    }

    fn view(&self) -> Result<BackendView, String> {
        let gone = |e| format!("{}: how it went on is not known: {e}", self.name());
        understood(self.admin, client::get(self.admin, &self.path("")).map_err(gone)?)
    }

    fn path(&self, operation: &str) -> String {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let Target { pool, backend } = self.target;
        format!("/api/v1/pools/{}/backends/{}{operation}", encoded(pool), encoded(backend))
    }

    fn name(&self) -> String {
        format!("{}/{}", self.target.pool, self.target.backend)
    }

    fn say(&self, what: &str) {
        // Whoever read this may have left; the work goes on.
        let _ = writeln!(std::io::stdout(), "{}: {what}", self.name());
    }
}

fn understood<T: DeserializeOwned>(admin: SocketAddr, (status, body): (u16, Vec<u8>)) -> Result<T, String> {
    if status == 200 {
        return serde_json::from_slice(&body).map_err(|e| format!("{admin} does not answer as evenkeel does: {e}"));
    }
    match serde_json::from_slice::<ApiError>(&body) {
        Ok(refused) => Err(refused.error),
        Err(_) => Err(format!("{admin} answered with status {status}")),
    }
}

impl Goal {
    fn step(self, view: &BackendView) -> Step {
        let drain = view.drain.clone().unwrap_or_default();
        let by_operator = drain.operator_seconds.is_some();
        match self {
            Goal::Drained if !by_operator => {
                Step::Lost("it does not drain any more: it was undrained, or the process has been restarted".to_owned())
            }
            Goal::Drained if drain.grace_left_seconds.is_some() => {
                Step::Going(format!("draining, {} in flight; its sticky clients still come", view.in_flight))
            }
            Goal::Drained if view.in_flight > 0 => Step::Going(format!("draining, {} in flight", view.in_flight)),
            Goal::Drained => Step::Done,
            Goal::Admitted if by_operator => Step::Lost("it has been drained again".to_owned()),
            Goal::Admitted if drain.weight_seconds.is_some() => {
                Step::Lost("it drains on, by the weight 0 that its source gives it".to_owned())
            }
            // Its room is another matter: that comes and goes with every request.
            Goal::Admitted if view.state == "healthy" => Step::Done,
            Goal::Admitted => Step::Going(match &view.reason {
                Some(reason) => format!("{}: {reason}", view.state),
                None => view.state.clone(),
            }),
        }
    }
}

/// When there is something new to say: not more than once in [`PROGRESS`], and nothing twice.
#[derive(Default)]
struct Progress {
    last: Option<(String, Instant)>,
}

impl Progress {
    fn is_due(&mut self, what: &str, now: Instant) -> bool {
        let due = self.last.as_ref().is_none_or(|(said, at)| said != what && now - *at >= PROGRESS);
        if due {
            self.last = Some((what.to_owned(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::DrainView;

    #[test]
    fn a_target_is_a_pool_and_an_address() {
        let target = |text: &str| text.parse::<Target>().map(|target| (target.pool, target.backend));
        let is = |pool: &str, backend: &str| Ok((pool.to_owned(), backend.to_owned()));
        assert_eq!(target("api/10.0.1.2:8080"), is("api", "10.0.1.2:8080"));
        assert_eq!(target("api/[::1]:80"), is("api", "[::1]:80"));
        assert_eq!(target("api/unix:/run/a.sock"), is("api", "unix:/run/a.sock"));
        for wrong in ["", "/", "api", "api/", "/10.0.1.2:80"] {
            assert!(target(wrong).unwrap_err().starts_with("must be POOL/BACKEND"), "{wrong}");
        }
    }

    fn step(goal: Goal, state: &str, in_flight: u32, drain: Option<DrainView>) -> Step {
        let mut view: BackendView = serde_json::from_str(
            r#"{ "address": "a:1", "weight": 1, "state": "", "reason": null, "admitted": false, "in_flight": 0, "succeeded": 0,
                 "failed": 0, "cancelled": 0, "probes_passed": 0, "probes_failed": 0, "last_probe_age_seconds": null }"#,
        )
        .unwrap();
        (view.state, view.in_flight, view.drain) = (state.to_owned(), in_flight, drain);
        goal.step(&view)
    }

    fn drain(operator: bool, weight: bool, grace: bool) -> Option<DrainView> {
        let seconds = |on: bool| on.then_some(1.0);
        let (operator_seconds, weight_seconds) = (seconds(operator), seconds(weight));
        Some(DrainView { operator_seconds, weight_seconds, grace_left_seconds: seconds(grace) })
    }

    #[test]
    fn a_drain_ends_with_the_work_and_the_grace() {
        let step = |in_flight, drain| step(Goal::Drained, "draining", in_flight, drain);
        let going = |what: &str| Step::Going(what.to_owned());
        assert_eq!(step(3, drain(true, false, false)), going("draining, 3 in flight"));
        assert_eq!(step(0, drain(true, true, true)), going("draining, 0 in flight; its sticky clients still come"));
        assert_eq!(step(0, drain(true, false, false)), Step::Done);
        assert!(matches!(step(0, None), Step::Lost(_)), "a new process knows nothing of it");
        assert!(matches!(step(0, drain(false, true, false)), Step::Lost(_)));
    }

    #[test]
    fn an_undrain_ends_when_it_is_healthy() {
        let step = |state, drain| step(Goal::Admitted, state, 0, drain);
        assert_eq!(step("unprobed", None), Step::Going("unprobed".to_owned()));
        assert_eq!(step("healthy", None), Step::Done);
        assert!(matches!(step("draining", drain(false, true, false)), Step::Lost(_)));
        assert!(matches!(step("draining", drain(true, false, false)), Step::Lost(_)));
    }

    #[test]
    fn progress_is_told_once_and_not_too_often() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        let mut due = |what: &str, millis| progress.is_due(what, start + Duration::from_millis(millis));
        assert_eq!([due("3", 0), due("3", 5000), due("2", 5250), due("1", 5500)], [true, false, true, false]);
        assert_eq!([due("1", 6249), due("1", 6250), due("1", 9000)], [false, true, false]);
    }
}
