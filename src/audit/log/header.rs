//! The head of a segment file: what it is, where it continues, and its wrapped key.
//!
//! *Owns*: the header's bytes and the chain's start value, which commits to all of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::crypt::{self, CryptError, DataKey, Head};
use super::format::Format;
use super::keys::MasterKey;
use super::segment_key::SegmentKey;
use super::tree::TreeHead;
use crate::secret::Secret;

/// The first eight bytes of every segment.
pub(super) const MAGIC: &[u8; 8] = b"CGSEGMNT";
/// The format this program writes.
pub const FORMAT_VERSION: u32 = Format::Two.number();
const PREFIX_BYTES: usize = 16;
const START_BYTES: usize = 32;
/// A header is a few hundred bytes; anything longer is not one.
pub(super) const HEADER_LIMIT: usize = 64 * 1024;
const WRAP_DOMAIN: &[u8] = b"chartgate/audit/data-key/v1\0";
const CIPHER: &str = "AES-256-GCM";
const DERIVATION: &str = "HKDF-SHA256";
const HASH: &str = "SHA-256";

/// Why a segment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opened {
    /// The gateway recovered from a failure of the disk while running.
    Recover,
    /// The segment before was full.
    Rotate,
    /// The gateway started.
    Start,
}

/// Where the log was when the segment was begun.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Previous {
    /// The segment before; all zeroes for the first.
    pub segment: Uuid,
    /// The newest record before; 0 for the first.
    pub sequence: u64,
    /// The chain value that the segment before ended with; zeroes for the first.
    pub head: Head,
    /// Its whole tree, where it has one (format 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeHead>,
}

/// A tail that was cut off because it was not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The segment that lost it.
    pub segment: Uuid,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes were put aside.
    pub bytes: u64,
    /// The newest record that was kept.
    pub last_seq: u64,
}

/// Records that a checkpoint proves and the log no longer has, whose loss an operator accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLoss {
    /// The first lost sequence number.
    pub from: u64,
    /// The last sequence number known to be lost; numbering goes on after it.
    pub to: u64,
    /// Who held the checkpoint.
    pub place: String,
}

/// A segment's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The segment's id (UUID version 7).
    pub segment: Uuid,
    /// The segment's place in the log, counted from 1.
    pub number: u64,
    /// The gateway that wrote it.
    pub node: String,
    /// The sequence number of its first record.
    pub first: u64,
    /// When it was begun.
    pub created: jiff::Timestamp,
    /// Why it was begun.
    pub opened: Opened,
    /// The cipher of records and wrapped keys.
    pub cipher: String,
    /// How record keys are derived.
    pub derivation: String,
    /// The hash of the chain.
    pub hash: String,
    /// The id of the master key.
    pub master_key: String,
    /// The data key, wrapped (base64).
    pub wrapped_key: String,
    /// Where the log was.
    pub previous: Previous,
    /// A torn tail that was cut just before.
    pub cut: Option<Cut>,
    /// A loss that was accepted just before.
    pub accepted_loss: Option<AcceptedLoss>,
    /// The id of the segment's own key, which is kept apart from it; earlier builds gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_key: Option<String>,
}

/// What the caller decides about a new segment.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) segment: Uuid,
    pub(super) number: u64,
    pub(super) node: &'a str,
    pub(super) first: u64,
    pub(super) created: jiff::Timestamp,
    pub(super) opened: Opened,
    pub(super) previous: Previous,
    pub(super) cut: Option<Cut>,
    pub(super) accepted_loss: Option<AcceptedLoss>,
}

/// Why a header is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file does not begin as a segment does.
    #[error("not a segment file")]
    Magic,
    /// The file was written by another version.
    #[error("format version {0} is not known to this program")]
    Version(u32),
    /// The header is cut off or too long.
    #[error("the header is not whole")]
    Short,
    /// The header's text is not what the format says.
    #[error("the header is not readable")]
    Unreadable,
    /// The start value does not fit the header.
    #[error("the header was altered: its start value does not fit")]
    Start,
    /// An algorithm that this program does not have.
    #[error("the algorithm {0} is not known to this program")]
    Algorithm(String),
}

/// A header with the values that follow from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) header: Header,
    /// The chain's start value.
    pub(super) start: Head,
    /// Where the first frame is.
    pub(super) length: usize,
    /// The version that it is written in.
    pub(super) format: Format,
    /// The header's leaf hash, where the format has a tree.
    pub(super) leaf: Option<Head>,
}

