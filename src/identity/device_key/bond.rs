//! What binds one session to one device: a secret of the gateway's, from which challenges and cookies are made, and the
//! key that the browser registered.
//!
//! Challenges and cookies are kept nowhere: they carry a code (HMAC) under the session's secret, which the store has.
//! So they hold across a restart and on every replica, and are void with the session.
//!
//! *Never*: the secret outside of the store; a challenge of one session, or for one purpose, that is good for another.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::key::PublicKey;
use crate::identity::session::SessionId;
use crate::identity::token::NoRandomness;
use crate::secret::Secret;

const SECRET: usize = 32;
const NONCE: usize = 16;
const TAG: usize = 32;
/// Time and nonce of a challenge.
const OPEN: usize = 8 + NONCE;
/// Hex digits of a session's fingerprint.
const FINGERPRINT: usize = 32;

/// How long a registration may take from the sign-in on, and how long a proof may.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);
/// For so long after its registration a session may be used without a proof: what its page had asked for meanwhile is
/// still on its way.
const ON_THEIR_WAY: Duration = Duration::from_secs(10);
/// So much longer than the browser keeps its cookie it is accepted, for what is on its way.
const LATE: Duration = Duration::from_secs(30);

/// What a challenge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Registration,
    Refresh,
}

impl For {
    const fn purpose(self) -> &'static [u8] {
        match self {
            Self::Registration => b"device-key registration",
            Self::Refresh => b"device-key refresh",
        }
    }
}

/// A key that a browser registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) key: PublicKey,
    pub(super) since: Timestamp,
}

/// The bond of a session.
#[derive(Clone)]
pub(in crate::identity) struct Bond {
    pub(super) secret: Secret<Vec<u8>>,
    pub(super) registered: Option<Registered>,
}

impl fmt::Debug for Bond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bond")
            .field("is_registered", &self.registered.is_some())
            .finish_non_exhaustive()
    }
}

impl Bond {
    /// The bond of a session that opens: no key yet.
    pub(in crate::identity) fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            secret: Secret::new(random::<SECRET>()?.to_vec()),
            registered: None,
        })
    }

    pub(in crate::identity) const fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// Whether a session may be used at `now` with this proof, or without one.
    pub(in crate::identity) fn holds(
        &self,
        id: &SessionId,
        proof: Option<&DeviceProof>,
        now: Timestamp,
    ) -> bool {
        let Some(registered) = &self.registered else {
            return true;
        };
        self.accepts(id, proof, now) || now < after(registered.since, ON_THEIR_WAY)
    }

    /// Whether a proof is this session's, and of the key that it is bound to.
    pub(in crate::identity) fn accepts(
        &self,
        id: &SessionId,
        proof: Option<&DeviceProof>,
        now: Timestamp,
    ) -> bool {
        let (Some(registered), Some(proof)) = (&self.registered, proof) else {
            return false;
        };
        let expires = proof.expires.to_be_bytes();
        let signed = proven(id, &expires, &registered.key);
        hmac::verify(&self.key(), &signed, &proof.tag).is_ok()
            && now.as_millisecond() < proof.expires
    }

    /// The value of a cookie that proves the device for `lifetime`; none without a key.
    pub(super) fn cookie(
        &self,
        id: &SessionId,
        now: Timestamp,
        lifetime: Duration,
    ) -> Option<Secret<String>> {
        let registered = self.registered.as_ref()?;
        let expires = after(now, lifetime.saturating_add(LATE));
        let expires = expires.as_millisecond().to_be_bytes();
        let signed = proven(id, &expires, &registered.key);
        let tag = hmac::sign(&self.key(), &signed);
        let value = [&expires[..], tag.as_ref()].concat();
        Some(Secret::new(URL_SAFE_NO_PAD.encode(value)))
    }

    /// A challenge for this session.
    pub(super) fn challenge(
        &self,
        purpose: For,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<String, NoRandomness> {
        let nonce = random::<NONCE>()?;
        let expires = after(now, ANSWER_WITHIN).as_millisecond().to_be_bytes();
        let open = [&expires[..], &nonce].concat();
        let signed = parts(&[purpose.purpose(), id.as_str().as_bytes(), &open]);
        let tag = hmac::sign(&self.key(), &signed);
        let value = URL_SAFE_NO_PAD.encode([&open[..], tag.as_ref()].concat());
        Ok(format!("{id}.{value}"))
    }

    /// Whether a challenge is one of this session, for this purpose, and in time.
    pub(super) fn is_answered(
        &self,
        purpose: For,
        (id, challenge): (&SessionId, &Challenge<'_>),
        now: Timestamp,
    ) -> bool {
        let signed = parts(&[purpose.purpose(), id.as_str().as_bytes(), &challenge.open]);
        challenge.id == id.as_str()
            && hmac::verify(&self.key(), &signed, &challenge.tag).is_ok()
            && now < challenge.expires()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose())
    }
}

