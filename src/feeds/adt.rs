//! An ADT export: a directory of HL7 v2 messages about who lies where, and who treats them.
//!
//! A file is read once; what it says is kept by patient until a newer message says otherwise.
//!
//! *Never*: a message twice, or an older one over a newer one.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::directory::Directory;
use super::hl7::{Message, messages};
use super::numbering::Numbering;
use super::staff::Staff;
use crate::policy::care::{Builder, Full, Link, Span, Teams};

/// Most patients.
const MOST_PATIENTS: usize = 1_000_000;
/// Attending, referring, consulting and admitting doctors.
const DOCTORS: [usize; 4] = [7, 8, 9, 17];
/// Whether the patient is a well-known person.
const VIP_FIELD: usize = 16;
const VIP: &str = "VIP";

/// How messages are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Which systems identifiers are of.
    pub(super) numbering: Numbering,
    /// The issuer whose users are named.
    pub(super) issuer: String,
    /// For how long a team goes on after discharge.
    pub(super) after_discharge: SignedDuration,
    /// Where times without an offset are.
    pub(super) zone: TimeZone,
}

/// How it stands with one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stay {
    as_of: Timestamp,
    ward: String,
    doctors: Vec<String>,
    vip: bool,
    /// When they left.
    left: Option<Timestamp>,
}

/// What the messages said so far.
#[derive(Debug, Default)]
pub(super) struct Ward {
    stays: HashMap<(String, String), Stay>,
    directory: Directory,
    taken: u64,
}

impl Ward {
    /// How many messages were taken so far.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Reads the files that were not read before. Returns when the newest file was written.
    ///
    /// # Errors
    /// What is wrong: with a file, by its name; nothing of what it says.
    pub(super) fn look(
        &mut self,
        directory: &Path,
        reading: &Reading,
    ) -> Result<Option<SystemTime>, String> {
        let mut seen = std::mem::take(&mut self.directory);
        let newest = seen.look(directory, |text| {
            for message in messages(text) {
                self.take(&message, reading)?;
                self.taken = self.taken.saturating_add(1);
            }
            Ok(())
        });
        self.directory = seen;
        newest
    }

    fn take(&mut self, message: &Message<'_>, reading: &Reading) -> Result<(), String> {
        let trigger = message.trigger();
        let admits = matches!(
            trigger,
            "A01" | "A02" | "A04" | "A05" | "A06" | "A07" | "A08" | "A12" | "A13"
        );
        let (ends, cancels) = (trigger == "A03", trigger == "A11");
        if !admits && !ends && !cancels {
            return Ok(());
        }
        let as_of = message
            .when(&reading.zone)
            .ok_or("a message says neither in EVN-2 nor in MSH-7 when it is of")?;
        let mut doctors: Vec<String> = DOCTORS
            .iter()
            .flat_map(|field| message.numbers("PV1", *field))
            .collect();
        doctors.sort_unstable();
        doctors.dedup();
        let stay = Stay {
            as_of,
            ward: message.first("PV1", 3),
            doctors,
            vip: !message.first("PV1", VIP_FIELD).is_empty(),
            left: ends.then(|| message.discharged(&reading.zone).unwrap_or(as_of)),
        };
        for patient in reading.numbering.known(message.identifiers("PID", 3)) {
            if self.stays.len() >= MOST_PATIENTS {
                self.forget_who_left(as_of, reading.after_discharge);
            }
            let known = self.stays.get(&patient);
            if known.is_some_and(|known| known.as_of > as_of) {
                continue;
            }
            if cancels {
                self.stays.remove(&patient);
                continue;
            }
            if known.is_none() && self.stays.len() >= MOST_PATIENTS {
                return Err(format!("there are more than {MOST_PATIENTS} patients"));
            }
            let mut stay = stay.clone();
            if let Some(known) = known {
                // A message that leaves out the visit does not end it.
                if stay.ward.is_empty() {
                    stay.ward.clone_from(&known.ward);
                }
                if stay.doctors.is_empty() {
                    stay.doctors.clone_from(&known.doctors);
                }
                stay.vip |= known.vip;
                // News of the person after discharge admits nobody again.
                if trigger == "A08" {
                    stay.left = known.left;
                }
            }
            self.stays.insert(patient, stay);
        }
        Ok(())
    }

    /// Whose team's time after discharge is over is known no more, rather than that nobody new is.
    fn forget_who_left(&mut self, now: Timestamp, after: SignedDuration) {
        self.stays.retain(|_, stay| {
            let end = stay
                .left
                .map(|left| left.checked_add(after).unwrap_or(Timestamp::MAX));
            end.is_none_or(|end| now < end)
        });
    }

