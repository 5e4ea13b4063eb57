//! The index gives the answers that reading everything gives: for any trail and any question.

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{Index as Pick, select};

use super::answer::Answer;
use crate::audit::entry::Entry;
use crate::audit::filter::{Ending, Filter};
use crate::audit::fixture as sample;
use crate::audit::index::testing::{
    House, admission, agree, at, event, outcome, records_agree, refusal,
};
use crate::audit::log::{headers, retirable, retire};
use crate::audit::outcome::End;
use crate::request::Event;
use crate::request::facts::{Action, Verdict};

const PATIENTS: &[&str] = &["4", "5", "6"];
const USERS: &[&str] = &["dr.okafor", "nurse.li"];
const ENDS: &[End] = &[
    End::Complete,
    End::Abandoned,
    End::Cut,
    End::Unknown,
    End::UpstreamFailed,
];

#[derive(Debug, Clone)]
enum Step {
    Admit(usize, usize, Action, i64),
    /// Ends one that is open, naming a patient or none.
    End(Pick, End, Option<usize>),
    Refuse(usize, usize, i64),
    Event(Event, &'static str, i64),
    /// An event that names somebody by stable id and name, or by name with the id beside it.
    About(usize, bool, i64),
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (user, patient, minute) = (0..USERS.len(), 0..PATIENTS.len(), 0..60_i64);
    let action = select(vec![Action::Read, Action::Export]);
    let about = (user.clone(), any::<bool>(), minute.clone());
    let step = prop_oneof![
        6 => (user.clone(), patient.clone(), action, minute.clone())
            .prop_map(|(user, patient, action, minute)| Step::Admit(user, patient, action, minute)),
        5 => (any::<Pick>(), select(ENDS), prop::option::weighted(0.3, patient.clone()))
            .prop_map(|(pick, end, patient)| Step::End(pick, end, patient)),
        2 => (user, patient, minute.clone())
            .prop_map(|(user, patient, minute)| Step::Refuse(user, patient, minute)),
        2 => (
            select(vec![Event::BreakGlass, Event::Login]),
            select(vec!["4", "urn:example:pid|5", "urn:other|4", "x|urn:example:pid|6"]),
            minute,
        )
            .prop_map(|(event, patient, minute)| Step::Event(event, patient, minute)),
        2 => about.prop_map(|(user, is_alarm, minute)| Step::About(user, is_alarm, minute)),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..120)
}

fn filters() -> impl Strategy<Value = Filter> {
    let text = |values: Vec<&'static str>| {
        prop::option::weighted(0.35, select(values).prop_map(ToOwned::to_owned))
    };
    let minute = || prop::option::weighted(0.2, (0..60_i64).prop_map(at));
    let networks = [
        "10.20.0.0/16",
        "10.20.1.0/24",
        "10.20.1.9",
        "10.16.0.0/12",
        "0.0.0.0/0",
        "10.20.2.8/30",
    ];
    let network = select(networks.to_vec()).prop_map(|text| {
        let parsed = text.parse::<IpNet>();
        parsed.unwrap_or_else(|_| IpNet::from(text.parse::<std::net::IpAddr>().unwrap()))
    });
    let outcomes: Vec<Ending> = ENDS
        .iter()
        .map(|end| Ending::Ended(*end))
        .chain([Ending::Open])
        .collect();
    (
        (
            text(vec![
                "4",
                "urn:example:pid|4",
                "5",
                "6",
                "9",
                "urn:other|4",
                "none",
            ]),
            text(vec!["dr.okafor", "hospital|sub-nurse.li", "alice"]),
            prop::option::weighted(0.15, select(vec![Verdict::Allow, Verdict::Deny])),
            prop::option::weighted(0.15, select(vec![Action::Read, Action::Export])),
            text(vec!["CG-3001"]),
        ),
        (
            prop::option::weighted(0.2, network),
            prop::option::weighted(0.15, select(vec![Event::BreakGlass, Event::Login])),
            prop::option::weighted(0.25, select(outcomes)),
            minute(),
            minute(),
            prop::option::weighted(0.3, select(vec!["5", "urn:example:pid|6"])),
        ),
    )
        .prop_map(|(one, two)| Filter {
            patient: one.0,
            user: one.1,
            decision: one.2,
            action: one.3,
            refusal: one.4.filter(|_| two.1.is_none()),
            address: two.0,
            event: two.1,
            outcome: two.2,
            since: two.3,
            until: two.4,
            aliases: two.5.map(ToOwned::to_owned).into_iter().collect(),
            ..Filter::default()
        })
}

