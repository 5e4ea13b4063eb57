//! Names the invented people who work at the sample clinic.
//!
//! *Never*: credentials of anybody real; everything here is printed for whoever runs the demonstration.

use jiff::Timestamp;
use totp_rs::{Algorithm, Builder, Secret, Totp};

/// Seconds for which one TOTP code lasts.
pub const TOTP_STEP_SECONDS: u64 = 30;

/// Whether somebody has a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// Only the password.
    Absent,
    /// An authenticator application with time-based codes.
    Totp,
}

/// Name, display name, password, second factor and group of the staff.
const STAFF: [(&str, &str, &str, SecondFactor, &str); 11] = {
    use SecondFactor::{Absent, Totp};
    [
        (
            "dr.okafor",
            "Dr. Ngozi Okafor",
            "Heron-Bridge-11",
            Totp,
            "emr-physicians",
        ),
        (
            "nurse.lind",
            "Freja Lind, RN",
            "Willow-Ferry-12",
            Totp,
            "emr-nurses",
        ),
        (
            "pharm.ito",
            "Kenji Ito, PharmD",
            "Otter-Quay-13",
            Totp,
            "emr-pharmacists",
        ),
        (
            "lab.reyes",
            "Camila Reyes, MLT",
            "Reed-Harbor-14",
            Totp,
            "emr-lab",
        ),
        (
            "rad.novak",
            "Pavel Novak, RT",
            "Pebble-Weir-15",
            Totp,
            "emr-radtech",
        ),
        (
            "desk.moreau",
            "Odile Moreau",
            "Salmon-Lock-16",
            Totp,
            "emr-frontdesk",
        ),
        (
            "billing.shah",
            "Rohan Shah",
            "Marsh-Ledger-17",
            Totp,
            "emr-billing",
        ),
        (
            "him.doyle",
            "Aoife Doyle, RHIA",
            "Delta-Folder-18",
            Totp,
            "emr-him",
        ),
        (
            "privacy.stein",
            "Miriam Stein",
            "Lagoon-Watch-19",
            Totp,
            "emr-privacy",
        ),
        (
            "admin.kovacs",
            "Balint Kovacs",
            "Estuary-Root-20",
            Totp,
            "emr-admins",
        ),
        (
            "dr.weber",
            "Dr. Jonas Weber",
            "Brook-Single-21",
            Absent,
            "emr-physicians",
        ),
    ]
};

/// One member of the sample clinic's staff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoUser {
    name: String,
    display: String,
    password: String,
    factor: SecondFactor,
    groups: Vec<String>,
}

impl DemoUser {
    /// Somebody with these credentials and role groups.
    #[must_use]
    pub fn new(
        name: &str,
        display: &str,
        password: &str,
        factor: SecondFactor,
        groups: &[&str],
    ) -> Self {
        Self {
            name: name.to_owned(),
            display: display.to_owned(),
            password: password.to_owned(),
            factor,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        }
    }

    /// The login name, the same at the identity provider and in the EMR.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as people read it.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// The password at the identity provider.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The role names that the identity provider releases in `groups`.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The subject identifier that the identity provider releases.
    #[must_use]
    pub fn subject(&self) -> String {
        hex::encode(
            self.digest("subject")
                .into_iter()
                .take(8)
                .collect::<Vec<u8>>(),
        )
    }

    /// An address in a domain that cannot exist.
    #[must_use]
    pub fn email(&self) -> String {
        format!("{}@riverside-clinic.example", self.name)
    }

    /// The TOTP secret in base32, for an authenticator application, if there is a second factor.
    #[must_use]
    pub fn totp_secret(&self) -> Option<String> {
        self.totp().map(|totp| totp.secret().to_base32())
    }

    /// The TOTP code at this time, if there is a second factor.
    #[must_use]
    pub fn totp_code(&self, at: Timestamp) -> Option<String> {
        let seconds = u64::try_from(at.as_second()).ok()?;
        self.totp().map(|totp| totp.generate(seconds).to_string())
    }

    /// The TOTP step that `code` belongs to, if it is good at this time or one step beside it.
    #[must_use]
    pub fn totp_step(&self, code: &str, at: Timestamp) -> Option<u64> {
        let seconds = u64::try_from(at.as_second()).ok()?;
        let totp = self.totp()?;
        let mut digits = String::with_capacity(6);
        digits.extend(
            code.chars()
                .filter(|character| !character.is_whitespace())
                .take(7),
        );
        totp.check(&digits, seconds)
    }

    fn totp(&self) -> Option<Totp> {
        match self.factor {
            SecondFactor::Absent => None,
            SecondFactor::Totp => Some(
                Builder::new()
                    .with_algorithm(Algorithm::SHA1)
                    .with_digits(6)
                    .with_skew(1)
                    .with_step_duration(TOTP_STEP_SECONDS)
                    .with_secret(Secret::new(
                        self.digest("totp").into_iter().take(20).collect(),
                    ))
                    .with_account_name(self.name.as_str())
                    .with_issuer(Some("Riverside Clinic demonstration"))
                    .build_noncompliant(),
            ),
        }
    }

    fn digest(&self, purpose: &str) -> Vec<u8> {
        let text = format!("chartgate demonstration {purpose} {}", self.name);
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
            .as_ref()
            .to_vec()
    }
}

/// The staff of the sample clinic: one person for each role, and one physician without a second factor.
#[must_use]
pub fn staff() -> Vec<DemoUser> {
    STAFF
        .iter()
        .map(|(name, display, password, factor, group)| {
            DemoUser::new(name, display, password, *factor, &[group])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_subjects_and_secrets_are_unique_and_stable() {
        let staff = staff();
        for (index, user) in staff.iter().enumerate() {
            for other in staff.iter().skip(index + 1) {
                assert_ne!(user.name(), other.name());
                assert_ne!(user.subject(), other.subject());
                assert_ne!(user.password(), other.password());
            }
        }
        assert_eq!(staff[0].totp_secret(), super::staff()[0].totp_secret());
        assert_ne!(staff[0].totp_secret(), staff[1].totp_secret());
    }

    #[test]
    fn exactly_one_person_lacks_a_second_factor() {
        let without: Vec<_> = staff()
            .into_iter()
            .filter(|user| user.totp_secret().is_none())
            .collect();
        assert_eq!(without.len(), 1);
        assert_eq!(without[0].groups(), ["emr-physicians"]);
    }

    #[test]
    fn codes_are_good_for_one_step_either_way() {
        let staff = staff();
        let user = &staff[0];
        let now = Timestamp::from_second(1_800_000_015).unwrap();
        let code = user.totp_code(now).unwrap();
        let step = user.totp_step(&code, now).unwrap();
        assert_eq!(step, 60_000_000);
        for (seconds, accepted) in [(-60, false), (-30, true), (30, true), (60, false)] {
            let at = Timestamp::from_second(1_800_000_015 + seconds).unwrap();
            assert_eq!(user.totp_step(&code, at).is_some(), accepted, "{seconds}");
        }
        assert_eq!(user.totp_step(&format!(" {code} "), now), Some(step));
        assert_eq!(user.totp_step("", now), None);
        assert_eq!(user.totp_step("1234567", now), None);
    }
}
