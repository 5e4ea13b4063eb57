//! Records that name a patient wherever one can stand, as each format says them.

use super::*;
use crate::audit::events;
use crate::audit::export::Format;
use crate::audit::export::message::{Message, messages};
use crate::audit::fixture as sample;
use crate::audit::show::Shown;
use crate::request::{Action, Disclosure};
use crate::secret::Secret;

const WHO: &str = "4711-MARK";
/// HMAC-SHA-256 under the key below, as `openssl dgst` has it.
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn pseudonymous() -> Minimiser {
    Minimiser::new(&Patients::Pseudonym(Secret::new(KEY.to_owned())))
}

fn request() -> Joined {
    let mut joined = sample::done(Action::Read, &[WHO, "5"]);
    let facts = joined.entry.facts.as_mut().unwrap();
    facts.path = format!("/patients/{WHO}/chart");
    facts.decision.as_mut().unwrap().errors = vec![format!("Patient::\"{WHO}\"")];
    let mapping = Arc::make_mut(facts.mapping.as_mut().unwrap());
    mapping.fields.insert("pid".to_owned(), WHO.to_owned());
    mapping.disclosure = Some(Box::new(Disclosure {
        recipient: Some(WHO.to_owned()),
        address: Some(WHO.to_owned()),
        description: Some(WHO.to_owned()),
        purpose: None,
    }));
    let outcome = &mut joined.end.as_mut().unwrap().outcome;
    outcome.patients.push(sample::patient(WHO));
    outcome.appeared.push(sample::patient(WHO));
    joined
}

/// Each event, with every particular that may hold anything, and those that may not leave.
fn happened() -> Vec<Joined> {
    let system = format!("urn:example:pid|{WHO}");
    let told = format!("report patient {WHO}");
    let detail = [
        ("patient", system.as_str()),
        ("command", &told),
        ("filter", &told),
        ("reason", &told),
        ("note", &told),
        ("said", &told),
        ("particular_of_tomorrow", &told),
        ("user", "dr.okafor"),
        ("rule", "many-charts"),
    ];
    events::all()
        .map(|event| sample::event(event, None, &detail))
        .collect()
}

fn said(joined: &Joined) -> String {
    let formats = [Format::Fhir, Format::Ocsf, Format::Atna, Format::Cef];
    let texts = formats
        .into_iter()
        .flat_map(|format| messages(format, joined));
    let single = Message::single(&Shown {
        seq: joined.seq,
        entry: joined.entry.clone(),
    });
    let texts = texts.chain([single.unwrap()]).map(|message| message.text);
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_format_says_who_the_patient_is() {
    for joined in happened().into_iter().chain([request()]) {
        let clear = said(&Minimiser::new(&Patients::Clear).joined(joined.clone()));
        assert!(clear.contains(WHO), "{clear}");
        for minimiser in [pseudonymous(), Minimiser::new(&Patients::Omit)] {
            let said = said(&minimiser.joined(joined.clone()));
            assert!(!said.contains(WHO), "{said}");
            // In base 64, as ATNA may have queries.
            assert!(!said.contains("NDcxMS1NQVJL"), "{said}");
            assert!(said.contains("dr.okafor"), "{said}");
        }
    }
}

#[test]
fn one_patient_has_one_pseudonym_however_a_record_names_them() {
    let minimised = pseudonymous().joined(request());
    let mapping = minimised.entry.facts.as_ref().unwrap().mapping.clone();
    let mapping = mapping.unwrap();
    let [first, second] = &mapping.patients[..] else {
        panic!("two patients")
    };
    assert_eq!(first.system, "urn:example:pid#pseudonym");
    assert_eq!(first.id.len(), 2 * BYTES);
    assert_ne!(first.id, second.id);
    let outcome = &minimised.end.as_ref().unwrap().outcome;
    assert_eq!(
        (&outcome.patients[0].id, &outcome.appeared[0].id),
        (&first.id, &first.id)
    );
    let stated = |patient: &str| {
        let event = sample::event(Event::BreakGlass, None, &[("patient", patient)]);
        pseudonymous().joined(event).entry.detail["patient"].clone()
    };
    assert_eq!(stated(WHO), first.id);
    assert_eq!(
        stated(&format!("urn:example:pid|{WHO}")),
        format!("urn:example:pid#pseudonym|{}", first.id)
    );
    assert!(!stated("4711|MARK").contains("4711"));
    let other = Patients::Pseudonym(Secret::new(KEY.to_uppercase()));
    let other = Minimiser::new(&other).joined(request());
    assert_ne!(
        other.entry.facts.unwrap().mapping.unwrap().patients[0].id,
        first.id
    );
    let omitted = Minimiser::new(&Patients::Omit).joined(request());
    assert!(omitted.patients().is_empty());
}

#[test]
fn a_pseudonym_can_be_made_with_openssl() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    assert_eq!(pseudonym(&key, "4"), "8c8a655f750d973b936c10f3f6359960");
}

#[test]
fn routes_stand_for_paths() {
    assert_eq!(path("/patients/4", Some("chart")), "/-/chart");
    assert_eq!(path("/patients/4", None), "/-/");
    assert_eq!(path("/.chartgate/callback", None), "/.chartgate/callback");
    assert_eq!(
        path("/.chartgate/break-glass/4", None),
        "/.chartgate/break-glass"
    );
    assert!(KEPT.is_sorted());
}
