use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::audit::log::{Piece, VerifierKey, check_run, each_note};
use crate::clock::{Clock as _, SystemClock};
use crate::operate::cases::Outcome;
use crate::operate::testing::Ground as Below;

async fn load(below: &Below) -> (Arc<Incidents>, Arc<Cases>) {
    let (store, audit) = (below.store.clone(), below.audit.clone());
    let cases = Cases::load(store.clone(), audit.clone(), below.shared_clock())
        .await
        .unwrap();
    let incidents = Incidents::load(Ground {
        store,
        audit,
        trail: below.config.directory.clone(),
        master: Arc::new(MasterKey::read(&below.config.master_key).unwrap()),
        signing_key: below.config.signing_key.clone(),
        checkpoint_interval: below.config.checkpoint_interval,
        cases: cases.clone(),
        clock: below.shared_clock(),
    });
    (incidents.await.unwrap(), cases)
}

fn key(below: &Below) -> VerifierKey {
    let signer = SigningKey::read(&below.config.signing_key).unwrap();
    signer.verifier().clone()
}

fn opening(user: &str, records: &[String]) -> Opening {
    Opening {
        kind: Kind::Alarm,
        title: "Many charts".to_owned(),
        level: Level::High,
        rule: Some("volume".to_owned()),
        user: Some(user.to_owned()),
        patient: None,
        records: records.iter().cloned().collect(),
        by: "rule volume".to_owned(),
    }
}

/// Puts something about `user` on the trail.
async fn happens(below: &Below, user: &str, what: &str) {
    let detail = BTreeMap::from([
        ("user".to_owned(), user.to_owned()),
        ("title".to_owned(), what.to_owned()),
    ]);
    below.audit.event(Event::Alarm, None, detail).await.unwrap();
}

/// A trail with records of two users, and the evidence about one of them.
async fn packed() -> (Below, Vec<u8>) {
    let below = Below::new().await;
    let (incidents, cases) = load(&below).await;
    for round in 0..12 {
        happens(&below, "main|7", &format!("of seven, {round}")).await;
        happens(&below, "main|8", &format!("of eight, {round}")).await;
    }
    let case = cases.open(opening("main|7", &[])).await.unwrap().number();
    let incident = incidents.open(Some(case), None, "alice").await.unwrap();
    let bundle = incidents.evidence(incident.number, None, "alice").await;
    (below, bundle.unwrap())
}

#[tokio::test]
async fn evidence_holds_the_subject_s_records_and_no_other_s() {
    let (below, bundle) = packed().await;
    let verified = verify(&bundle, &key(&below)).unwrap();
    let users: Vec<_> = verified
        .records
        .iter()
        .filter_map(|(_, entry)| entry.detail.get("user"))
        .collect();
    assert_eq!(users.len(), 13, "twelve alarms and the case's opening");
    assert!(users.iter().all(|user| *user == "main|7"));
    assert!(verified.checkpoints > 0);
    assert_eq!(verified.manifest.title, "Many charts");
    assert_eq!(verified.manifest.by, "alice");
    let clear = String::from_utf8_lossy(&bundle);
    assert!(clear.contains("of seven, 11") && !clear.contains("of eight"));

    let recorded = below.recorded(Event::EvidencePacked);
    assert_eq!(recorded[0]["incident"], "1");
    assert_eq!(recorded[0]["records"], verified.records.len().to_string());
    let (incidents, _) = load(&below).await;
    let kept = incidents.show(1).await.unwrap();
    assert_eq!(kept.packed[0].sha256, bundle::sha256(&bundle));
}

#[tokio::test]
async fn another_key_does_not_vouch_for_it() {
    let (below, bundle) = packed().await;
    let other = SigningKey::generate(key(&below).name()).unwrap();
    let wrong = verify(&bundle, other.verifier()).unwrap_err();
    assert!(wrong[0].to_string().contains("signature"), "{wrong:?}");
}

/// One bundle for many alterations.
static BUNDLE: LazyLock<(VerifierKey, Vec<u8>)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (below, bundle) = runtime.block_on(packed());
    (key(&below), bundle)
});

/// The bundle with one of its files altered, and signed anew by whoever holds the key: what is left is the chain.
fn resigned(
    signer: &SigningKey,
    bundle: &[u8],
    name: &str,
    alter: impl Fn(&mut Vec<u8>),
) -> Vec<u8> {
    let mut files = tar::read(bundle).unwrap();
    for (found, bytes) in &mut files {
        if found == name {
            alter(bytes);
        }
    }
    bundle::testing::sign_anew(&mut files, signer);
    tar::write(&files)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_flipped_bit_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (key, bundle) = &*BUNDLE;
        prop_assert!(verify(bundle, key).is_ok());
        let mut altered = bundle.clone();
        altered[at.index(bundle.len())] ^= 1 << bit;
        let wrong = verify(&altered, key).err();
        prop_assert!(wrong.is_some_and(|wrong| !wrong.is_empty()));
    }
}

#[tokio::test]
async fn who_signs_altered_evidence_anew_does_not_get_past_the_chain() {
    let (below, bundle) = packed().await;
    let signer = SigningKey::read(&below.config.signing_key).unwrap();
    let key = key(&below);
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from), "{from}");
            *bytes = text.replacen(from, to, 1).into_bytes();
        }
    };
    let said = |name: &str, alter: &dyn Fn(&mut Vec<u8>)| {
        let altered = resigned(&signer, &bundle, name, alter);
        let wrong = verify(&altered, &key).unwrap_err();
        wrong
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let text = said("records.jsonl", &replace("of seven, 3", "of eight, 3"));
    assert!(text.contains("its text is another one"), "{text}");
    let text = said("records.jsonl", &replace("\"key\":\"", "\"key\":\"00"));
    assert!(text.contains("does not open under the key"), "{text}");
    let text = said("chain.jsonl", &|bytes: &mut Vec<u8>| bytes.clear());
    assert!(text.contains("stands in no run"), "{text}");
    let text = said("chain.jsonl", &replace("\"first\":", "\"first\":1"));
    assert!(text.contains("another one does"), "{text}");
    let text = said("records.jsonl", &|bytes: &mut Vec<u8>| {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes.drain(..=end);
    });
    assert!(text.contains("records, the bundle holds"), "{text}");
}

