//! What is a disclosure: data about a patient that went, or may have gone, to someone outside.
//!
//! Decided here alone, for the accounting of disclosures (45 CFR 164.528, 170.210(d)) and for every export, so that
//! they cannot differ.
//!
//! *Never*: a disclosure left out because nobody said what it was for: only a purpose that somebody stated exempts one.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::entry::Phase;
use super::query::join::Joined;
use crate::request::facts::Mapping;
use crate::request::{Action, Disclosure, Event, Principal};

/// The purpose of use that policy records where nobody stated one.
pub const UNSTATED: &str = "unknown";

/// A purpose of use: a code of HL7 v3 `PurposeOfUse`, what it means, and whether 164.528(a)(1)(i) exempts what is done
/// for it.
const PURPOSES: &[(&str, &str, Kind)] = &[
    ("TREAT", "treatment", Kind::Ordinary),
    ("ETREAT", "emergency treatment", Kind::Ordinary),
    ("BTG", "emergency, by break-glass", Kind::Ordinary),
    ("CAREMGT", "coordination of care", Kind::Ordinary),
    ("HPAYMT", "payment", Kind::Ordinary),
    ("HOPERAT", "health care operations", Kind::Ordinary),
    ("HQUALIMP", "quality improvement", Kind::Ordinary),
    ("TRAIN", "training", Kind::Ordinary),
    ("HSYSADMIN", "administration of the system", Kind::Ordinary),
    ("PATRQT", "the patient's request", Kind::Accountable),
    ("HLEGAL", "a legal matter", Kind::Accountable),
    ("PUBHLTH", "public health", Kind::Accountable),
    ("HRESCH", "research", Kind::Accountable),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Treatment, payment and operations.
    Ordinary,
    /// Anything else.
    Accountable,
}

/// How it went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The EMR handed it to someone outside.
    Disclosed,
    /// It was taken out as a file.
    Exported,
    /// It was put on paper.
    Printed,
    /// It left otherwise, and an operator put that on record.
    Recorded,
}

impl Way {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disclosed => "disclosed",
            Self::Exported => "exported",
            Self::Printed => "printed",
            Self::Recorded => "recorded",
        }
    }
}

/// What it is before the law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// It belongs in the accounting that a patient may ask for.
    Accountable,
    /// It went outside for treatment, payment or operations, as somebody stated: 170.210(d) records it, 164.528 does
    /// not ask for it.
    Ordinary,
    /// A file or paper for treatment, payment or operations, or for what nobody stated: it may not have gone outside at
    /// all.
    Copy,
}

impl Basis {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accountable => "accountable",
            Self::Ordinary => "tpo",
            Self::Copy => "copy",
        }
    }

    /// Whether it went to someone outside.
    #[must_use]
    pub const fn is_outside(self) -> bool {
        match self {
            Self::Accountable | Self::Ordinary => true,
            Self::Copy => false,
        }
    }
}

/// Whether anything left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It did.
    Whole,
    /// Nobody knows, or not all of it.
    Perhaps,
    /// The EMR answered that it did not do it.
    Nothing,
}

/// A disclosure, as the record tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosed<'j> {
    /// How it went out.
    pub way: Way,
    /// What it is before the law.
    pub basis: Basis,
    /// Whether anything left.
    pub left: Left,
    /// On which day, UTC.
    pub date: Date,
    /// When; nothing where only the day is known.
    pub time: Option<Timestamp>,
    /// To whom; nothing where nobody said.
    pub recipient: Option<&'j str>,
    /// Their address.
    pub address: Option<&'j str>,
    /// What was handed over.
    pub what: Cow<'j, str>,
    /// What for: codes, or words where somebody used words. Never empty.
    pub purposes: Vec<&'j str>,
}

impl Disclosed<'_> {
    /// The purposes in words.
    #[must_use]
    pub fn purpose_text(&self) -> String {
        let texts: Vec<&str> = self.purposes.iter().map(|code| meaning(code)).collect();
        texts.join(", ")
    }
}

/// What a purpose means, for a person.
pub(super) fn meaning(code: &str) -> &str {
    match PURPOSES.iter().find(|(known, ..)| *known == code) {
        Some((_, meaning, _)) => meaning,
        None if code == UNSTATED => "not stated",
        None => code,
    }
}

/// Whether it is a code of HL7 v3 `PurposeOfUse` that is known here.
#[must_use]
pub fn is_code(purpose: &str) -> bool {
    PURPOSES.iter().any(|(known, ..)| *known == purpose)
}

