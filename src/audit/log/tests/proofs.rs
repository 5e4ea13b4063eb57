//! Proofs of single records: each leads to a checkpoint, and whatever is altered in one proves nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::harness::*;
use crate::audit::log::fault::FaultyFiles;
use crate::audit::log::*;

fn checkpoints_path() -> std::path::PathBuf {
    dir().join("checkpoints")
}

fn notes(files: &FaultyFiles) -> Vec<String> {
    let text = files.content(&checkpoints_path()).unwrap();
    let mut notes = Vec::new();
    each_note(text.as_slice(), |note| notes.push(note.to_owned())).unwrap();
    notes
}

/// A log of 100 records in several segments; of its checkpoints only the last is kept.
fn long(kit: &Kit) -> FaultyFiles {
    let files = kit.written(100, 150);
    assert!(segments(&files).len() >= 4);
    let last = notes(&files).pop().unwrap();
    files.replace(&checkpoints_path(), last.as_bytes());
    files
}

fn proven(
    kit: &Kit,
    files: &FaultyFiles,
    wanted: &[u64],
    content: Content,
    witnessed: &[String],
) -> Result<Proof, ProveError> {
    let subject = Subject {
        files,
        directory: dir(),
        master: &kit.master,
        key: &kit.verifier,
        witnessed,
    };
    let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
    prove(&subject, &wanted, content)
}

#[test]
fn every_record_is_proven_however_far_its_checkpoint_is() {
    let kit = Kit::new();
    let files = long(&kit);
    let mut sizes = BTreeSet::new();
    for sequence in 1..=100_usize {
        let wanted = [sequence as u64];
        let proof = proven(&kit, &files, &wanted, Content::Opened, &[]).unwrap();
        let document = serde_json::to_vec(&proof).unwrap();
        sizes.insert(document.len());
        let read = Proof::parse(&document).unwrap();
        let [record] = &read.check(&kit.verifier).unwrap()[..] else {
            panic!("{read:?}");
        };
        assert_eq!(record.sequence, sequence as u64);
        assert_eq!(record.checkpoint.sequence, 100);
        let payload = record.payload.as_deref().unwrap();
        assert_eq!(payload, text(sequence, 150).as_bytes());
    }
    assert!(
        sizes.last() > sizes.first(),
        "some have segments on the way, the last have none"
    );
}

#[test]
fn the_nearest_checkpoint_is_taken_and_a_witness_s_before_any() {
    let kit = Kit::new();
    let files = kit.written(100, 150);
    let proof = proven(&kit, &files, &[3], Content::Opened, &[]).unwrap();
    let near = &proof.check(&kit.verifier).unwrap()[0];
    assert!(near.checkpoint.sequence < 100, "{near:?}");
    let last = notes(&files).pop().unwrap();
    let proof = proven(
        &kit,
        &files,
        &[3],
        Content::Opened,
        std::slice::from_ref(&last),
    )
    .unwrap();
    let far = &proof.check(&kit.verifier).unwrap()[0];
    assert_eq!(far.checkpoint.sequence, 100);
    let witness = String::from_utf8(files.content(witness_path()).unwrap()).unwrap();
    assert!(far.is_held_in(&witness, &kit.verifier));
    assert!(far.is_held_in(&last, &kit.verifier));
    assert!(!near.is_held_in(&last, &kit.verifier));
    assert!(!far.is_held_in(&last, &Kit::new().verifier));
}

#[test]
fn without_content_nothing_of_it_is_given_away() {
    let kit = Kit::new();
    let files = long(&kit);
    let wanted = [3, 50];
    let proof = proven(&kit, &files, &wanted, Content::Sealed, &[]).unwrap();
    let document = serde_json::to_string(&proof).unwrap();
    assert!(!document.contains("\"key\""), "{document}");
    let records = proof.check(&kit.verifier).unwrap();
    let sequences: Vec<u64> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, wanted);
    assert!(records.iter().all(|record| record.payload.is_none()));
    // With the key, no log line shows it.
    let opened = proven(&kit, &files, &wanted, Content::Opened, &[]).unwrap();
    let shown = serde_json::to_value(&opened).unwrap();
    let key = shown["records"][0]["key"].as_str().unwrap();
    assert!(!format!("{opened:?}").contains(key));
}

