//! Offers and enquiries on their way through the browser: sealed, so that nobody can read, change, prolong or make one.
//!
//! *Owns*: the key. *Never*: an offer that opens for another stage, or after its time; state that a flood of refusals
//! could fill.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::routes::{BREAK_GLASS, REASON};
use crate::request::{Enquiry, Offer};
use crate::secret::Secret;

const INFO: &[u8] = b"chartgate break-glass offer v1";
/// The longest token that is looked at.
const LONGEST: usize = 8 * 1024;

/// What a sealed offer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// To be shown the form.
    Offered,
    /// To send the form: whoever has this one was shown it, after a fresh sign-in.
    Shown,
}

/// The two kinds of what is sealed; neither opens as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Offer,
    Enquiry,
}

impl Stage {
    const fn binding(self, kind: Kind) -> &'static [u8] {
        match (kind, self) {
            (Kind::Offer, Self::Offered) => b"offered",
            (Kind::Offer, Self::Shown) => b"shown",
            (Kind::Enquiry, Self::Offered) => b"reason-asked",
            (Kind::Enquiry, Self::Shown) => b"reason-shown",
        }
    }
}

/// Seals and opens offers.
pub struct Offers(LessSafeKey);

impl std::fmt::Debug for Offers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Offers([redacted])")
    }
}

impl Offers {
    /// How long an offer is good for.
    pub const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

    /// Derives the key from the master key (HKDF-SHA256); nothing where the cryptography fails.
    #[must_use]
    pub fn new(master: &Secret<Vec<u8>>) -> Option<Self> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(master.expose());
        let key = prk
            .expand(&[INFO], &AES_256_GCM)
            .map(UnboundKey::from)
            .ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// The address of the form for an offer.
    #[must_use]
    pub fn location(&self, offer: &Offer) -> Option<String> {
        Some(format!(
            "{BREAK_GLASS}?offer={}",
            self.seal(Stage::Offered, offer)?
        ))
    }

    /// The address of the form for an enquiry.
    #[must_use]
    pub fn location_of(&self, enquiry: &Enquiry) -> Option<String> {
        Some(format!(
            "{REASON}?enquiry={}",
            self.seal_enquiry(Stage::Offered, enquiry)?
        ))
    }

    /// Seals an offer for a stage.
    #[must_use]
    pub fn seal(&self, stage: Stage, offer: &Offer) -> Option<String> {
        self.sealed(stage.binding(Kind::Offer), offer)
    }

    /// Seals an enquiry for a stage.
    #[must_use]
    pub fn seal_enquiry(&self, stage: Stage, enquiry: &Enquiry) -> Option<String> {
        self.sealed(stage.binding(Kind::Enquiry), enquiry)
    }

    fn sealed(&self, binding: &'static [u8], what: &impl Serialize) -> Option<String> {
        // Random nonces are safe for 2^32 offers under one key (NIST SP 800-38D §8.3).
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut body = serde_json::to_vec(what).ok()?;
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(binding),
                &mut body,
            )
            .ok()?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut body);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what was sealed for `stage` and is not too old.
    #[must_use]
    pub fn open(&self, stage: Stage, token: &str, now: Timestamp) -> Option<Offer> {
        let offer: Offer = self.opened(stage.binding(Kind::Offer), token)?;
        is_young(offer.at, now).then_some(offer)
    }

    /// Opens the enquiry that was sealed for `stage` and is not too old.
    #[must_use]
    pub fn open_enquiry(&self, stage: Stage, token: &str, now: Timestamp) -> Option<Enquiry> {
        let enquiry: Enquiry = self.opened(stage.binding(Kind::Enquiry), token)?;
        is_young(enquiry.at, now).then_some(enquiry)
    }

    fn opened<T: DeserializeOwned>(&self, binding: &'static [u8], token: &str) -> Option<T> {
        if token.len() > LONGEST {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let opened = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(binding),
                &mut body,
            )
            .ok()?;
        serde_json::from_slice(opened).ok()
    }
}

fn is_young(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < Offers::LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::facts::PatientSource;
    use crate::request::{Action, OfferedWard, PatientRef};
    use proptest::prelude::*;

    fn offers() -> Offers {
        Offers::new(&Secret::new(vec![7; 32])).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn offer(patient: &str) -> Offer {
        Offer {
            user: "main|7".to_owned(),
            session: "a1".to_owned(),
            authority: "emr.example".to_owned(),
            emr: "main".to_owned(),
            route: "chart".to_owned(),
            action: Action::Read,
            section: "sensitive".to_owned(),
            sensitivity: "R".to_owned(),
            patient: PatientRef {
                system: "urn:mrn".to_owned(),
                id: patient.to_owned(),
                source: PatientSource::Sticky,
            },
            policies: Vec::new(),
            return_to: "/chart/sensitive".to_owned(),
            at: now(),
            unconfirmed: false,
            ward: None,
        }
    }

    #[test]
    fn an_offer_opens_for_its_stage_and_in_its_time_only() {
        let offers = offers();
        let token = offers.seal(Stage::Offered, &offer("7")).unwrap();
        assert_eq!(offers.open(Stage::Offered, &token, now()), Some(offer("7")));
        assert_eq!(offers.open(Stage::Shown, &token, now()), None);
        let late = now().checked_add(Offers::LIFETIME).unwrap();
        assert_eq!(offers.open(Stage::Offered, &token, late), None);
        let other = Offers::new(&Secret::new(vec![8; 32])).unwrap();
        assert_eq!(other.open(Stage::Offered, &token, now()), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"chart"));
        assert!(offers.location(&offer("7")).unwrap().len() < 1024);
    }

    #[test]
    fn an_address_that_is_too_long_still_fits_the_way_through_a_step_up() {
        let long = Offer {
            return_to: "a".repeat(1536),
            ..offer("7")
        };
        let location = offers().location(&long).unwrap();
        assert_eq!(
            crate::identity::ReturnTo::parse(&location).as_str(),
            location
        );
    }

    proptest! {
        /// Whatever is done to a sealed offer, no other patient, ward, user or session comes out of it.
        #[test]
        fn no_mutation_opens_anything_else(
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
            cut in any::<prop::sample::Index>(),
            text in "[A-Za-z0-9_-]{0,80}",
        ) {
            let offers = offers();
            let ward = OfferedWard { name: "ed".to_owned(), declaration: "mc-1".to_owned() };
            let sealed = Offer { ward: Some(ward), ..offer("7") };
            let token = offers.seal(Stage::Shown, &sealed).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let changed = URL_SAFE_NO_PAD.encode(&bytes);
            let shorter = token.get(..cut.index(token.len())).unwrap();
            for forged in [changed.as_str(), shorter, text.as_str()] {
                let opened = offers.open(Stage::Shown, forged, now());
                prop_assert_eq!(opened, (forged == token).then(|| sealed.clone()));
            }
        }
    }
}
