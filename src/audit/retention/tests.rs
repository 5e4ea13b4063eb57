//! Segments of several years: what goes, what stays and why, on trails of a run each.

use std::path::Path;

use super::*;
use crate::audit::answers::{AnswerError, Answers, Ask, Piece};
use crate::audit::archived::testing::archived;
use crate::audit::fixture;
use crate::audit::hold;
use crate::audit::log::{MasterKey, RealFiles, Truncation, headers, verify};
use crate::audit::show::{Filter, Show};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::config::{self, Archive, ArchiveLock, ArchiveTarget};
use crate::store::Store;

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

fn configured(dir: &Path) -> config::Audit {
    config::Audit {
        segment_bytes: 1 << 26,
        checkpoint_records: 1,
        checkpoint_interval: Duration::from_secs(1),
        ..fixture::configured(dir)
    }
}

async fn open(config: &config::Audit, day: &str) -> (Audit, Answers) {
    open_with(config, day, fixture::store(SystemClock::shared()).await).await
}

async fn open_with(config: &config::Audit, day: &str, store: Store) -> (Audit, Answers) {
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

async fn ask(answers: &Answers, ask: Ask) -> Result<Vec<Piece>, AnswerError> {
    let mut answering = answers.begin("alice", ask).await?;
    let mut pieces = Vec::new();
    while let Some(step) = answering.step()? {
        pieces.extend(step);
    }
    pieces.extend(answers.finish(answering).await?);
    Ok(pieces)
}

fn segments(config: &config::Audit) -> usize {
    headers(&RealFiles, &config.directory).unwrap().len()
}

fn is_intact(config: &config::Audit) -> bool {
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

#[tokio::test]
async fn only_what_is_old_goes_only_when_told_and_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    // Three runs, a segment each.
    for day in ["2024-02-29", "2024-03-01", "2028-01-01"] {
        let (audit, _) = open(&config, day).await;
        audit.log().shutdown().unwrap();
    }
    // The second run began on 1 March 2024, so the first segment is kept through that day of 2030.
    let (audit, answers) = open(&config, "2030-03-01").await;
    let listed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
    assert!(
        matches!(listed[..], [Piece::Age(_), Piece::Removed(0)]),
        "{listed:?}"
    );
    audit.log().shutdown().unwrap();
    assert_eq!(segments(&config), 4);
    drop((audit, answers));

    let (audit, answers) = open(&config, "2030-03-02").await;
    let listed = ask(&answers, Ask::Retention { apply: false })
        .await
        .unwrap();
    let [Piece::Age(age), Piece::Expired(expired)] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!((age.segments, age.over), (5, 1));
    assert_eq!(expired.kept_through.to_string(), "2030-03-01");
    assert_eq!(segments(&config), 5, "listing removes nothing");
    let removed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    audit.log().shutdown().unwrap();
    assert_eq!(segments(&config), 4);
    assert!(is_intact(&config));
    drop((audit, answers));

    let (audit, _) = open(&config, "2030-03-03").await;
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
    let retired: Vec<_> = entries
        .filter(|shown| shown.entry.event == Some(Event::AuditRetired))
        .collect();
    assert_eq!(retired.len(), 1);
    let detail = &retired[0].entry.detail;
    assert_eq!(detail["operator"], "alice");
    assert!(
        detail["segments"].contains(&expired.segment.head.to_string()),
        "{detail:?}"
    );
    drop(audit);
}

#[tokio::test]
async fn without_its_witness_nothing_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = configured(dir.path());
    for day in ["2020-01-01", "2020-01-02"] {
        let (audit, _) = open(&config, day).await;
        audit.log().shutdown().unwrap();
    }
    config.witnesses = vec![config::witness::Witness::File(
        dir.path().join("no/such/place"),
    )];
    let (audit, answers) = open(&config, "2030-01-01").await;
    let refused = ask(&answers, Ask::Retention { apply: true })
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("nothing was removed"),
        "{refused}"
    );
    audit.log().shutdown().unwrap();
    assert_eq!(segments(&config), 3);
}

/// Five runs, a segment each, of which the first three are old enough in 2031 (the fourth ended in 2030), and something about patient 4 in the
/// second.
async fn five_runs(config: &config::Audit, store: &Store) {
    for (run, day) in ["2020", "2021", "2022", "2023", "2030"].iter().enumerate() {
        let (audit, _) = open_with(config, &format!("{day}-03-01"), store.clone()).await;
        if run == 1 {
            let about = BTreeMap::from([("patient".to_owned(), "4".to_owned())]);
            audit.event(Event::BreakGlass, None, about).await.unwrap();
        }
        audit.log().shutdown().unwrap();
    }
}

