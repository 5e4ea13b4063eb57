//! Disclosures that do not pass the gateway, put on record by an operator: paper, a telephone call, a CD.
//!
//! One that was put on record by mistake (another patient's) is withdrawn, by a record of its own: the accounting leaves it out
//! and says so.
//!
//! *Never*: one without patient, recipient, description and purpose: an accounting (45 CFR 164.528(b)(2)) needs them.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::disclosed::is_code;
use crate::audit::trail::{Audit, AuditError};
use crate::clock::SharedClock;
use crate::request::Event;

/// Longest particular, in characters.
pub const LONGEST: usize = 200;
/// Nothing was disclosed before: the year is a slip.
const OLDEST: i16 = 1970;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Put this on record.
    Record(Particulars),
    /// Withdraw what was put on record by mistake.
    Withdraw(Withdrawal),
}

/// Which entry is withdrawn, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Taken", into = "Taken")]
pub struct Withdrawal(Taken);

/// The same before it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The id of the record that is withdrawn.
    pub disclosure: Uuid,
    /// The patient whom it names.
    pub patient: String,
    /// Why.
    pub reason: String,
}

impl TryFrom<Taken> for Withdrawal {
    type Error = ParticularsError;

    fn try_from(taken: Taken) -> Result<Self, ParticularsError> {
        Ok(Self(Taken {
            // As the record has it: that is how the accounting finds it.
            patient: line("patient", &taken.patient).map(|_| taken.patient)?,
            reason: line("reason", &taken.reason)?,
            ..taken
        }))
    }
}

impl From<Withdrawal> for Taken {
    fn from(withdrawal: Withdrawal) -> Self {
        withdrawal.0
    }
}

/// A particular in one line, without the blanks around it.
fn line(name: &'static str, text: &str) -> Result<String, ParticularsError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ParticularsError::Empty(name));
    }
    if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        return Err(ParticularsError::Long(name));
    }
    Ok(text.to_owned())
}

/// What was disclosed, as an operator says it. It is bounded and complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Said", into = "Said")]
pub struct Particulars(Said);

/// The same before it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The patient's identifier in the EMR.
    pub patient: String,
    /// Who received it.
    pub to: String,
    /// Their address, where it is known.
    pub address: Option<String>,
    /// What was handed over.
    pub what: String,
    /// What for: a code of HL7 v3 `PurposeOfUse`, or words.
    pub purpose: String,
    /// The day on which it left; today, if none is named.
    pub date: Option<Date>,
}

/// Why particulars are none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParticularsError {
    /// One is empty.
    #[error("`{0}` says nothing, and it is needed")]
    Empty(&'static str),
    /// One is too long, or more than a line.
    #[error("`{0}` is more than one line of {LONGEST} characters")]
    Long(&'static str),
    /// A code that nobody knows.
    #[error(
        "`{0}` is no code of a purpose (HLEGAL, PUBHLTH, HRESCH, PATRQT, TREAT, HPAYMT, HOPERAT); write one, or say it in words"
    )]
    Code(String),
}

impl TryFrom<Said> for Particulars {
    type Error = ParticularsError;

    fn try_from(said: Said) -> Result<Self, ParticularsError> {
        let said = Said {
            patient: line("patient", &said.patient)?,
            to: line("to", &said.to)?,
            address: said
                .address
                .map(|address| line("address", &address))
                .transpose()?,
            what: line("what", &said.what)?,
            purpose: line("purpose", &said.purpose)?,
            date: said.date,
        };
        let is_like_code = said.purpose.bytes().all(|b| b.is_ascii_uppercase());
        if is_like_code && !is_code(&said.purpose) {
            return Err(ParticularsError::Code(said.purpose));
        }
        Ok(Self(said))
    }
}

impl From<Particulars> for Said {
    fn from(particulars: Particulars) -> Self {
        particulars.0
    }
}

/// A disclosure that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The patient.
    pub patient: String,
    /// Who received it.
    pub to: String,
    /// The day.
    pub date: Date,
    /// Who put it on record.
    pub operator: String,
}

/// A withdrawal that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The record that is withdrawn.
    pub disclosure: Uuid,
    /// The patient.
    pub patient: String,
    /// Who withdrew it.
    pub operator: String,
}

/// What is on record now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Done {
    /// A disclosure.
    Recorded(Recorded),
    /// A withdrawal.
    Withdrawn(Withdrawn),
}

/// Why a disclosure is not on record.
#[derive(Debug, thiserror::Error)]
pub enum DisclosureError {
    /// The trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The day cannot be.
    #[error("{0} is not a day on which something can have left: it is to come, or too long ago")]
    Date(Date),
}

/// The room.
#[derive(Debug, Clone)]
pub struct Disclosures {
    audit: Audit,
    clock: SharedClock,
}

impl Disclosures {
    /// Disclosures on this trail.
    #[must_use]
    pub const fn new(audit: Audit, clock: SharedClock) -> Self {
        Self { audit, clock }
    }

    /// Answers an operator.
    ///
    /// # Errors
    /// [`DisclosureError`]; nothing is on record then.
    pub async fn answer(&self, operator: &str, ask: Ask) -> Result<Done, DisclosureError> {
        match ask {
            Ask::Record(particulars) => {
                let recorded = self.record(operator, particulars).await?;
                Ok(Done::Recorded(recorded))
            }
            Ask::Withdraw(withdrawal) => {
                let withdrawn = self.withdraw(operator, withdrawal).await?;
                Ok(Done::Withdrawn(withdrawn))
            }
        }
    }