#[test]
fn what_cannot_be_proven_is_said() {
    let kit = Kit::new();
    let files = long(&kit);
    let missing = proven(&kit, &files, &[101], Content::Opened, &[]);
    assert!(
        matches!(missing, Err(ProveError::NoRecord(101))),
        "{missing:?}"
    );
    let many: Vec<u64> = (1..=17).collect();
    let many = proven(&kit, &files, &many, Content::Opened, &[]);
    assert!(matches!(many, Err(ProveError::TooLarge)), "{many:?}");
    files.replace(&checkpoints_path(), b"");
    let unproven = proven(&kit, &files, &[100], Content::Opened, &[]);
    assert!(
        matches!(unproven, Err(ProveError::Unproven(100))),
        "{unproven:?}"
    );
}

#[test]
fn a_proof_of_another_log_or_place_is_none() {
    let (kit, other) = (Kit::new(), Kit::new());
    let files = long(&kit);
    let proof = proven(&kit, &files, &[7], Content::Opened, &[]).unwrap();
    let refused = proof.check(&other.verifier).unwrap_err();
    assert!(
        matches!(refused, ProofError::Note { sequence: 7, .. }),
        "{refused}"
    );
    // The frame of one record with the path of another.
    let document = serde_json::to_value(&proof).unwrap();
    let beside = proven(&kit, &files, &[8], Content::Opened, &[]).unwrap();
    let beside = serde_json::to_value(&beside).unwrap();
    for member in [
        "frame",
        "path",
        "start",
        "key",
        "segment",
        "hops",
        "checkpoint",
    ] {
        let mut mixed = document.clone();
        let theirs = &beside["records"][0][member];
        if mixed["records"][0][member] == *theirs {
            continue;
        }
        mixed["records"][0][member] = theirs.clone();
        let mixed = Proof::parse(&serde_json::to_vec(&mixed).unwrap()).unwrap();
        assert!(mixed.check(&kit.verifier).is_err(), "{member}");
    }
    // Without its start value the key opens nothing, and that is said.
    let mut short = document.clone();
    short["records"][0].as_object_mut().unwrap().remove("start");
    let short = Proof::parse(&serde_json::to_vec(&short).unwrap()).unwrap();
    assert!(short.check(&kit.verifier).is_err());
}

#[test]
fn documents_beyond_the_bounds_are_refused() {
    let kit = Kit::new();
    let files = long(&kit);
    let proof = proven(&kit, &files, &[7], Content::Opened, &[]).unwrap();
    let document = serde_json::to_value(&proof).unwrap();
    let refused = |alter: &dyn Fn(&mut serde_json::Value)| {
        let mut altered = document.clone();
        alter(&mut altered);
        Proof::parse(&serde_json::to_vec(&altered).unwrap()).unwrap_err()
    };
    let newer = refused(&|document| document["version"] = 2.into());
    assert!(matches!(newer, ProofError::Version(2)), "{newer}");
    let none = refused(&|document| document["records"] = serde_json::json!([]));
    assert!(matches!(none, ProofError::Records(0)), "{none}");
    let many = refused(&|document| {
        let record = document["records"][0].clone();
        document["records"] = vec![record; 17].into();
    });
    assert!(matches!(many, ProofError::Records(17)), "{many}");
    let long = refused(&|document| {
        let hash = document["records"][0]["path"]["hashes"][0].clone();
        document["records"][0]["path"]["hashes"] = vec![hash; 65].into();
    });
    assert!(matches!(long, ProofError::TooLong), "{long}");
    let strange = refused(&|document| document["remark"] = "trust me".into());
    assert!(matches!(strange, ProofError::Malformed(_)), "{strange}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_altered_proof_proves_what_it_did_or_nothing(at: prop::sample::Index, to in 0x20_u8..0x7f) {
        let kit = Kit::new();
        let files = long(&kit);
        let proof = proven(&kit, &files, &[7], Content::Opened, &[]).unwrap();
        let established = proof.check(&kit.verifier).unwrap();
        let mut document = serde_json::to_vec(&proof).unwrap();
        let at = at.index(document.len());
        document[at] = to;
        if let Ok(altered) = Proof::parse(&document)
            && let Ok(still) = altered.check(&kit.verifier)
        {
            let mut still = still;
            // Without its content a record is still proven to be there.
            if still[0].payload.is_none() {
                still[0].payload = established[0].payload.clone();
            }
            prop_assert_eq!(still, established);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _proof = Proof::parse(&bytes);
    }
}
