//! What a start finds of earlier runs, and puts on record.

use super::*;
use crate::audit::fixture::{self, limits};
use crate::audit::log::{Priority, RealFiles};
use crate::audit::show::{Filter, Show};
use crate::clock::SystemClock;
use crate::request::Facts;
use std::path::Path;
use std::time::Duration;

pub(super) fn configured(dir: &Path) -> config::Audit {
    config::Audit {
        segment_bytes: 1 << 26,
        checkpoint_records: 10,
        ..fixture::configured(dir)
    }
}

async fn open(config: &config::Audit) -> (Audit, Settled) {
    Audit::open(
        config,
        &limits(),
        Arc::new(RealFiles),
        SystemClock::shared(),
        Truncation::Refuse,
    )
    .await
    .unwrap()
}

pub(super) fn facts() -> Facts {
    Facts {
        request: "r1".to_owned(),
        trace: None,
        client: "192.0.2.1".to_owned(),
        peer: None,
        tls: None,
        emr: None,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        principal: None,
        session: None,
        mapping: None,
        decision: None,
        generation: 1,
        bundle: None,
    }
}

fn shown(config: &config::Audit) -> Vec<Entry> {
    let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
    let mut show = Show::new(
        Arc::new(RealFiles),
        &config.directory,
        master,
        Filter::default(),
        u64::MAX,
    );
    std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
}

async fn stop(audit: Audit) {
    audit
        .event(Event::Stopped, None, BTreeMap::new())
        .await
        .unwrap();
    audit.log().shutdown().unwrap();
}

fn events(config: &config::Audit) -> Vec<Event> {
    shown(config).iter().filter_map(|e| e.event).collect()
}

#[tokio::test]
async fn a_start_after_a_run_that_did_not_stop_is_on_record_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    let (audit, settled) = open(&config).await;
    assert_eq!(settled.before, Before::Nothing);
    stop(audit).await;
    let (audit, settled) = open(&config).await;
    assert_eq!(settled.before, Before::Stopped);
    // Nothing is in flight, and nobody says *stopped*.
    drop(audit);
    let (audit, settled) = open(&config).await;
    assert_eq!((settled.unknown, settled.before), (0, Before::Unclean));
    stop(audit).await;
    assert_eq!(
        events(&config),
        [
            Event::Started,
            Event::Stopped,
            Event::Started,
            Event::Recovered,
            Event::Started,
            Event::Stopped
        ]
    );
    let entries = shown(&config);
    let recovered = entries.iter().find(|e| e.event == Some(Event::Recovered));
    let detail = &recovered.unwrap().detail;
    assert_eq!(
        detail.get("previous_run").map(String::as_str),
        Some("not stopped")
    );
    assert_eq!(
        detail.get("outcomes_unknown").map(String::as_str),
        Some("0")
    );
}

async fn open_patiently(
    config: &config::Audit,
    attempts: u32,
) -> Result<(Audit, Settled), OpenError> {
    let patience = Patience {
        attempts,
        pause: Duration::from_millis(1),
    };
    let limits = limits();
    let opened = Audit::open_within(
        patience,
        Ground::default(),
        config,
        &limits,
        SystemClock::shared(),
        Truncation::Refuse,
    );
    let (audit, settled, found) = opened.await?;
    audit.settle(&found.recovered, found.left, None).await?;
    Ok((audit, settled))
}

#[tokio::test]
async fn a_trail_that_is_being_read_is_waited_for_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    let (reading, _) = open(&config).await;
    let held = open_patiently(&config, 3).await.unwrap_err();
    assert!(matches!(held, OpenError::Log(LogError::Locked { .. })));
    let read = async {
        tokio::task::yield_now().await;
        stop(reading).await;
    };
    let (opened, ()) = tokio::join!(open_patiently(&config, u32::MAX), read);
    assert_eq!(opened.unwrap().1.before, Before::Stopped);
}

#[tokio::test]
async fn an_admission_left_open_gets_outcome_unknown_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    let (audit, settled) = open(&config).await;
    assert_eq!(settled, Settled::default());
    let facts = facts();
    let admit = Entry::admit(&"gw1".into(), audit.now(), &facts);
    audit.append(&admit, Priority::Care).await.unwrap();
    drop(audit);

    let (audit, settled) = open(&config).await;
    assert_eq!(settled.unknown, 1);
    drop(audit);
    let (audit, settled) = open(&config).await;
    assert_eq!(settled.unknown, 0);
    drop(audit);

    let entries = shown(&config);
    let unknown: Vec<_> = entries.iter().filter(|e| e.of == Some(admit.id)).collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].outcome.as_ref().unwrap().end, End::Unknown);
    assert_eq!(
        entries
            .iter()
            .filter(|e| e.event == Some(Event::Started))
            .count(),
        3
    );
    assert_eq!(
        entries
            .iter()
            .filter(|e| e.event == Some(Event::Recovered))
            .count(),
        2,
        "both runs were dropped"
    );
}

/// A run that ended in order, and a start at which the witness's file is not there.
#[tokio::test]
async fn a_witness_that_is_gone_at_the_start_is_on_record_whatever_the_end_before() {
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path());
    stop(open(&config).await.0).await;
    std::fs::remove_file(dir.path().join("witness")).unwrap();
    stop(open(&config).await.0).await;
    assert_eq!(
        events(&config),
        [
            Event::Started,
            Event::Stopped,
            Event::WitnessLost,
            Event::Started,
            Event::Stopped
        ]
    );
    let entries = shown(&config);
    let lost = entries.iter().find(|e| e.event == Some(Event::WitnessLost));
    let detail = &lost.unwrap().detail;
    assert_eq!(detail["at"], "start");
    assert!(detail["witness"].ends_with("/witness"), "{detail:?}");
    assert!(detail["reason"].contains("mounted"), "{detail:?}");
    assert!(!dir.path().join("witness").exists());
}
