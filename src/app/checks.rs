//! The built-in health checks of a process. Pools that ask the same get the very same check, by which it is known that one probe
//! is enough for all of them, and that a reload need not probe anew.

use std::sync::Arc;

use super::files;
use crate::config::{HealthCheck, Mistake, Probe};
use crate::health::{Check, GrpcCheck, HttpCheck, TcpCheck, Trust};

/// Every check that is in use.
pub(super) struct Checks {
    /// Whom those over TLS trust that do not say it themselves.
    ca_file: Option<String>,
    trust: Trust,
    built: Vec<Built>,
}

struct Built {
    probe: Probe,
    /// What stood in the files that it was made of.
    files: Vec<u8>,
    check: Check,
}

impl Checks {
    /// None so far. `ca_file` says whom those over TLS trust.
    pub(super) fn new(ca_file: Option<&str>) -> Self {
        Checks { ca_file: ca_file.map(str::to_owned), trust: Trust::new(ca_file), built: Vec::new() }
    }

    /// Forget those that nobody uses any more, and read anew whom to trust.
    pub(super) fn renew(&mut self) {
        self.built.retain(|built| Arc::strong_count(&built.check) > 1);
        self.trust = Trust::new(self.ca_file.as_deref());
    }

    /// Whom those over TLS trust that do not say it themselves.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The check that `settings` of a pool ask for.
    pub(super) fn built_in(&mut self, pool: &str, settings: &HealthCheck) -> Result<Check, Mistake> {
        let files = files::of_probe(&settings.probe, self.ca_file.as_deref());
        let same = |built: &&Built| built.probe == settings.probe && built.files == files;
        if let Some(built) = self.built.iter().find(same) {
            return Ok(Arc::clone(&built.check));
        }
        let (key, made) = self.make(&settings.probe);
        let check = made.map_err(|message| {
            let key = format!("pools.{pool}.health_check.{key}");
            Mistake::new(settings.at, key, format!("not usable here: {message}"))
        })?;
        self.built.push(Built { probe: settings.probe.clone(), files, check: Arc::clone(&check) });
        Ok(check)
    }

    fn make(&self, probe: &Probe) -> (&'static str, Result<Check, String>) {
        match probe {
            Probe::Http(probe) => {
                ("http.tls", HttpCheck::new(probe, &self.trust).map(|check| Arc::new(check) as Check))
            }
            Probe::Grpc(probe) => {
                ("grpc.tls", GrpcCheck::new(probe, &self.trust).map(|check| Arc::new(check) as Check))
            }
            Probe::Tcp | Probe::Extension(_) => ("", Ok(Arc::new(TcpCheck))),
        }
    }
}