fn lived(steps: &[Step]) -> House {
    let mut house = House::new();
    for step in steps {
        match step {
            Step::Admit(user, patient, action, minute) => {
                let entry = admission(USERS[*user], &[PATIENTS[*patient]], *action, *minute);
                house.put(&entry);
            }
            Step::End(pick, end, patient) if !house.open.is_empty() => {
                let at = pick.index(house.open.len());
                let named: Vec<&str> = patient.iter().map(|at| PATIENTS[*at]).collect();
                house.end(at, *end, &named);
            }
            Step::Refuse(user, patient, minute) => {
                house.put(&refusal(
                    USERS[*user],
                    &[PATIENTS[*patient]],
                    "CG-3001",
                    *minute,
                ));
            }
            Step::Event(what, patient, minute) => {
                let detail = [("patient", *patient), ("operator", "alice")];
                house.put(&event(*what, &detail, *minute));
            }
            Step::About(user, is_alarm, minute) => {
                house.put(&about(USERS[*user], *is_alarm, *minute));
            }
            Step::Restart => {
                house.stop();
                house.start();
            }
            Step::Crash => house.crash(),
            Step::End(..) => {}
        }
    }
    house
}

fn about(user: &str, is_alarm: bool, minute: i64) -> Entry {
    let id = format!("hospital|sub-{user}");
    if is_alarm {
        event(Event::Alarm, &[("user", user), ("user_id", &id)], minute)
    } else {
        let detail = [("user", id.as_str()), ("name", user)];
        event(Event::SessionRevoked, &detail, minute)
    }
}