/// What a request presents as proof of its device, its code not verified yet.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::identity) struct DeviceProof {
    /// Unix milliseconds.
    expires: i64,
    tag: [u8; TAG],
}

impl fmt::Debug for DeviceProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl DeviceProof {
    /// Reads the value of a cookie. There is exactly one spelling of each.
    pub(in crate::identity) fn parse(value: &[u8]) -> Option<Self> {
        // 40 bytes in base64url without padding.
        if value.len() != 54 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (expires, tag) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            expires: i64::from_be_bytes(*expires),
            tag: <[u8; TAG]>::try_from(tag).ok()?,
        })
    }
}

/// A challenge as it comes back, its code not verified yet.
#[derive(Debug)]
pub(super) struct Challenge<'c> {
    id: &'c str,
    open: [u8; OPEN],
    tag: [u8; TAG],
}

impl<'c> Challenge<'c> {
    pub(super) fn parse(text: &'c str) -> Option<Self> {
        let (id, value) = text.split_once('.')?;
        let is_fingerprint = id.len() == FINGERPRINT && is_hex(id);
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (open, tag) = bytes.split_first_chunk::<OPEN>()?;
        let tag = <[u8; TAG]>::try_from(tag).ok()?;
        is_fingerprint.then_some(Self {
            id,
            open: *open,
            tag,
        })
    }

    /// The session that it is for, by its own word.
    pub(super) fn session(&self) -> SessionId {
        SessionId::known(self.id)
    }

    /// When it is over.
    pub(super) fn expires(&self) -> Timestamp {
        let millis = self.open.first_chunk::<8>().copied();
        let millis = i64::from_be_bytes(millis.unwrap_or_default());
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MIN)
    }

    /// Under which name it is remembered as used.
    pub(super) fn digest(&self) -> String {
        hex::encode(crate::store::digest_of([
            b"device-key challenge".as_slice(),
            self.id.as_bytes(),
            &self.open,
        ]))
    }
}