    async fn withdraw(
        &self,
        operator: &str,
        Withdrawal(taken): Withdrawal,
    ) -> Result<Withdrawn, DisclosureError> {
        let detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("patient".to_owned(), taken.patient.clone()),
            ("disclosure".to_owned(), taken.disclosure.to_string()),
            ("reason".to_owned(), taken.reason),
        ]);
        self.audit
            .event(Event::DisclosureWithdrawn, None, detail)
            .await?;
        Ok(Withdrawn {
            disclosure: taken.disclosure,
            patient: taken.patient,
            operator: operator.to_owned(),
        })
    }

    async fn record(
        &self,
        operator: &str,
        Particulars(said): Particulars,
    ) -> Result<Recorded, DisclosureError> {
        let today = self.clock.now().to_zoned(TimeZone::UTC).date();
        // East of Greenwich it is tomorrow already.
        let latest = today.tomorrow().unwrap_or(today);
        let date = said.date.unwrap_or(today);
        if date > latest || date.year() < OLDEST {
            return Err(DisclosureError::Date(date));
        }
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("patient".to_owned(), said.patient.clone()),
            ("to".to_owned(), said.to.clone()),
            ("what".to_owned(), said.what),
            ("purpose".to_owned(), said.purpose),
            ("date".to_owned(), date.to_string()),
        ]);
        if let Some(address) = said.address {
            detail.insert("address".to_owned(), address);
        }
        self.audit
            .event(Event::DisclosureRecorded, None, detail)
            .await?;
        Ok(Recorded {
            patient: said.patient,
            to: said.to,
            date,
            operator: operator.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::Ground;

    fn said() -> Said {
        Said {
            patient: "4".to_owned(),
            to: "County Court".to_owned(),
            address: Some("1 Main Street".to_owned()),
            what: "discharge letter".to_owned(),
            purpose: "HLEGAL".to_owned(),
            date: None,
        }
    }

    #[test]
    fn what_an_accounting_needs_must_be_said_in_a_line() {
        let of = |change: fn(&mut Said)| {
            let mut said = said();
            change(&mut said);
            Particulars::try_from(said).map(|_| ())
        };
        assert_eq!(of(|_| {}), Ok(()));
        assert_eq!(of(|said| said.address = None), Ok(()));
        assert_eq!(
            of(|said| "for a study".clone_into(&mut said.purpose)),
            Ok(())
        );
        assert_eq!(
            of(|said| " ".clone_into(&mut said.to)),
            Err(ParticularsError::Empty("to"))
        );
        assert_eq!(
            of(|said| said.what.clear()),
            Err(ParticularsError::Empty("what"))
        );
        assert_eq!(
            of(|said| said.to = "x".repeat(201)),
            Err(ParticularsError::Long("to"))
        );
        assert_eq!(
            of(|said| "a\nb".clone_into(&mut said.what)),
            Err(ParticularsError::Long("what"))
        );
        assert_eq!(
            of(|said| "HLEAGL".clone_into(&mut said.purpose)),
            Err(ParticularsError::Code("HLEAGL".to_owned()))
        );
        // Blanks around an identifier would hide the disclosure from the patient's accounting.
        let blanks = Said {
            patient: " 4 ".to_owned(),
            ..said()
        };
        let trimmed = Said::from(Particulars::try_from(blanks).unwrap());
        assert_eq!(trimmed.patient, "4");
        let json = serde_json::to_string(&said())
            .unwrap()
            .replace("County Court", "");
        assert!(serde_json::from_str::<Particulars>(&json).is_err());
    }

    #[tokio::test]
    async fn it_is_on_record_with_its_day_and_none_is_to_come() {
        let ground = Ground::new().await;
        let room = Disclosures::new(ground.audit.clone(), ground.shared_clock());
        let on = |date: &str| {
            let date = (!date.is_empty()).then(|| date.parse().unwrap());
            let said = Said { date, ..said() };
            Ask::Record(Particulars::try_from(said).unwrap())
        };
        room.answer("alice", on("")).await.unwrap();
        let done = room.answer("alice", on("2026-10-02")).await.unwrap();
        let Done::Recorded(recorded) = done else {
            panic!("{done:?}");
        };
        assert_eq!(recorded.date.to_string(), "2026-10-02");
        for wrong in ["2026-11-27", "1926-10-02"] {
            let error = room.answer("alice", on(wrong)).await.unwrap_err();
            assert!(matches!(error, DisclosureError::Date(_)), "{error}");
        }
        let found = ground.recorded(Event::DisclosureRecorded);
        let days: Vec<&str> = found.iter().map(|detail| detail["date"].as_str()).collect();
        assert_eq!(days, ["2026-11-25", "2026-10-02"]);
        assert_eq!(
            (found[0]["operator"].as_str(), found[0]["to"].as_str()),
            ("alice", "County Court")
        );
    }
    #[tokio::test]
    async fn a_withdrawal_is_on_record_with_its_reason() {
        let ground = Ground::new().await;
        let room = Disclosures::new(ground.audit.clone(), ground.shared_clock());
        let taken = |reason: &str| Taken {
            disclosure: Uuid::from_u128(7),
            patient: " 4 ".to_owned(),
            reason: reason.to_owned(),
        };
        let empty = Withdrawal::try_from(taken(" "));
        assert_eq!(empty, Err(ParticularsError::Empty("reason")));
        let withdrawal = Withdrawal::try_from(taken("patient 5 was meant")).unwrap();
        let done = room
            .answer("alice", Ask::Withdraw(withdrawal))
            .await
            .unwrap();
        assert!(matches!(done, Done::Withdrawn(_)), "{done:?}");
        let found = &ground.recorded(Event::DisclosureWithdrawn)[0];
        assert_eq!(found["disclosure"], Uuid::from_u128(7).to_string());
        assert_eq!(
            (found["patient"].as_str(), found["operator"].as_str()),
            (" 4 ", "alice")
        );
    }
}
