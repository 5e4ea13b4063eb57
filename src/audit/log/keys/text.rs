//! What stands in `master.key` once it is open: one key, or all that were in force with the times of their making.
//!
//! *Owns*: the format of `master.key`. *On failure*: [`KeyError::Malformed`].

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, Zeroizing};

use super::{KEY_BYTES, KeyError, MasterKey};

/// One key, age unknown.
const MASTER_HEADER: &str = "chartgate-master-key-v1";
/// Keys with the time of their making, newest first.
const RING_HEADER: &str = "chartgate-master-key-v2";

impl MasterKey {
    pub(super) fn file_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256));
        if self.created.is_none() && self.older.is_empty() {
            text.push_str(MASTER_HEADER);
            text.push('\n');
            BASE64.encode_string(self.key.expose(), &mut text);
            text.push('\n');
            return text;
        }
        text.push_str(RING_HEADER);
        text.push('\n');
        for key in self.all() {
            BASE64.encode_string(key.key.expose(), &mut text);
            text.push(' ');
            match key.created {
                Some(created) => text.push_str(&created.to_string()),
                None => text.push('-'),
            }
            text.push('\n');
        }
        text
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, KeyError> {
        let parsed = match text.split_once('\n') {
            Some((MASTER_HEADER, rest)) => {
                decode_key(rest.trim_end()).map(|bytes| Self::from_bytes(bytes, None))
            }
            Some((RING_HEADER, rest)) => {
                let keys: Option<Vec<Self>> = rest.lines().map(ring_line).collect();
                keys.and_then(Self::ring)
            }
            Some(_) | None => None,
        };
        parsed.ok_or(KeyError::Malformed {
            path: path.to_owned(),
            expected: MASTER_HEADER,
        })
    }
}

/// A line of a ring: a key and the time of its making.
fn ring_line(line: &str) -> Option<MasterKey> {
    let (key, created) = line.split_once(' ')?;
    let created = match created {
        "-" => None,
        time => Some(time.parse().ok()?),
    };
    decode_key(key).map(|bytes| MasterKey::from_bytes(bytes, created))
}

fn decode_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let mut bytes = BASE64.decode(text).ok()?;
    let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok();
    bytes.zeroize();
    key
}