impl Header {
    /// The file name that belongs to this header.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:020}-{}.cgseg", self.first, self.segment)
    }

    /// Makes a header with a fresh data key: its bytes, and the key bound to them, and to the segment's own.
    pub(super) fn create(
        draft: Draft<'_>,
        master: &MasterKey,
        own: Option<&SegmentKey>,
    ) -> Result<(Vec<u8>, Parsed, DataKey), CryptError> {
        let mut data_key = Secret::new(crypt::random::<32>()?);
        let aad = wrap_aad(draft.segment, draft.first, draft.previous.head, draft.node);
        let wrapped = master.wrap(&aad, data_key.expose())?;
        if let Some(own) = own {
            data_key = own.data_key(&data_key, draft.segment)?;
        }
        let header = Self {
            segment: draft.segment,
            number: draft.number,
            node: draft.node.to_owned(),
            first: draft.first,
            created: draft.created,
            opened: draft.opened,
            cipher: CIPHER.to_owned(),
            derivation: DERIVATION.to_owned(),
            hash: HASH.to_owned(),
            master_key: master.id().to_string(),
            wrapped_key: BASE64.encode(wrapped),
            previous: draft.previous,
            cut: draft.cut,
            accepted_loss: draft.accepted_loss,
            segment_key: own.map(SegmentKey::id),
        };
        let json = serde_json::to_vec(&header).ok().ok_or(CryptError)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        let length = u32::try_from(json.len()).ok().ok_or(CryptError)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&json);
        let start = Format::Two.start(header.previous.head, &bytes);
        bytes.extend_from_slice(start.head.as_bytes());
        let key = DataKey::new(&data_key, header.segment, start.head);
        let parsed = Parsed {
            header,
            start: start.head,
            length: bytes.len(),
            format: Format::Two,
            leaf: start.leaf,
        };
        Ok((bytes, parsed, key))
    }

    /// Unwraps the data key with the master key that wrapped it and, where it has one, the segment's own key.
    pub(super) fn data_key(
        &self,
        start: Head,
        master: &MasterKey,
        own: Option<&SegmentKey>,
    ) -> Result<DataKey, CryptError> {
        if self.segment_key != own.map(SegmentKey::id) {
            return Err(CryptError);
        }
        let mut key = self.unwrapped(master)?;
        if let Some(own) = own {
            key = own.data_key(&key, self.segment)?;
        }
        Ok(DataKey::new(&key, self.segment, start))
    }

    /// Whether whoever made it held the master key, shredded since or not.
    pub(super) fn is_made_with(&self, master: &MasterKey) -> bool {
        self.unwrapped(master).is_ok()
    }

    fn unwrapped(&self, master: &MasterKey) -> Result<Secret<[u8; 32]>, CryptError> {
        let wrapped = BASE64.decode(&self.wrapped_key).ok().ok_or(CryptError)?;
        let aad = wrap_aad(self.segment, self.first, self.previous.head, &self.node);
        master.unwrap(&self.master_key, &aad, &wrapped)
    }
}

fn wrap_aad(segment: Uuid, first: u64, previous: Head, node: &str) -> Vec<u8> {
    let mut aad = WRAP_DOMAIN.to_vec();
    aad.extend_from_slice(segment.as_bytes());
    aad.extend_from_slice(&first.to_be_bytes());
    aad.extend_from_slice(previous.as_bytes());
    aad.extend_from_slice(node.as_bytes());
    aad
}

/// How many bytes of a file hold its header, from the file's first 16 bytes.
pub(super) fn length_of(bytes: &[u8]) -> Result<usize, HeaderError> {
    Ok(outline(bytes)?.0)
}

/// The header's length and its version.
fn outline(bytes: &[u8]) -> Result<(usize, Format), HeaderError> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(HeaderError::Short)?;
    if magic != MAGIC {
        return Err(HeaderError::Magic);
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Short)?;
    let version = u32::from_be_bytes(*version);
    let format = Format::of(version).ok_or(HeaderError::Version(version))?;
    let (json, _) = rest.split_first_chunk::<4>().ok_or(HeaderError::Short)?;
    let json = usize::try_from(u32::from_be_bytes(*json)).unwrap_or(usize::MAX);
    if json > HEADER_LIMIT {
        return Err(HeaderError::Short);
    }
    Ok((json.saturating_add(PREFIX_BYTES + START_BYTES), format))
}

