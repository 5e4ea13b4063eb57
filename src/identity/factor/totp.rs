//! Codes of authenticator apps: RFC 6238 with SHA-1, six digits and steps of 30 s, which is what apps do.

use jiff::Timestamp;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, Builder, Secret as TotpSecret, Totp};

use crate::identity::token::NoRandomness;
use crate::secret::Secret;

/// Seconds of one step.
const STEP: u64 = 30;
/// Steps before and after now that are accepted: clocks differ, and typing takes time (RFC 6238 §5.2).
const BESIDE: u64 = 1;
/// 160 bits, the length of the hash (RFC 4226 §4, R6).
const SECRET: usize = 20;
/// The longest code that is looked at.
const LONGEST: usize = 16;

/// The key that an app and the gateway share.
#[derive(Debug, Clone)]
pub(in crate::identity) struct TotpKey(Secret<Vec<u8>>);

impl Serialize for TotpKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Secret::new(hex::encode(self.0.expose()));
        serializer.serialize_str(text.expose())
    }
}

impl<'de> Deserialize<'de> for TotpKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::new(String::deserialize(deserializer)?);
        let bytes = hex::decode(text.expose()).map_err(serde::de::Error::custom)?;
        Ok(Self(Secret::new(bytes)))
    }
}

impl TotpKey {
    /// A new key.
    pub(super) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = vec![0_u8; SECRET];
        aws_lc_rs::rand::fill(&mut bytes).ok().ok_or(NoRandomness)?;
        Ok(Self(Secret::new(bytes)))
    }

    /// The newest step after `last` whose code this is, if it is one of now or a step beside it.
    ///
    /// SECURITY: a step counts once (RFC 6238 §5.2); what is at or before `last` was used, whoever sends it now.
    pub(super) fn step_of(&self, typed: &str, now: Timestamp, last: u64) -> Option<u64> {
        if typed.len() > LONGEST {
            return None;
        }
        let code: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        let current = u64::try_from(now.as_second()).ok()? / STEP;
        let steps = current.saturating_sub(BESIDE)..=current.saturating_add(BESIDE);
        let totp = self.totp("", None);
        // Every step is looked at, so that the time it takes says nothing.
        let matching = steps.filter(|step| {
            let matches = totp.check(&code, step.saturating_mul(STEP)).is_some();
            matches && *step > last
        });
        matching.max()
    }

    /// The key as people type it into an app, in groups of four.
    pub(super) fn show(&self) -> String {
        let text = self.totp("", None).secret().to_base32();
        let mut shown = String::new();
        for (position, character) in text.chars().enumerate() {
            if position > 0 && position.is_multiple_of(4) {
                shown.push(' ');
            }
            shown.push(character);
        }
        shown
    }

    /// The picture that an app reads, as SVG; nothing where the names do not fit into one.
    pub(super) fn picture(&self, account: &str, site: &str) -> Option<String> {
        let account: String = account.chars().filter(|c| *c != ':').take(80).collect();
        let address = Secret::new(self.totp(&account, Some(site)).to_url().ok()?);
        let code = QrCode::new(address.expose().as_bytes()).ok()?;
        let picture = code
            .render::<svg::Color<'_>>()
            .min_dimensions(220, 220)
            .build();
        // A page holds the element alone.
        let start = picture.find("<svg")?;
        picture.get(start..).map(str::to_owned)
    }

    fn totp(&self, account: &str, site: Option<&str>) -> Totp {
        // The names are only for the address, where they are checked.
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(0)
            .with_step_duration(STEP)
            .with_secret(TotpSecret::new(self.0.expose().clone().into()))
            .with_account_name(account)
            .with_issuer(site)
            .build_noncompliant()
    }

    /// The code at a time, as an app shows it.
    #[cfg(test)]
    pub(in crate::identity) fn code(&self, at: Timestamp) -> String {
        let seconds = u64::try_from(at.as_second()).unwrap();
        self.totp("", None).generate(seconds).to_string()
    }

    /// Reads what [`Self::show`] gave.
    #[cfg(test)]
    pub(in crate::identity) fn parse(shown: &str) -> Self {
        let secret = TotpSecret::try_from_base32(shown.replace(' ', "")).unwrap();
        Self(Secret::new(secret.as_ref().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// RFC 6238 appendix B, SHA-1, the last six of eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let key = TotpKey(Secret::new(b"12345678901234567890".to_vec()));
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(key.code(at(second)), code);
            let step = u64::try_from(second).unwrap() / 30;
            assert_eq!(key.step_of(code, at(second), 0), Some(step));
        }
    }

    #[test]
    fn a_step_beside_now_is_accepted_and_each_step_once() {
        let key = TotpKey::generate().unwrap();
        let now = at(1_800_000_000);
        let code = |steps: i64| {
            key.code(
                now.checked_add(SignedDuration::from_secs(steps * 30))
                    .unwrap(),
            )
        };
        let step = 60_000_000;
        assert_eq!(key.step_of(&code(0), now, 0), Some(step));
        assert_eq!(key.step_of(&code(-1), now, 0), Some(step - 1));
        assert_eq!(key.step_of(&code(1), now, 0), Some(step + 1));
        let (too_old, too_new) = (code(-2), code(2));
        let near = [code(-1), code(0), code(1)];
        if !near.contains(&too_old) && !near.contains(&too_new) {
            assert_eq!(key.step_of(&too_old, now, 0), None);
            assert_eq!(key.step_of(&too_new, now, 0), None);
        }
        // Used: neither itself nor one before it is accepted any more.
        assert_eq!(key.step_of(&code(0), now, step), None);
        assert_eq!(key.step_of(&code(-1), now, step), None);
        assert_eq!(key.step_of(&code(1), now, step), Some(step + 1));
        let (left, right) = (code(0), code(0));
        let (left, _) = left.split_at(3);
        let (_, right) = right.split_at(3);
        let spaced = format!("{left} {right}");
        assert_eq!(key.step_of(&spaced, now, 0), Some(step));
        for junk in [
            "",
            "12345",
            "1234567",
            "abcdef",
            "-12345",
            "+12345",
            "１２３４５６",
            &"1".repeat(100),
        ] {
            assert_eq!(key.step_of(junk, now, 0), None, "{junk}");
        }
    }

    #[test]
    fn the_picture_is_an_element_and_the_key_is_typed_as_shown() {
        let key = TotpKey::generate().unwrap();
        let picture = key.picture("dr.adams:<b>", "Riverside Clinic").unwrap();
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>"));
        assert!(!picture.contains("<b>") && !picture.contains("style"));
        let typed = TotpKey::parse(&key.show());
        assert_eq!(typed.code(at(59)), key.code(at(59)));
        assert_eq!(format!("{key:?}"), "TotpKey([redacted])");
    }
}