fn is_ordinary(purpose: &str) -> bool {
    let known = PURPOSES.iter().find(|(known, ..)| *known == purpose);
    known.is_some_and(|(_, _, kind)| *kind == Kind::Ordinary)
}

/// The disclosure that a record tells of, if it does.
#[must_use]
pub fn disclosed(joined: &Joined) -> Option<Disclosed<'_>> {
    match joined.entry.phase {
        Phase::Admit | Phase::Outcome => requested(joined),
        Phase::Event if joined.entry.event == Some(Event::DisclosureRecorded) => {
            Some(recorded(joined))
        }
        Phase::Event | Phase::Refuse => None,
    }
}

fn requested(joined: &Joined) -> Option<Disclosed<'_>> {
    let facts = joined.entry.facts.as_ref()?;
    let mapping = facts.mapping.as_deref()?;
    let way = match mapping.action {
        Action::Disclose => Way::Disclosed,
        Action::Export => Way::Exported,
        Action::Print => Way::Printed,
        Action::Search
        | Action::Read
        | Action::Create
        | Action::Update
        | Action::Delete
        | Action::Order
        | Action::Sign
        | Action::Administer
        | Action::Navigate
        | Action::Unmapped => return None,
    };
    let told = mapping.disclosure.as_deref();
    let decision = facts.decision.as_ref();
    let mut purposes: Vec<&str> = told
        .and_then(|told| told.purpose.as_deref())
        .into_iter()
        .collect();
    for code in decision.iter().flat_map(|decision| &decision.stated) {
        if !purposes.contains(&code.as_str()) {
            purposes.push(code);
        }
    }
    let is_stated = !purposes.is_empty();
    if !is_stated {
        let usual = decision.map(|decision| decision.purpose.as_str());
        purposes.push(usual.filter(|code| !code.is_empty()).unwrap_or(UNSTATED));
    }
    let basis = match way {
        Way::Disclosed if is_stated && purposes.iter().all(|code| is_ordinary(code)) => {
            Basis::Ordinary
        }
        Way::Disclosed => Basis::Accountable,
        Way::Exported | Way::Printed | Way::Recorded => {
            let is_usual = |code: &&str| is_ordinary(code) || *code == UNSTATED;
            if purposes.iter().all(is_usual) {
                Basis::Copy
            } else {
                Basis::Accountable
            }
        }
    };
    let said = |of: fn(&Disclosure) -> &Option<String>| told.and_then(|told| of(told).as_deref());
    let program = match facts.principal.as_deref() {
        // A program that fetches data is who receives them.
        Some(Principal::Service(service)) => Some(service.client.as_str()),
        Some(Principal::User(_)) | None => None,
    };
    Some(Disclosed {
        way,
        basis,
        left: left(joined),
        date: joined.entry.time.to_zoned(TimeZone::UTC).date(),
        time: Some(joined.entry.time),
        recipient: said(|told| &told.recipient).or(program),
        address: said(|told| &told.address),
        what: said(|told| &told.description).map_or_else(|| content(mapping), Cow::Borrowed),
        purposes,
    })
}

fn content(mapping: &Mapping) -> Cow<'_, str> {
    if mapping.section == "export" {
        Cow::Borrowed("a copy of the chart")
    } else {
        Cow::Borrowed(&mapping.section)
    }
}

fn left(joined: &Joined) -> Left {
    use super::outcome::End;
    let Some(end) = &joined.end else {
        return Left::Perhaps;
    };
    let outcome = &end.outcome;
    if outcome.status.is_some_and(|status| status >= 400) {
        return Left::Nothing;
    }
    match outcome.end {
        End::Complete if outcome.refusal.is_none() => Left::Whole,
        End::Complete | End::Abandoned | End::UpstreamFailed | End::Cut | End::Unknown => {
            Left::Perhaps
        }
    }
}