/// A session's fingerprint as a client names it.
pub(super) fn fingerprint(text: &str) -> Option<SessionId> {
    (text.len() == FINGERPRINT && is_hex(text)).then(|| SessionId::known(text))
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What the code of a proof is over.
fn proven(id: &SessionId, expires: &[u8], key: &PublicKey) -> Vec<u8> {
    let thumbprint = key.thumbprint();
    parts(&[
        b"device-key proof",
        id.as_str().as_bytes(),
        expires,
        thumbprint.as_bytes(),
    ])
}

/// Several parts as one text, each with its length, so that no two splits of the same bytes are alike.
fn parts(all: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in all {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).ok().ok_or(NoRandomness)?;
    Ok(bytes)
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    at.saturating_add(span).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::device_key::proof::Proof;
    use crate::identity::test_device::Device;

    const LIFETIME: Duration = Duration::from_mins(5);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(digit: char) -> SessionId {
        SessionId::known(&digit.to_string().repeat(FINGERPRINT))
    }

    fn bound() -> Bond {
        let token = Device::new().registration("c");
        let key = Proof::parse(&token).unwrap().registers().unwrap();
        Bond {
            registered: Some(Registered { key, since: at(0) }),
            ..Bond::new().unwrap()
        }
    }

    fn shown(bond: &Bond, id: &SessionId, now: i64) -> DeviceProof {
        let value = bond.cookie(id, at(now), LIFETIME).unwrap();
        DeviceProof::parse(value.expose().as_bytes()).unwrap()
    }

    #[test]
    fn a_proof_is_good_for_its_session_and_key_and_time() {
        let (bond, own) = (bound(), id('a'));
        let proof = shown(&bond, &own, 100);
        assert!(bond.accepts(&own, Some(&proof), at(100)));
        assert!(bond.accepts(&own, Some(&proof), at(100 + 329)));
        assert!(!bond.accepts(&own, Some(&proof), at(100 + 330)), "expired");
        assert!(
            !bond.accepts(&id('b'), Some(&proof), at(100)),
            "another session"
        );
        let other = Bond {
            secret: bond.secret.clone(),
            registered: bound().registered,
        };
        assert!(!other.accepts(&own, Some(&proof), at(100)), "another key");
        assert!(
            !bound().accepts(&own, Some(&proof), at(100)),
            "another secret"
        );
        let later = DeviceProof {
            expires: proof.expires + 1,
            ..proof.clone()
        };
        assert!(!bond.accepts(&own, Some(&later), at(100)), "prolonged");
        assert!(!bond.accepts(&own, None, at(100)));
        assert!(!Bond::new().unwrap().accepts(&own, Some(&proof), at(100)));
    }

    #[test]
    fn a_session_is_bound_once_its_page_has_arrived() {
        let (bond, own) = (bound(), id('a'));
        assert!(bond.holds(&own, None, at(9)));
        assert!(!bond.holds(&own, None, at(10)));
        assert!(bond.holds(&own, Some(&shown(&bond, &own, 20)), at(20)));
        assert!(Bond::new().unwrap().holds(&own, None, at(10)));
        assert!(format!("{bond:?} {:?}", shown(&bond, &own, 0)).ends_with("} [redacted]"));
    }

    #[test]
    fn a_challenge_is_for_one_session_and_purpose_and_for_a_while() {
        let (bond, own) = (bound(), id('a'));
        let text = bond.challenge(For::Refresh, &own, at(0)).unwrap();
        let challenge = Challenge::parse(&text).unwrap();
        assert_eq!(challenge.session(), own);
        let answered = |bond: &Bond, purpose, id: &SessionId, now| {
            bond.is_answered(purpose, (id, &challenge), at(now))
        };
        assert!(answered(&bond, For::Refresh, &own, 119));
        assert!(!answered(&bond, For::Refresh, &own, 120), "too old");
        assert!(!answered(&bond, For::Registration, &own, 0));
        assert!(!answered(&bond, For::Refresh, &id('b'), 0));
        assert!(!answered(&bound(), For::Refresh, &own, 0));
        let other = bond.challenge(For::Refresh, &own, at(0)).unwrap();
        assert_ne!(other, text);
        let moved = text.replace(own.as_str(), id('b').as_str());
        let moved = Challenge::parse(&moved).unwrap();
        assert!(!bond.is_answered(For::Refresh, (&id('b'), &moved), at(0)));
        for odd in [
            "",
            ".",
            "a.b",
            text.trim_start_matches('a'),
            &format!("{text}A"),
            &text.to_uppercase(),
        ] {
            assert!(Challenge::parse(odd).is_none(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = DeviceProof::parse(&bytes);
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = Challenge::parse(text);
                let _ = fingerprint(text);
            }
        }
    }
}
