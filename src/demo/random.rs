//! Makes unguessable identifiers and compares secrets without leaking where they differ.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The operating system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("the random source of the operating system failed")]
pub struct RandomFailure {
    #[from]
    source: aws_lc_rs::error::Unspecified,
}

/// 256 random bits, URL-safe.
pub(super) fn token() -> Result<String, RandomFailure> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether two secrets are equal, in time that depends on their lengths only.
pub(super) fn same_secret(left: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, two) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, two);
    }

    #[test]
    fn secrets_compare_by_content_and_length() {
        assert!(same_secret("river", "river"));
        assert!(!same_secret("river", "rivet"));
        assert!(!same_secret("river", "rivers"));
    }
}