#[tokio::test]
async fn runs_go_on_across_segments_and_name_the_records_of_a_case() {
    let below = Below::new().await;
    // The ids of records tell the time of the machine, by which they are found.
    let behind = SystemClock::shared()
        .now()
        .duration_since(below.clock.now());
    below.clock.advance(behind.unsigned_abs());
    // Segments of a mebibyte: records of half of that begin a new one every other time.
    let long = "x".repeat(400 * 1024);
    for user in ["main|1", "main|2", "main|3", "main|4", "main|5"] {
        happens(&below, user, &long).await;
    }
    let third = below.trail().into_iter().find(|entry| {
        entry
            .detail
            .get("user")
            .is_some_and(|user| user == "main|3")
    });
    let (incidents, cases) = load(&below).await;
    let named = [third.unwrap().id.to_string()];
    let case = cases
        .open(opening("main|9", &named))
        .await
        .unwrap()
        .number();
    let incident = incidents
        .open(Some(case), Some("By name".to_owned()), "alice")
        .await;
    let number = incident.unwrap().number;
    let bundle = incidents
        .evidence(number, Some(Timestamp::MAX), "alice")
        .await
        .unwrap();
    let verified = verify(&bundle, &key(&below)).unwrap();
    let users: Vec<_> = verified
        .records
        .iter()
        .filter_map(|(_, entry)| entry.detail.get("user").map(String::as_str))
        .collect();
    assert_eq!(
        users,
        ["main|3", "main|9"],
        "the record, and the case's opening"
    );

    // Where only the newest checkpoint is left, the proof of an early record reaches over segments.
    below.audit.log().shutdown().unwrap();
    let path = below.config.directory.join("checkpoints");
    let text = std::fs::read(&path).unwrap();
    let mut newest = String::new();
    each_note(text.as_slice(), |note| note.clone_into(&mut newest)).unwrap();
    std::fs::write(&path, newest).unwrap();
    let (master, key) = (
        MasterKey::read(&below.config.master_key).unwrap(),
        key(&below),
    );
    let wanted = BTreeSet::from([verified.records[0].0]);
    let directory = &below.config.directory;
    let found = disclose(&RealFiles, directory, &master, &key, &wanted, MOST_BYTES).unwrap();
    let [run] = found.runs.as_slice() else {
        panic!("{:?}", found.runs)
    };
    let headers = run
        .pieces
        .iter()
        .filter(|piece| matches!(piece, Piece::Header(_)));
    assert!(headers.count() > 0);
    let proven = check_run(run, &key).unwrap();
    let opened = proven[0].open(found.records[0].key.expose()).unwrap();
    assert_eq!(opened, found.records[0].payload);
    let wrong_key = found.records[0].key.expose().replacen(|_| true, "f0", 1);
    assert!(proven[0].open(&wrong_key).is_err());
    let cramped = disclose(&RealFiles, directory, &master, &key, &wanted, 1024);
    assert!(
        matches!(cramped, Err(DiscloseError::TooLarge(1024))),
        "{cramped:?}"
    );
    std::fs::write(&path, "").unwrap();
    let unproven = disclose(&RealFiles, directory, &master, &key, &wanted, MOST_BYTES);
    assert!(
        matches!(unproven, Err(DiscloseError::Unproven(_))),
        "{unproven:?}"
    );
}

#[tokio::test]
async fn clocks_run_from_the_opening_and_incidents_outlive_a_restart() {
    let below = Below::new().await;
    let (incidents, cases) = load(&below).await;
    let opened = incidents
        .open(None, Some("Laptop stolen".to_owned()), "alice")
        .await
        .unwrap();
    let case = cases.show(1).await.unwrap();
    assert_eq!(
        (case.kind, case.title.as_str()),
        (Kind::Incident, "Laptop stolen")
    );
    let due = |clock: Clock| clock.until(opened.opened).to_string();
    assert_eq!(due(Clock::Gdpr), "2026-11-28T08:00:00Z");
    assert_eq!(due(Clock::Hipaa), "2027-01-24T08:00:00Z");
    drop((incidents, cases));

    let (incidents, cases) = load(&below).await;
    assert_eq!(incidents.show(1).await.unwrap(), opened);
    assert_eq!(incidents.open_since().len(), 1);
    cases
        .close(1, "alice", Outcome::Confirmed, "found")
        .await
        .unwrap();
    incidents.close(1, "alice", "notified").await.unwrap();
    let again = incidents.close(1, "alice", "notified").await;
    assert!(matches!(again, Err(IncidentError::Closed(1))), "{again:?}");
    assert!(incidents.list(Which::Open).await.unwrap().is_empty());
    assert_eq!(incidents.list(Which::All).await.unwrap().len(), 1);
    let nothing = incidents.open(None, None, "alice").await;
    assert!(
        matches!(nothing, Err(IncidentError::Text("title"))),
        "{nothing:?}"
    );
    let unknown = incidents.open(Some(99), None, "alice").await;
    assert!(
        matches!(unknown, Err(IncidentError::Case(_))),
        "{unknown:?}"
    );
    assert_eq!(below.recorded(Event::IncidentOpened).len(), 1);
    assert_eq!(below.recorded(Event::IncidentClosed)[0]["note"], "notified");
}