/// Reads a header from the first bytes of a file and checks its start value.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let (length, format) = outline(bytes)?;
    let whole = bytes.get(..length).ok_or(HeaderError::Short)?;
    let (committed, start) = whole
        .split_last_chunk::<START_BYTES>()
        .ok_or(HeaderError::Short)?;
    let json = committed.get(PREFIX_BYTES..).ok_or(HeaderError::Short)?;
    let header: Header = serde_json::from_slice(json)
        .ok()
        .ok_or(HeaderError::Unreadable)?;
    let computed = format.start(header.previous.head, committed);
    if computed.head != Head::from_bytes(*start) {
        return Err(HeaderError::Start);
    }
    for (found, known) in [
        (&header.cipher, CIPHER),
        (&header.derivation, DERIVATION),
        (&header.hash, HASH),
    ] {
        if found != known {
            return Err(HeaderError::Algorithm(found.clone()));
        }
    }
    Ok(Parsed {
        header,
        start: computed.head,
        length,
        format,
        leaf: computed.leaf,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (Vec<u8>, Parsed, MasterKey) {
        made_under(None)
    }

    fn made_under(own: Option<&SegmentKey>) -> (Vec<u8>, Parsed, MasterKey) {
        let master = MasterKey::generate().unwrap();
        let draft = Draft {
            segment: Uuid::from_u128(9),
            number: 1,
            node: "gw-1",
            first: 1,
            created: "2026-03-01T10:00:00Z".parse().unwrap(),
            opened: Opened::Start,
            previous: Previous::default(),
            cut: None,
            accepted_loss: None,
        };
        let (bytes, parsed, _) = Header::create(draft, &master, own).unwrap();
        (bytes, parsed, master)
    }

    #[test]
    fn a_header_reads_back() {
        let (bytes, parsed, master) = made();
        assert_eq!(parse(&bytes), Ok(parsed.clone()));
        assert!(parsed.header.data_key(parsed.start, &master, None).is_ok());
        assert_eq!(
            parsed.header.file_name(),
            "00000000000000000001-00000000-0000-0000-0000-000000000009.cgseg"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, _, _) = made();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[at] ^= 1 << bit;
                assert!(parse(&altered).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_wrapped_key_fits_only_its_own_header() {
        let (_, parsed, master) = made();
        for alter in [
            |h: &mut Header| h.first = 2,
            |h: &mut Header| h.segment = Uuid::from_u128(8),
            |h: &mut Header| h.node.push('x'),
            |h: &mut Header| h.previous.head = Head::from_bytes([1; 32]),
        ] {
            let mut header = parsed.header.clone();
            alter(&mut header);
            assert!(header.data_key(parsed.start, &master, None).is_err());
        }
    }

    #[test]
    fn both_keys_are_needed_where_there_are_two() {
        let own = SegmentKey::generate().unwrap();
        let (bytes, parsed, master) = made_under(Some(&own));
        assert_eq!(parse(&bytes), Ok(parsed.clone()));
        let payload = b"who opened which chart";
        let mut sealed = payload.to_vec();
        let open = |own: Option<&SegmentKey>| {
            let key = parsed.header.data_key(parsed.start, &master, own);
            key.map(|key| key.disclosed_key(1).unwrap().expose().to_owned())
        };
        let key = parsed.header.data_key(parsed.start, &master, Some(&own));
        let tag = key.unwrap().seal_record(1, 1, &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        let record_key = open(Some(&own)).unwrap();
        let opened = crypt::open_disclosed(&record_key, parsed.start, 1, 1, &sealed);
        assert_eq!(opened.as_deref(), Ok(payload.as_slice()));
        assert!(open(None).is_err());
        assert!(open(Some(&SegmentKey::generate().unwrap())).is_err());
        // What the header wraps opens nothing by itself.
        let mut plain = parsed.header.clone();
        plain.segment_key = None;
        let alone = plain.data_key(parsed.start, &master, None).unwrap();
        let alone = alone.disclosed_key(1).unwrap();
        assert!(crypt::open_disclosed(alone.expose(), parsed.start, 1, 1, &sealed).is_err());
    }
}
