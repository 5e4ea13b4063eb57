//! What other rooms know, brought together for an assessment: backups, reviews, probes, detection rules.
//!
//! *Never*: opens the store itself, which a gateway may be about to start with; a copy of it is read.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::State as ArchiveState;
use crate::assembly::posture as rooms;
use crate::audit::log::MasterKey;
use crate::backup::State as BackupState;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::detect::{RuleSet, examples};
use crate::operate::activity_review::Review as ActivityReview;
use crate::operate::permissions::Review;
use crate::posture::facts::{Detections, Known, Look, Probe, Probed, Scope};
use crate::posture::running::{Kept, Running};
use crate::segmentation::{self, Outcome};
use crate::store::Store;

/// What the running gateway says that its store keeps; of a stopped one, what a copy of its store says.
pub(super) async fn kept(
    config: &Config,
    running: Result<&Running, &String>,
    clock: &SharedClock,
) -> Known<Kept> {
    match running {
        Ok(running) => Ok(running.kept.clone()),
        Err(why) => {
            let copied = copied(config, clock).await;
            copied.map_err(|problem| format!("{why}; its store: {problem}"))
        }
    }
}

async fn copied(config: &Config, clock: &SharedClock) -> Known<Kept> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let path = &config.store.path;
    if !path.is_file() {
        return Err("there is none yet".to_owned());
    }
    let key = MasterKey::read(&config.store.key).map_err(|error| text(&error))?;
    let scratch = Scratch::new()?;
    let copy = scratch.path.join("store");
    fs::copy(path, &copy).map_err(|error| text(&error))?;
    let store = Store::embedded_with(&copy, &key.derive_inputs(), clock.clone())
        .await
        .map_err(|error| text(&error))?;
    let backup = BackupState::of(&store)
        .await
        .map_err(|error| text(&error))?;
    let review = Review::last(&store).await.map_err(|error| text(&error))?;
    let activity = ActivityReview::last(&store)
        .await
        .map_err(|error| text(&error))?;
    let archive = match &config.audit.archive {
        Some(archive) => {
            let state = ArchiveState::of(&store, &archive.target.describe()).await;
            Some(state.map_err(|error| text(&error))?)
        }
        None => None,
    };
    Ok(rooms::kept(backup, review, activity, archive))
}

/// A directory that only this user can enter, gone when this is.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Known<Self> {
        let name = format!("chartgate-posture-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // SECURITY: it must not be there already: somebody else's directory is not ours to write in.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("{}: {error}", shown(&path)))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %shown(&self.path), "a copy of the store was left behind");
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Makes every probe around the gateway.
pub(super) async fn probes(config: &Config, scope: Scope) -> Known<Vec<Probed>> {
    if let Look::LeftOutBy(option) = scope.network {
        return Err(format!("left out by {option}"));
    }
    let found = segmentation::probe(&config.segmentation.probes).await;
    let probed = found.into_iter().map(|finding| Probed {
        name: finding.name,
        emr: finding.emr,
        answer: match finding.outcome {
            Outcome::Closed(_) => Probe::Nobody,
            Outcome::Reachable(address) => Probe::Somebody(address),
            Outcome::Unknown(why) => Probe::Unsure(why),
        },
    });
    Ok(probed.collect())
}

/// Holds the detection rules to their examples.
pub(super) fn detections(config: &Config) -> Known<Detections> {
    let directory = &config.policy.directory;
    let rules = Arc::new(RuleSet::load(directory).map_err(|error| {
        let first = error.problems.first().map(ToString::to_string);
        format!("the rules do not load: {}", first.unwrap_or_default())
    })?);
    let (examples, problems) = examples::load(directory, &rules);
    let mut broken: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let mut good = 0_usize;
    for example in &examples {
        if example.holds(&rules) {
            good = good.saturating_add(1);
        } else {
            broken.push(format!(
                "{}: the rule does not keep to it",
                example.file.display()
            ));
        }
    }
    Ok(Detections {
        rules: rules.alarming().count(),
        examples: good,
        broken,
    })
}
