//! Audit messages as DICOM PS3.15 A.5 has them and IHE ATNA (ITI-20) sends them: XML, one message for each patient of a
//! record, each in a line of RFC 5424.
//!
//! The codes are those of the FHIR events, which have them from DICOM; where FHIR says `rest`, DICOM says what the
//! request was about.
//!
//! *Never*: names of patients, values of results, bodies; the record holds none.

mod objects;
mod participants;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the sizes of these tests are small"
)]
mod tests;

use super::fhir::kinds::{Code, Codes, Kind, Verb};
use super::fhir::{UNSTATED, each_patient};
use super::judged::{Judgement, judge};
use super::xml::Element;
use crate::audit::disclosed::disclosed;
use crate::audit::entry::Phase;
use crate::audit::query::answer::{Answer, instant};
use crate::audit::query::join::Joined;
use crate::outbound::syslog::{MAX_MESSAGE, Origin, Severity};
use crate::request::PatientRef;

/// ITI TF-2 3.20.4.1.2.1.
pub(super) const MSGID: &str = "IHE+RFC-3881";
const ACT_REASON: &str = "2.16.840.1.113883.5.8";

/// How much of a record goes into a message.
#[derive(Debug, Clone, Copy)]
struct Measure {
    /// Most characters of a value.
    longest: usize,
    /// Most values of a kind.
    most: usize,
}

impl Measure {
    const WHOLE: Self = Self {
        longest: usize::MAX,
        most: usize::MAX,
    };
    /// What fits into a syslog message whatever the record holds.
    const BRIEF: Self = Self {
        longest: 128,
        most: 16,
    };

    fn cut(self, text: &str) -> String {
        match text.char_indices().nth(self.longest) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        }
    }
}

/// The lines of a record. One that would be longer than a syslog message may be is written with its values cut.
pub(super) fn lines(joined: &Joined) -> Vec<String> {
    let origin = Origin::of_records(&joined.entry.node);
    let line = |message: &Element| {
        let text = message.to_string();
        origin.message(Severity::Notice, joined.entry.time, MSGID, &text)
    };
    let mut lines = Vec::new();
    let whole = messages(joined, Measure::WHOLE);
    let brief = messages(joined, Measure::BRIEF);
    for (whole, brief) in whole.iter().zip(&brief) {
        match line(whole).or_else(|_| line(brief)) {
            Ok(line) => lines.push(line),
            // `BRIEF` is made so that this cannot be; a test holds it to that.
            Err(error) => {
                tracing::error!(%error, most = MAX_MESSAGE, record = %joined.entry.id, "an audit message is left out");
            }
        }
    }
    lines
}

/// The messages of a record, in the order of its FHIR events.
fn messages(joined: &Joined, measure: Measure) -> Vec<Element> {
    let answer = Answer::of(joined);
    let is_event = joined.entry.phase == Phase::Event;
    let kind = if is_event {
        Kind::of_event(joined)
    } else {
        Kind::of_request(joined)
    };
    let mut messages = Vec::new();
    let is_outside = !is_event && disclosed(joined).is_some_and(|one| one.basis.is_outside());
    for patient in each_patient(joined) {
        let kind = match patient {
            Some(patient) if !is_event => kind.of_patient(joined, patient),
            Some(_) | None => kind,
        };
        let told = Told {
            joined,
            answer: &answer,
            kind,
            patient,
            measure,
        };
        messages.push(told.message());
        if patient.is_some() && is_outside {
            let kind = Kind::Disclosure;
            messages.push(Told { kind, ..told }.message());
        }
    }
    messages
}

/// What one message tells.
#[derive(Debug, Clone, Copy)]
struct Told<'j> {
    joined: &'j Joined,
    answer: &'j Answer,
    kind: Kind,
    patient: Option<&'j PatientRef>,
    measure: Measure,
}

impl Told<'_> {
    fn message(self) -> Element {
        let source = Element::new("AuditSourceIdentification")
            .with("AuditSourceID", &*self.joined.entry.node)
            // 6: security server
            .holding([Element::new("AuditSourceTypeCode").with("csd-code", "6")]);
        Element::new("AuditMessage")
            .holding([self.identification()])
            .holding(participants::of(self))
            .holding([source])
            .holding(objects::of(self))
    }

    fn identification(self) -> Element {
        let Codes {
            event,
            subtype,
            action,
        } = self.codes();
        let (judgement, words) = judge(self.joined);
        let outcome = match judgement {
            // "0: use if status otherwise unknown"
            Judgement::Success | Judgement::Open => "0",
            Judgement::Minor => "4",
            Judgement::Serious => "8",
        };
        let words = words
            .map(|words| Element::new("EventOutcomeDescription").text(self.measure.cut(&words)));
        let purpose = self.answer.purpose.as_str();
        let purposes = [
            (!purpose.is_empty() && purpose != UNSTATED).then_some(purpose),
            (!self.answer.grant.is_empty() || self.kind == Kind::EmergencyStarted).then_some("BTG"),
        ];
        Element::new("EventIdentification")
            .with("EventActionCode", action)
            .with("EventDateTime", instant(self.joined.entry.time))
            .with("EventOutcomeIndicator", outcome)
            .holding([coded("EventID", event)])
            .holding(subtype.map(|code| coded("EventTypeCode", code)))
            .holding(words)
            .holding(purposes.into_iter().flatten().map(|code| {
                let code = self.measure.cut(code);
                code_of("PurposeOfUse", &code, ACT_REASON, &code)
            }))
    }

    /// What the event is. A request is about a patient's record, a query, or nothing that DICOM has a word for.
    const fn codes(self) -> Codes {
        let codes = self.kind.codes();
        let event = match (self.kind, self.patient) {
            (Kind::Rest(Verb::Query), _) => Code::dcm("110112", "Query"),
            (Kind::Rest(_), Some(_)) => Code::dcm("110110", "Patient Record"),
            (Kind::Rest(_), None) | (Kind::Operation, _) => {
                Code::dcm("110100", "Application Activity")
            }
            _ => codes.event,
        };
        Codes { event, ..codes }
    }
}

/// A coded value.
fn coded(name: &'static str, code: Code) -> Element {
    code_of(name, code.code, system(code), code.display)
}

fn code_of(name: &'static str, code: &str, system: &str, meaning: &str) -> Element {
    Element::new(name)
        .with("csd-code", code)
        .with("codeSystemName", system)
        .with("originalText", meaning)
}

/// DICOM's own codes have a short name.
fn system(code: Code) -> &'static str {
    if code.system == super::fhir::DCM {
        "DCM"
    } else {
        code.system
    }
}