fn recorded(joined: &Joined) -> Disclosed<'_> {
    let detail = |key: &str| joined.entry.detail.get(key).map(String::as_str);
    let day = || joined.entry.time.to_zoned(TimeZone::UTC).date();
    let purpose = detail("purpose").unwrap_or(UNSTATED);
    Disclosed {
        way: Way::Recorded,
        basis: if is_ordinary(purpose) {
            Basis::Ordinary
        } else {
            Basis::Accountable
        },
        left: Left::Whole,
        date: detail("date")
            .and_then(|date| date.parse().ok())
            .unwrap_or_else(day),
        time: None,
        recipient: detail("to"),
        address: detail("address"),
        what: Cow::Borrowed(detail("what").unwrap_or_default()),
        purposes: vec![purpose],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::fixture as sample;
    use crate::audit::outcome::End;

    fn with(action: Action, purpose: &str, stated: &[&str], told: Option<Disclosure>) -> Joined {
        let mut joined = sample::done(action, &["4"]);
        let facts = joined.entry.facts.as_mut().unwrap();
        let decision = facts.decision.as_mut().unwrap();
        purpose.clone_into(&mut decision.purpose);
        decision.stated = stated.iter().map(ToString::to_string).collect();
        Arc::make_mut(facts.mapping.as_mut().unwrap()).disclosure = told.map(Box::new);
        joined
    }

    fn basis(joined: &Joined) -> Option<Basis> {
        disclosed(joined).map(|found| found.basis)
    }

    #[test]
    fn only_a_stated_purpose_exempts_what_goes_outside() {
        let told = |purpose: &str| {
            Some(Disclosure {
                purpose: Some(purpose.to_owned()),
                ..Disclosure::default()
            })
        };
        let of =
            |action, purpose, stated: &[&str], said| basis(&with(action, purpose, stated, said));
        // The role's purpose says nothing of this one copy.
        assert_eq!(
            of(Action::Disclose, "HOPERAT", &[], None),
            Some(Basis::Accountable)
        );
        assert_eq!(
            of(Action::Disclose, "HOPERAT", &["TREAT"], None),
            Some(Basis::Ordinary)
        );
        assert_eq!(
            of(Action::Disclose, "HOPERAT", &[], told("HPAYMT")),
            Some(Basis::Ordinary)
        );
        assert_eq!(
            of(Action::Disclose, "HOPERAT", &["TREAT"], told("HLEGAL")),
            Some(Basis::Accountable)
        );
        assert_eq!(
            of(Action::Disclose, "HOPERAT", &[], told("for Mr. Bell")),
            Some(Basis::Accountable)
        );
    }

    #[test]
    fn a_stated_purpose_makes_an_export_a_disclosure() {
        let of = |action, purpose, stated: &[&str]| basis(&with(action, purpose, stated, None));
        for action in [Action::Export, Action::Print] {
            assert_eq!(of(action, "TREAT", &[]), Some(Basis::Copy));
            assert_eq!(of(action, UNSTATED, &[]), Some(Basis::Copy));
            assert_eq!(of(action, "HOPERAT", &["HLEGAL"]), Some(Basis::Accountable));
            assert_eq!(of(action, "HOPERAT", &["HQUALIMP"]), Some(Basis::Copy));
            assert_eq!(of(action, "PATRQT", &[]), Some(Basis::Accountable));
        }
        for action in Action::ALL {
            let goes = matches!(action, Action::Disclose | Action::Export | Action::Print);
            assert_eq!(of(*action, "PUBHLTH", &[]).is_some(), goes, "{action:?}");
        }
        assert_eq!(disclosed(&sample::refused("CG-3001", &["4"])), None);
    }

    #[test]
    fn what_did_not_leave_is_told_from_what_may_have() {
        let left = |end, status| {
            let joined = sample::ended(Action::Disclose, &["4"], end, status);
            disclosed(&joined).unwrap().left
        };
        assert_eq!(left(End::Complete, Some(302)), Left::Whole);
        assert_eq!(left(End::Complete, Some(404)), Left::Nothing);
        assert_eq!(left(End::UpstreamFailed, None), Left::Perhaps);
        assert_eq!(left(End::Unknown, None), Left::Perhaps);
        let mut open = sample::done(Action::Disclose, &["4"]);
        open.end = None;
        assert_eq!(disclosed(&open).unwrap().left, Left::Perhaps);
    }

    #[test]
    fn what_left_on_paper_counts_on_its_own_day() {
        let detail = [
            ("patient", "4"),
            ("to", "County Court"),
            ("address", "1 Main Street"),
            ("what", "discharge letter"),
            ("purpose", "HLEGAL"),
            ("date", "2026-02-27"),
        ];
        let joined = sample::event(Event::DisclosureRecorded, None, &detail);
        let found = disclosed(&joined).unwrap();
        assert_eq!(
            (found.way, found.basis),
            (Way::Recorded, Basis::Accountable)
        );
        assert_eq!(found.date.to_string(), "2026-02-27");
        assert_eq!(found.recipient, Some("County Court"));
        assert_eq!(found.purpose_text(), "a legal matter");
    }
}