fn hold(patient: &str) -> Ask {
    Ask::Hold(hold::Ask::Add {
        matter: "2026-CV-14".to_owned(),
        scope: hold::Scope {
            patient: Some(patient.to_owned()),
            ..hold::Scope::default()
        },
        reason: "letter of the court".to_owned(),
    })
}

#[tokio::test]
async fn nothing_from_the_first_held_segment_on_goes() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    let store = fixture::store(SystemClock::shared()).await;
    five_runs(&config, &store).await;
    let (audit, answers) = open_with(&config, "2031-06-01", store).await;
    ask(&answers, hold("5")).await.unwrap();
    ask(&answers, hold("4")).await.unwrap();
    let listed = ask(&answers, Ask::Retention { apply: false }).await;
    let [_, Piece::Expired(first), Piece::Kept(kept)] = &listed.unwrap()[..] else {
        panic!("one goes, one stays");
    };
    assert_eq!(
        (first.segment.number, kept.segment.number, kept.behind),
        (1, 2, 1)
    );
    let stop = Stop {
        hold: 2,
        matter: "2026-CV-14".to_owned(),
    };
    assert_eq!(kept.why, Why::Held(vec![stop]));
    let removed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    let release = hold::Ask::Release {
        id: 2,
        reason: "settled".to_owned(),
    };
    let mut bob = answers.begin("bob", Ask::Hold(release)).await.unwrap();
    assert!(matches!(
        bob.step().unwrap().as_deref(),
        Some([Piece::Hold(_)])
    ));
    let removed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(2)));
    audit.log().shutdown().unwrap();
    assert!(is_intact(&config));
}

#[tokio::test]
async fn a_hold_that_the_store_forgot_is_found_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    let store = fixture::store(SystemClock::shared()).await;
    five_runs(&config, &store).await;
    let (audit, answers) = open_with(&config, "2031-06-01", store).await;
    ask(&answers, hold("4")).await.unwrap();
    audit.log().shutdown().unwrap();
    drop((audit, answers));
    // As after a restore from an older backup.
    let (audit, answers) = open(&config, "2031-06-02").await;
    let refused = ask(&answers, Ask::Retention { apply: true }).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("hold 1 (matter 2026-CV-14)"), "{refused}");
    assert_eq!(segments(&config), 7);
    ask(&answers, hold("4")).await.unwrap();
    let removed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    audit.log().shutdown().unwrap();
}

#[tokio::test]
async fn a_hold_that_is_set_meanwhile_stops_a_removal_and_no_store_means_none() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    let store = fixture::store(SystemClock::shared()).await;
    five_runs(&config, &store).await;
    let (audit, answers) = open_with(&config, "2031-06-01", store).await;
    let begun = answers.begin("alice", Ask::Retention { apply: true }).await;
    let mut removal = begun.unwrap();
    while removal.step().unwrap().is_some() {}
    ask(&answers, hold("4")).await.unwrap();
    let refused = answers.finish(removal).await.unwrap_err().to_string();
    assert!(refused.contains("changed in the meantime"), "{refused}");
    assert_eq!(segments(&config), 6);

    let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
    let holdings = Holdings::new(&config, Arc::new(RealFiles), master);
    let blind = Answers::new(audit.clone(), holdings, SystemClock::shared());
    let refused = ask(&blind, Ask::Retention { apply: false }).await;
    assert!(refused.unwrap_err().to_string().contains("is not open"));
    audit.log().shutdown().unwrap();
}

#[tokio::test]
async fn what_the_archive_does_not_hold_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = configured(dir.path());
    let target = ArchiveTarget::Directory(dir.path().join("archive"));
    let shelf = target.describe();
    config.archive = Some(Archive {
        target,
        lock: ArchiveLock::Retention,
        every: Duration::from_hours(1),
    });
    let store = fixture::store(SystemClock::shared()).await;
    five_runs(&config, &store).await;
    let (audit, answers) = open_with(&config, "2031-06-01", store.clone()).await;
    let shelf = Shelf::new(store, &shelf);
    for header in headers(&RealFiles, &config.directory).unwrap() {
        if header.number != 2 {
            let known = archived(header.number, header.segment);
            shelf.keep(&known).await.unwrap();
        }
    }
    let removed = ask(&answers, Ask::Retention { apply: true }).await.unwrap();
    let [_, Piece::Expired(_), Piece::Kept(kept), Piece::Removed(1)] = &removed[..] else {
        panic!("{removed:?}");
    };
    assert_eq!(
        (kept.segment.number, &kept.why, kept.behind),
        (2, &Why::NotArchived, 1)
    );
    audit.log().shutdown().unwrap();
    assert!(is_intact(&config));
}