#[test]
fn events_about_a_person_are_found_by_name_and_by_stable_id() {
    let mut house = House::new();
    for is_alarm in [false, true] {
        house.put(&about("nurse.li", is_alarm, 1));
    }
    // A name that is nobody's: of a bundle, a file, a passkey.
    let bundle = [("operator", "alice"), ("name", "nurse.li")];
    house.put(&event(Event::PolicyActivated, &bundle, 2));
    let index = house.indexed();
    for (asked, many) in [("nurse.li", 2), ("hospital|sub-nurse.li", 2), ("alice", 1)] {
        let filter = Filter {
            user: Some(asked.to_owned()),
            ..Filter::default()
        };
        let (found, _) = agree(&index, &filter, house.last());
        assert_eq!(found.len(), many, "{asked}");
        for joined in found.values().filter(|_| asked != "alice") {
            let row = Answer::of(joined);
            assert_eq!(
                (row.user.as_str(), row.user_id.as_str()),
                ("nurse.li", "hospital|sub-nurse.li")
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_index_answers_as_reading_everything_does(
        steps in steps(),
        filters in prop::collection::vec(filters(), 1..8),
        upto in any::<Pick>(),
        retired in 0..4_usize,
    ) {
        let house = lived(&steps);
        let last = house.last();
        let some = upto.index(usize::try_from(last).unwrap() + 1) as u64;
        // Nothing was made before: every segment is read through, and indexed by that.
        let fresh = house.index();
        for filter in &filters {
            agree(&fresh, filter, last);
        }
        // Everything was made in the background: nothing is read through.
        let kept = house.indexed();
        for filter in &filters {
            let (_, unindexed) = agree(&kept, filter, last);
            prop_assert_eq!(unindexed, 0);
            agree(&kept, filter, some);
        }
        // Some of it is gone, outcomes of what is gone are left.
        let known = headers(&house.files, super::super::index::testing::dir()).unwrap();
        let old = retirable(&known, 0, at(10_000_000));
        let old: Vec<_> = old.into_iter().take(retired).collect();
        retire(&house.files, super::super::index::testing::dir(), &house.signer, &old).unwrap();
        kept.forget_removed().unwrap();
        for filter in &filters {
            let (_, unindexed) = agree(&kept, filter, last);
            prop_assert_eq!(unindexed, 0);
        }
    }
}

#[test]
fn requests_and_records_are_found_by_their_ids() {
    let mut house = House::new();
    let entries: Vec<_> = (0..60)
        .map(|n| admission("dr.okafor", &["4"], Action::Read, n))
        .collect();
    for entry in &entries {
        house.put(entry);
        house.end(0, End::Complete, &[]);
    }
    let index = house.indexed();
    for entry in &entries {
        let request = entry.facts.as_ref().unwrap().request.clone();
        for id in [entry.id.to_string(), request] {
            let filter = Filter {
                request: Some(id),
                ..Filter::default()
            };
            let (found, _) = agree(&index, &filter, house.last());
            assert_eq!(found.len(), 1);
            assert!(found.values().all(|joined| joined.end.is_some()));
        }
    }
    for unknown in ["", "01K-request", "0195aaaa-0000-7000-8000-000000000000"] {
        let filter = Filter {
            request: Some(unknown.to_owned()),
            ..Filter::default()
        };
        assert!(agree(&index, &filter, house.last()).0.is_empty());
    }
}

#[test]
fn an_outcome_is_shown_with_its_admission_for_what_it_names_and_by_its_own_id() {
    let mut house = House::new();
    let mut outcomes = Vec::new();
    for n in 0..60 {
        let patient = if n % 20 == 0 { "4" } else { "5" };
        house.put(&admission("dr.okafor", &[patient], Action::Read, 0));
        if n % 3 == 0 && n % 20 != 0 {
            let of = house.open.pop().unwrap();
            let mut ended = outcome(of, End::Complete, vec![sample::patient("6")]);
            ended.time = at(n);
            let millis = u64::try_from(ended.time.as_millisecond()).unwrap();
            let made = uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, 0);
            ended.id = uuid::Uuid::new_v7(made);
            house.put(&ended);
            outcomes.push(ended);
        }
    }
    // The others end segments later.
    while !house.open.is_empty() {
        house.end(0, End::Complete, &[]);
    }
    assert!(house.segments() > 10, "{}", house.segments());
    let (index, last) = (house.indexed(), house.last());
    let patient = |id: &str| Filter {
        patient: Some(id.to_owned()),
        ..Filter::default()
    };
    let found = records_agree(&index, &patient("4"), last);
    assert_eq!(
        found.len(),
        6,
        "three admissions, and their outcomes far behind"
    );
    let found = records_agree(&index, &patient("6"), last);
    assert_eq!(found.len(), outcomes.len(), "only outcomes name them");
    let late = Filter {
        since: Some(at(30)),
        ..patient("6")
    };
    let found = records_agree(&index, &late, last);
    assert!(!found.is_empty() && found.len() < outcomes.len());
    let by_user = Filter {
        user: Some("dr.okafor".to_owned()),
        ..patient("6")
    };
    assert!(records_agree(&index, &by_user, last).is_empty());
    for ended in &outcomes {
        let by_id = Filter {
            request: Some(ended.id.to_string()),
            ..Filter::default()
        };
        let found = records_agree(&index, &by_id, last);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entry.id, ended.id);
    }
    let ended = Filter {
        outcome: Some(Ending::Ended(End::Complete)),
        ..patient("6")
    };
    records_agree(&index, &ended, last);
}