    /// Teams and wards, with the users that `staff` names.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn teams(&self, reading: &Reading, staff: &Staff) -> Result<Teams, Full> {
        let mut builder = Builder::new(&reading.issuer);
        for ((system, id), stay) in &self.stays {
            let patient = (system.as_str(), id.as_str());
            let end = |left: Timestamp, more: SignedDuration| {
                left.checked_add(more).unwrap_or(Timestamp::MAX).as_second()
            };
            let until = stay
                .left
                .map_or(i64::MAX, |left| end(left, reading.after_discharge));
            let span = Span {
                until,
                ..Span::ALWAYS
            };
            let kinds: &[&str] = if stay.vip { &[VIP] } else { &[] };
            builder.mark(patient, None, kinds)?;
            if !stay.ward.is_empty() {
                builder.lies(patient, &stay.ward, span)?;
            }
            for doctor in &stay.doctors {
                if let Some(user) = staff.doctor(doctor) {
                    builder.relate(user, patient, span, Link::Team)?;
                }
            }
        }
        for (ward, user) in staff.wards() {
            builder.works(user, ward, Span::ALWAYS)?;
        }
        Ok(builder.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::care::{Care, Source};
    use crate::policy::question::CareRelation;
    use crate::request::Principal;
    use crate::request::facts::{PatientRef, PatientSource};
    use crate::request::principal::{Proof, User};
    use std::sync::Arc;

    fn reading() -> Reading {
        Reading {
            numbering: Numbering {
                authorities: [("HOSP".to_owned(), "urn:mrn".to_owned())].into(),
                system: "urn:mrn".to_owned(),
            },
            issuer: "main".to_owned(),
            after_discharge: SignedDuration::from_hours(24),
            zone: TimeZone::UTC,
        }
    }

    fn message(trigger: &str, at: &str, patient: &str, ward: &str, doctor: &str) -> String {
        format!(
            "MSH|^~\\&|ADT|H|CG|H|{at}||ADT^{trigger}|1|P|2.5\rPID|1||{patient}^^^HOSP~x^^^OTHER\rPV1|1|I|{ward}^1||||{doctor}^GREY\r"
        )
    }

    fn relation(ward: &Ward, name: &str, patient: &str, now: &str) -> CareRelation {
        let staff =
            Staff::read("kind,code,user\ndoctor,0815,dr.grey\nward,3-WEST,nurse.lee\n").unwrap();
        let teams = ward.teams(&reading(), &staff).unwrap();
        let care = Care::of([Source::new(Arc::new(teams), Timestamp::MAX)]);
        let user = Principal::User(User {
            issuer: "main".to_owned(),
            subject: "1".to_owned(),
            name: name.to_owned(),
            roles: std::collections::BTreeSet::new(),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        });
        let patient = PatientRef {
            system: "urn:mrn".to_owned(),
            id: patient.to_owned(),
            source: PatientSource::Request,
        };
        care.bond(&user, &patient, now.parse().unwrap()).relation
    }

    #[test]
    fn a_stay_follows_admission_transfer_discharge_and_what_is_taken_back() {
        use CareRelation::{Assigned, Unknown, Unrelated};
        let dir = tempfile::tempdir().unwrap();
        let mut ward = Ward::default();
        let now = "2026-11-23T12:00:00Z";
        let mut tell = |name: &str, text: String| {
            std::fs::write(dir.path().join(name), text).unwrap();
            let before = ward.taken();
            assert!(ward.look(dir.path(), &reading()).unwrap().is_some());
            assert_eq!(ward.taken(), before + 1);
            assert!(ward.look(dir.path(), &reading()).unwrap().is_some());
            assert_eq!(ward.taken(), before + 1, "read once");
            (
                relation(&ward, "nurse.lee", "4", now),
                relation(&ward, "dr.grey", "4", now),
                relation(&ward, "dr.grey", "4", "2026-11-25T12:00:00Z"),
            )
        };
        assert_eq!(
            tell("1", message("A01", "20261123080000", "4", "3-WEST", "0815")),
            (Assigned, Assigned, Assigned)
        );
        assert_eq!(
            tell("2", message("A02", "20261123090000", "4", "ICU", "0815")),
            (Unrelated, Assigned, Assigned)
        );
        // Older than what is known.
        assert_eq!(
            tell("3", message("A08", "20261123083000", "4", "3-WEST", "")),
            (Unrelated, Assigned, Assigned)
        );
        assert_eq!(
            tell("4", message("A03", "20261123100000", "4", "ICU", "0815")),
            (Unrelated, Assigned, Unrelated)
        );
        assert_eq!(
            tell("5", message("A13", "20261123103000", "4", "3-WEST", "")),
            (Assigned, Assigned, Assigned)
        );
        assert_eq!(
            tell("6", message("A11", "20261123110000", "4", "3-WEST", "")),
            (Unknown, Unknown, Unknown)
        );
        assert_eq!(
            relation(&ward, "dr.grey", "x", now),
            Unknown,
            "of an authority that is not listed"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_file_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut ward = Ward::default();
        std::fs::write(
            dir.path().join("bad.hl7"),
            message("A01", "soon", "secret", "3-WEST", "0815"),
        )
        .unwrap();
        std::fs::write(dir.path().join("half.tmp"), "MSH").unwrap();
        for _ in 0..2 {
            let problem = ward.look(dir.path(), &reading()).unwrap_err();
            assert!(
                problem.starts_with("bad.hl7: ") && !problem.contains("secret"),
                "{problem}"
            );
        }
        assert!(ward.look(&dir.path().join("none"), &reading()).is_err());
    }

    #[test]
    fn who_left_long_ago_makes_room() {
        let mut ward = Ward::default();
        for (trigger, patient) in [("A01", "1"), ("A03", "2")] {
            let text = message(trigger, "20261123080000", patient, "3-WEST", "0815");
            for message in messages(&text) {
                ward.take(&message, &reading()).unwrap();
            }
        }
        let hours = |text: &str| text.parse().unwrap();
        ward.forget_who_left(
            hours("2026-11-24T07:59:59Z"),
            SignedDuration::from_hours(24),
        );
        assert_eq!(ward.stays.len(), 2);
        ward.forget_who_left(
            hours("2026-11-24T08:00:00Z"),
            SignedDuration::from_hours(24),
        );
        let left: Vec<_> = ward.stays.keys().map(|(_, id)| id.as_str()).collect();
        assert_eq!(left, ["1"]);
    }
}
