//! No record is lost or doubled by the join, however outcomes and admissions interleave.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::audit::fixture as sample;
use crate::audit::outcome::End;
use crate::request::facts::PatientSource;
use crate::request::{Action, Event};

fn outcome_of(of: Uuid, patients: Vec<PatientRef>) -> Entry {
    let outcome = Outcome {
        end: End::Complete,
        status: Some(200),
        refusal: None,
        bytes_out: 1,
        bytes_in: 0,
        millis: 1,
        patients,
        watermark: None,
        appeared: Vec::new(),
        appeared_more: 0,
        appeared_unknown: None,
    };
    Entry::outcome(&"gw1".into(), Timestamp::UNIX_EPOCH, of, outcome)
}

fn drain(join: &mut Join) -> Vec<Joined> {
    std::iter::from_fn(|| join.next_ready()).collect()
}

#[test]
fn a_patient_whom_only_the_outcome_names_is_found() {
    let filter = Filter {
        patient: Some("4".to_owned()),
        ..Filter::default()
    };
    let mut join = Join::new(filter);
    let (selecting, other) = (sample::admission(&[]), sample::admission(&[]));
    let ids = (selecting.id, other.id);
    join.push(1, selecting);
    join.push(2, other);
    join.push(3, outcome_of(ids.1, Vec::new()));
    join.push(4, outcome_of(ids.0, vec![sample::patient("4")]));
    let found = drain(&mut join);
    assert_eq!(found.iter().map(|j| j.seq).collect::<Vec<_>>(), [1]);
    assert_eq!(found[0].patients()[0].id, "4");
    join.end();
    assert!(drain(&mut join).is_empty());
}

#[test]
fn whoever_only_appeared_in_a_list_is_found() {
    let asked = |patient: &str| {
        let filter = Filter {
            patient: Some(patient.to_owned()),
            ..Filter::default()
        };
        let mut join = Join::new(filter);
        let search = sample::admission(&["7"]);
        let mut ended = outcome_of(search.id, Vec::new());
        let listed = sample::listed(Action::Search, &[], &["4", "5", "7", "4"]);
        ended.outcome = listed.end.map(|end| end.outcome);
        join.push(1, search);
        join.push(2, ended);
        drain(&mut join)
    };
    for patient in ["5", "urn:example:pid|4", "7"] {
        let found = asked(patient);
        assert_eq!(found.len(), 1, "{patient}");
        let ids: Vec<(&str, bool)> = found[0]
            .patients()
            .iter()
            .map(|p| (p.id.as_str(), p.source == PatientSource::Appeared))
            .collect();
        assert_eq!(ids, [("7", false), ("4", true), ("5", true)]);
    }
    assert!(asked("8").is_empty() && asked("urn:other|4").is_empty());
}

#[test]
fn lists_of_many_patients_do_not_pile_up_behind_a_stream() {
    let mut join = Join::new(Filter::default());
    join.push(1, sample::admission(&["4"]));
    let ids: Vec<String> = (0..10_000).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let list = sample::listed(Action::Search, &[], &ids)
        .end
        .unwrap()
        .outcome;
    let mut seen = 0;
    for number in 0..60 {
        let search = sample::admission(&[]);
        let mut ended = outcome_of(search.id, Vec::new());
        ended.outcome = Some(list.clone());
        join.push(2 * number + 2, search);
        join.push(2 * number + 3, ended);
        seen += drain(&mut join).len();
    }
    assert!(join.late.len() == 1 && seen > 0, "the stream is set aside");
    assert_eq!(seen + join.window.len(), 60);
}

#[test]
fn one_long_stream_does_not_hold_the_others_back_for_ever() {
    let mut join = Join::new(Filter::default());
    let stream = sample::admission(&["4"]);
    let id = stream.id;
    join.push(1, stream);
    let mut seen = Vec::new();
    for seq in 2..=10_000 {
        join.push(
            seq,
            Entry::event(
                &"gw1".into(),
                Timestamp::UNIX_EPOCH,
                Event::Started,
                None,
                BTreeMap::new(),
            ),
        );
        seen.extend(drain(&mut join));
    }
    assert!(join.window.is_empty() && join.late.len() == 1);
    assert_eq!(seen.len(), 9_999);
    join.push(10_001, outcome_of(id, Vec::new()));
    let late = drain(&mut join);
    assert_eq!((late.len(), late[0].seq), (1, 1));
    assert_eq!(late[0].end.as_ref().unwrap().seq, 10_001);
}

proptest! {
    #[test]
    fn no_record_is_lost_or_doubled(steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 0..200)) {
        let mut join = Join::new(Filter::default());
        let mut open: Vec<(u64, Uuid)> = Vec::new();
        let (mut expected, mut ended) = (BTreeSet::new(), BTreeMap::new());
        let mut found = Vec::new();
        for (seq, (kind, pick)) in (1_u64..).zip(&steps) {
            let entry = match kind {
                0 => {
                    let entry = sample::admission(&["4"]);
                    open.push((seq, entry.id));
                    expected.insert(seq);
                    entry
                }
                1 if !open.is_empty() => {
                    let (admitted, id) = open.swap_remove(pick.index(open.len()));
                    ended.insert(admitted, seq);
                    outcome_of(id, Vec::new())
                }
                // An outcome whose admission is not in what is read.
                2 => outcome_of(Uuid::now_v7(), Vec::new()),
                _ => {
                    expected.insert(seq);
                    Entry::event(&"gw1".into(), Timestamp::UNIX_EPOCH, Event::Started, None, BTreeMap::new())
                }
            };
            join.push(seq, entry);
            found.extend(drain(&mut join));
        }
        join.end();
        found.extend(drain(&mut join));
        let order: Vec<u64> = found.iter().map(|joined| joined.seq).collect();
        prop_assert_eq!(order, expected.into_iter().collect::<Vec<_>>());
        for joined in found {
            prop_assert_eq!(joined.end.map(|end| end.seq), ended.get(&joined.seq).copied());
        }
    }
}
