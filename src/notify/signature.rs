//! The signature on a webhook: `X-Chartgate-Signature: t=<Unix seconds>,v1=<HMAC-SHA256 of "t.body", hex>`.
//!
//! The time is signed, so that a receiver can refuse what is old: nobody can send a recorded request again for long.

use aws_lc_rs::hmac;

/// The header.
pub const HEADER: &str = "x-chartgate-signature";

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not of the form.
    #[error("the signature is not of the form t=…,v1=…")]
    Form,
    /// Too old, or from the future.
    #[error("the signature is too old or from the future")]
    Time,
    /// Made with another secret, or for another body.
    #[error("the signature does not fit the body")]
    Mismatch,
}

/// Signs a body.
#[must_use]
pub fn sign(secret: &str, time: i64, body: &[u8]) -> String {
    let tag = hmac::sign(&key(secret), &signed(time, body));
    format!("t={time},v1={}", hex::encode(tag))
}

/// Checks a signature that must not be older than `tolerance` seconds, as a receiver should.
///
/// # Errors
/// [`SignatureError`].
pub fn verify(
    secret: &str,
    header: &str,
    body: &[u8],
    now: i64,
    tolerance: u64,
) -> Result<(), SignatureError> {
    let (time, tag) = header
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
        .ok_or(SignatureError::Form)?;
    let time: i64 = time.parse().ok().ok_or(SignatureError::Form)?;
    let tag = hex::decode(tag).ok().ok_or(SignatureError::Form)?;
    if now.abs_diff(time) > tolerance {
        return Err(SignatureError::Time);
    }
    // Compares in constant time.
    hmac::verify(&key(secret), &signed(time, body), &tag)
        .ok()
        .ok_or(SignatureError::Mismatch)
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn signed(time: i64, body: &[u8]) -> Vec<u8> {
    let mut signed = format!("{time}.").into_bytes();
    signed.extend_from_slice(body);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_signature_does_not_change() {
        // Python: hmac.new(b"secret", b"1700000000.{}", "sha256").hexdigest()
        assert_eq!(sign("secret", 1_700_000_000, b"{}"), EXPECTED);
    }

    const EXPECTED: &str =
        "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";

    #[test]
    fn only_the_same_secret_body_and_time_fit() {
        let header = sign("secret", 1_000, b"body");
        assert_eq!(verify("secret", &header, b"body", 1_200, 300), Ok(()));
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify("secrets", &header, b"body", 1_200, 300), mismatch);
        assert_eq!(verify("secret", &header, b"bodi", 1_200, 300), mismatch);
        let moved = header.replace("t=1000", "t=1100");
        assert_eq!(verify("secret", &moved, b"body", 1_200, 300), mismatch);
        let old = Err(SignatureError::Time);
        assert_eq!(verify("secret", &header, b"body", 1_301, 300), old);
        for header in ["", "t=1", "t=x,v1=00", "t=1000,v1=zz", "v1=00,t=1000"] {
            let form = Err(SignatureError::Form);
            assert_eq!(
                verify("secret", header, b"body", 1_000, 300),
                form,
                "{header}"
            );
        }
    }
}
