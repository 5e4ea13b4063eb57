//! Trails of a run for each segment, what is asked of them, and what is left of them.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::audit::answers::AnswerError;
use crate::audit::log::{Truncation, verify};
use crate::audit::show::{Filter, Show};
use crate::clock::{Clock, SharedClock};

/// The calendar stands still, time goes on.
#[derive(Debug)]
struct Calendar(Timestamp, SharedClock);

impl Clock for Calendar {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        self.1.monotonic()
    }
}

/// Five runs, a segment each, of which the first three are old enough in 2031 (the fourth ended in 2030), and something
/// about patient 4 in the second.
pub(super) struct FiveRuns {
    pub(super) dir: TempDir,
    pub(super) config: config::Audit,
    pub(super) store: Store,
}

impl FiveRuns {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        let store = fixture::store(SystemClock::shared()).await;
        let runs = Self { dir, config, store };
        for (run, day) in ["2020", "2021", "2022", "2023", "2030"].iter().enumerate() {
            let (audit, _) = runs.open(&format!("{day}-03-01")).await;
            if run == 1 {
                let about = BTreeMap::from([("patient".to_owned(), "4".to_owned())]);
                audit.event(Event::BreakGlass, None, about).await.unwrap();
            }
            audit.log().shutdown().unwrap();
        }
        runs
    }

    /// Opened for a sixth run, as all of these tests do.
    pub(super) async fn in_2031(&self) -> (Audit, Answers) {
        self.open("2031-06-01").await
    }

    pub(super) async fn open(&self, day: &str) -> (Audit, Answers) {
        open_with(&self.config, day, self.store.clone()).await
    }
}

pub(super) fn configured(dir: &Path) -> config::Audit {
    config::Audit {
        segment_bytes: 1 << 26,
        checkpoint_records: 1,
        checkpoint_interval: Duration::from_secs(1),
        ..fixture::configured(dir)
    }
}

pub(super) async fn open(config: &config::Audit, day: &str) -> (Audit, Answers) {
    open_with(config, day, fixture::store(SystemClock::shared()).await).await
}

pub(super) async fn open_with(config: &config::Audit, day: &str, store: Store) -> (Audit, Answers) {
    let limits = fixture::limits();
    let time = format!("{day}T10:00:00Z").parse().unwrap();
    let clock: SharedClock = Arc::new(Calendar(time, SystemClock::shared()));
    let files = Arc::new(RealFiles);
    let opened = Audit::open(
        config,
        &limits,
        files.clone(),
        clock.clone(),
        Truncation::Refuse,
    );
    let (audit, _) = opened.await.unwrap();
    let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
    let mut holdings = Holdings::new(config, files, master).with_store(store);
    if !config
        .witnesses
        .iter()
        .all(|path| path.file().and_then(Path::parent).is_some_and(Path::is_dir))
    {
        // A witness that has no place will not get one by waiting.
        holdings.patience = Duration::ZERO;
    }
    (audit.clone(), Answers::new(audit, holdings, clock))
}

pub(super) async fn ask(answers: &Answers, ask: Ask) -> Result<Vec<Piece>, AnswerError> {
    let mut answering = answers.begin("alice", ask).await?;
    let mut pieces = Vec::new();
    while let Some(step) = answering.step()? {
        pieces.extend(step);
    }
    pieces.extend(answers.finish(answering).await?);
    Ok(pieces)
}

/// A hold on what is about this patient.
pub(super) fn hold(patient: &str) -> Ask {
    Ask::Hold(hold::Ask::Add {
        matter: "2026-CV-14".to_owned(),
        scope: hold::Scope {
            patient: Some(patient.to_owned()),
            ..hold::Scope::default()
        },
        reason: "letter of the court".to_owned(),
    })
}

/// What is older than the retention.
pub(super) const fn retention(apply: bool) -> Ask {
    Ask::Retention { apply, shown: None }
}

/// The segment that nothing goes from on, and why.
pub(super) async fn first_kept(answers: &Answers) -> Option<(u64, Why)> {
    let listed = ask(answers, retention(false)).await.unwrap();
    listed.into_iter().find_map(|piece| {
        let Piece::Kept(kept) = piece else {
            return None;
        };
        Some((kept.segment.number, kept.why))
    })
}

pub(super) fn segments(config: &config::Audit) -> usize {
    headers(&RealFiles, &config.directory).unwrap().len()
}

pub(super) fn is_intact(config: &config::Audit) -> bool {
    let witness = std::fs::read_to_string(config.witnesses[0].file().unwrap()).unwrap();
    let key = SigningKey::read(&config.signing_key).unwrap();
    let report = verify(
        &RealFiles,
        &config.directory,
        key.verifier(),
        &[("witness", &witness)],
        None,
    );
    report.unwrap().is_intact()
}

/// The details of these events, oldest first.
pub(super) fn recorded(config: &config::Audit, event: Event) -> Vec<BTreeMap<String, String>> {
    let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
    let all = Filter::default();
    let mut show = Show::new(
        Arc::new(RealFiles),
        &config.directory,
        master,
        all,
        u64::MAX,
    );
    let entries = std::iter::from_fn(|| show.next_match().unwrap());
    entries
        .filter(|shown| shown.entry.event == Some(event))
        .map(|shown| shown.entry.detail)
        .collect()
}
