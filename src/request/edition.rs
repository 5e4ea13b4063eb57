//! Which generation of which policy bundle is in force, as every record says it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The first eight bytes of a bundle's SHA-256: enough to find the activation that put it in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleMark([u8; 8]);

impl BundleMark {
    /// The beginning of a digest in hex; nothing where it is none.
    #[must_use]
    pub fn of_digest(digest: &str) -> Option<Self> {
        let mut mark = [0; 8];
        hex::decode_to_slice(digest.get(..16)?, &mut mark).ok()?;
        Some(Self(mark))
    }
}

impl fmt::Display for BundleMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for BundleMark {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 16];
        hex::encode_to_slice(self.0, &mut text).map_err(serde::ser::Error::custom)?;
        to.serialize_str(str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for BundleMark {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let whole = Some(text.as_str()).filter(|text| text.len() == 16);
        whole
            .and_then(Self::of_digest)
            .ok_or_else(|| D::Error::custom("a bundle is named by sixteen hexadecimal digits"))
    }
}

/// What is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// The generation of policy, lockdown, grants and training. It begins at 1 with every start.
    pub generation: u64,
    /// The bundle; nothing in records of before it was recorded.
    pub bundle: Option<BundleMark>,
}

impl From<u64> for Edition {
    fn from(generation: u64) -> Self {
        Self {
            generation,
            bundle: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_the_beginning_of_the_digest() {
        let mark = BundleMark::of_digest("00ff10abcdef0123456789").unwrap();
        assert_eq!(mark.to_string(), "00ff10abcdef0123");
        let json = serde_json::to_string(&mark).unwrap();
        assert_eq!(json, "\"00ff10abcdef0123\"");
        assert_eq!(serde_json::from_str::<BundleMark>(&json).unwrap(), mark);
        for wrong in [
            "\"00ff\"",
            "\"zzff10abcdef0123\"",
            "\"00ff10abcdef012345\"",
            "7",
        ] {
            assert!(
                serde_json::from_str::<BundleMark>(wrong).is_err(),
                "{wrong}"
            );
        }
        assert_eq!(BundleMark::of_digest("short"), None);
    }
}
