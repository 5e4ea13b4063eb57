//! Gathers the facts: from the configuration and the files it names, from the wire, and from what a running gateway said.
//!
//! *Never*: changes anything; a store that is read is a copy.
//! *On failure*: a fact that could not be learnt says why; the others are gathered all the same.

mod files;
mod policies;
mod trail;
mod wire;

use std::path::Path;

use super::facts::{Detections, Facts, Faults, Known, Look, Probed, Scope};
use super::running::{Kept, Running};
use super::updates::{Comparison, UpdateError};
use crate::clock::SharedClock;
use crate::config::Config;

/// What other rooms found, for whoever puts rooms together to bring.
#[derive(Debug)]
pub struct Brought {
    /// What `chartgate check` says of the configuration.
    pub reading: Faults,
    /// What the running gateway says.
    pub running: Known<Running>,
    /// What the store keeps.
    pub kept: Known<Kept>,
    /// What probes around the gateway found.
    pub probes: Known<Vec<Probed>>,
    /// What detection rules come to.
    pub detections: Known<Detections>,
}

/// Gathers everything about the gateway that `file` configures.
pub async fn gather(
    config: Config,
    file: &Path,
    brought: Brought,
    scope: Scope,
    clock: &SharedClock,
) -> Facts {
    let now = clock.now();
    let (listeners, plain) = match scope.network {
        Look::LeftOutBy(option) => {
            let why = format!("left out by {option}");
            (Err(why.clone()), Err(why))
        }
        Look::Closely => (
            Ok(wire::listeners(&config).await),
            Ok(wire::plain(&config).await),
        ),
    };
    let trail = match scope.trail {
        Look::LeftOutBy(option) => Err(format!("left out by {option}")),
        Look::Closely => {
            let mut asked = config.audit.witnesses.clone();
            match scope.network {
                Look::LeftOutBy(_) => asked.retain(|witness| witness.file().is_some()),
                Look::Closely => {}
            }
            trail::verified(&config, &asked, clock)
        }
    };
    Facts {
        now,
        certificates: files::certificates(&config),
        secrets: files::secrets(&config),
        written: files::written(&config),
        rules: files::rules(&config, file),
        disks: files::disks(&config),
        keys: files::keys(&config),
        bundle: policies::bundle(&config),
        profiles: policies::profiles(&config),
        detections: brought.detections,
        plan: files::plan(&config),
        trail,
        advisories: advisories(&config, now),
        listeners,
        plain,
        probes: brought.probes,
        kept: brought.kept,
        clock: files::clock(),
        config,
        reading: brought.reading,
        running: brought.running,
    }
}

fn advisories(config: &Config, now: jiff::Timestamp) -> Known<Option<Comparison>> {
    let Some(feed) = &config.update.feed else {
        return Ok(None);
    };
    let made: Result<Comparison, UpdateError> = Comparison::make(feed, now);
    made.map(Some).map_err(|error| error.to_string())
}
