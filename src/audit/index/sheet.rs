//! A file of the index: a title in clear, then sealed blocks. Written once, as a whole; read block by block.
//!
//! ```text
//! "CGINDEX2"  u32 length of the title  title (JSON)  block*
//! ```
//!
//! A block holds [`BLOCK`] bytes, the last one what is left, each sealed with AES-256-GCM under the sheet's own key, its
//! number as nonce and SHA-256 over everything before the first block as additional data. The last [`FOOT`] bytes of the
//! content say how long it is, so that a file that was cut at a block is noticed.
//!
//! *Never*: a byte that was altered or belongs to another sheet. *On failure*: [`Fault`]; whoever reads goes without.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::audit::log::{DerivedKey, Files, Head, LogFile, ReadAt, SEAL_BYTES, SheetKey, subject};

/// The number counts what is found by which terms, too: a sheet of an earlier number is made again. 2: people of events by
/// their names and stable ids ([`Entry::people`](crate::audit::entry::Entry::people)).
const MAGIC: &[u8; 8] = b"CGINDEX2";
/// Plain bytes of a block: whole rows of 10 and of 16 bytes.
pub(super) const BLOCK: usize = 16_320;
const PLAIN: u64 = BLOCK as u64;
const SEALED: u64 = (BLOCK + SEAL_BYTES) as u64;
/// A title is a few hundred bytes.
const TITLE_LIMIT: usize = 4096;
/// Blocks of one sheet that are kept opened.
const KEPT: usize = 6;
const FOOT: usize = 16;
const END: &[u8; 8] = b"CGINDEND";

/// Why a sheet is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it could not be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is not whole, or not of this trail")]
    Damaged,
}

/// The title, in clear.
#[derive(Debug, Serialize, Deserialize)]
struct Title {
    /// What it is about, as a hash: another state of the trail has another.
    subject: Head,
    /// The salt of its key, in hexadecimal.
    salt: Head,
}

/// Seals a content into the bytes of a sheet.
///
/// `None` where the system has no randomness.
pub(super) fn seal(key: &DerivedKey, about: Head, mut content: Vec<u8>) -> Option<Vec<u8>> {
    content.extend_from_slice(&(content.len() as u64).to_be_bytes());
    content.extend_from_slice(END);
    let salt = DerivedKey::salt().ok()?;
    let title = Title {
        subject: about,
        salt: Head::from_bytes(salt),
    };
    let title = serde_json::to_vec(&title).ok()?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(title.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&title);
    let bound = subject(&[&bytes]);
    let key = key.sheet(&salt).ok()?;
    bytes.reserve(content.len().saturating_add(content.len() / 512));
    for (number, plain) in (0_u64..).zip(content.chunks(BLOCK)) {
        let mut block = plain.to_vec();
        key.seal(number, bound, &mut block).ok()?;
        bytes.extend_from_slice(&block);
    }
    Some(bytes)
}

/// Writes a sheet: it is there as a whole, or not at all.
///
/// # Errors
/// The device's own.
pub(super) fn write(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match files.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = files.create(&new)?;
    let written = file
        .write_all_at(0, bytes)
        .and_then(|()| file.sync_data())
        .and_then(|()| files.rename(&new, path));
    if written.is_err() {
        let _left_for_the_next_start = files.remove(&new);
    }
    written?;
    match path.parent() {
        Some(folder) => files.sync_dir(folder),
        None => Ok(()),
    }
}

/// Where the bytes of a sheet are.
#[derive(Debug)]
pub(super) enum Source {
    File(Box<dyn LogFile>),
    Memory(Arc<Vec<u8>>),
}

impl Source {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(offset, buffer),
            Self::Memory(bytes) => bytes.as_slice().read_at(offset, buffer),
        }
    }

    fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.size(),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let count = self.read_at(at, rest)?;
            if count == 0 {
                return Err(Fault::Damaged);
            }
            at = at.saturating_add(count as u64);
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }
}

type Block = Arc<Vec<u8>>;

/// A sheet that is open for reading.
#[derive(Debug)]
pub(super) struct Sheet {
    source: Source,
    key: SheetKey,
    bound: Head,
    /// Where the first block is.
    start: u64,
    /// Sealed bytes from there on.
    sealed: u64,
    /// Bytes of content.
    length: u64,
    kept: Mutex<VecDeque<(u64, Block)>>,
}

impl Sheet {
    /// Opens a sheet about `about`.
    ///
    /// # Errors
    /// [`Fault`] for one that is damaged, about something else, or sealed with another key.
    pub(super) fn open(source: Source, key: &DerivedKey, about: Head) -> Result<Self, Fault> {
        let mut prefix = [0; 12];
        source.fill(0, &mut prefix)?;
        let (magic, length) = prefix.split_first_chunk::<8>().ok_or(Fault::Damaged)?;
        let length = length.first_chunk::<4>().ok_or(Fault::Damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if magic != MAGIC || length > TITLE_LIMIT {
            return Err(Fault::Damaged);
        }
        let mut head = vec![0; prefix.len().saturating_add(length)];
        source.fill(0, &mut head)?;
        let title: Title = head
            .get(prefix.len()..)
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or(Fault::Damaged)?;
        if title.subject != about {
            return Err(Fault::Damaged);
        }
        let start = head.len() as u64;
        let sealed = source.size()?.saturating_sub(start);
        let seals = sealed.div_ceil(SEALED).saturating_mul(SEAL_BYTES as u64);
        let key = key
            .sheet(title.salt.as_bytes())
            .ok()
            .ok_or(Fault::Damaged)?;
        let mut sheet = Self {
            source,
            key,
            bound: subject(&[&head]),
            start,
            sealed,
            length: sealed.checked_sub(seals).ok_or(Fault::Damaged)?,
            kept: Mutex::default(),
        };
        let content = sheet
            .length
            .checked_sub(FOOT as u64)
            .ok_or(Fault::Damaged)?;
        let foot = sheet.read(content, FOOT)?;
        let stated = foot.strip_suffix(END).ok_or(Fault::Damaged)?;
        if stated != content.to_be_bytes() {
            return Err(Fault::Damaged);
        }
        sheet.length = content;
        Ok(sheet)
    }

    /// Bytes of content.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// So many bytes of the content.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, Fault> {
        let mut read = Vec::with_capacity(count);
        while read.len() < count {
            let at = offset.saturating_add(read.len() as u64);
            let block = self.block(at / PLAIN)?;
            let from = usize::try_from(at % PLAIN).unwrap_or(usize::MAX);
            let left = count.saturating_sub(read.len());
            let there = block.get(from..).unwrap_or_default();
            let there = there.get(..left).unwrap_or(there);
            if there.is_empty() {
                return Err(Fault::Damaged);
            }
            read.extend_from_slice(there);
        }
        Ok(read)
    }

    /// The content of a block.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn block(&self, number: u64) -> Result<Block, Fault> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| *known == number)
            && let Some((number, block)) = kept.remove(at)
        {
            kept.push_back((number, Arc::clone(&block)));
            return Ok(block);
        }
        let from = number.saturating_mul(SEALED);
        let size = self.sealed.saturating_sub(from).min(SEALED);
        let size = usize::try_from(size).ok().filter(|size| *size > SEAL_BYTES);
        let mut block = vec![0; size.ok_or(Fault::Damaged)?];
        self.source
            .fill(self.start.saturating_add(from), &mut block)?;
        self.key
            .open(number, self.bound, &mut block)
            .ok()
            .ok_or(Fault::Damaged)?;
        let block = Arc::new(block);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((number, Arc::clone(&block)));
        Ok(block)
    }
}

/// A number at a place in a row.
pub(super) fn number<const N: usize>(row: &[u8], at: usize) -> u64 {
    let end = at.saturating_add(N);
    let bytes = row.get(at..end).unwrap_or_default();
    bytes
        .iter()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Rows of the same size in a sheet, sorted by the term that each begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Where the first row is; on a multiple of the row's size.
    pub(super) from: u64,
    /// How many there are.
    pub(super) rows: u64,
    /// Bytes of a row.
    pub(super) width: usize,
}

impl Table {
    /// Where the table ends.
    pub(super) const fn end(self) -> u64 {
        self.from
            .saturating_add(self.rows.saturating_mul(self.width as u64))
    }

    /// A row.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn row(self, sheet: &Sheet, index: u64) -> Result<Vec<u8>, Fault> {
        let at = index.saturating_mul(self.width as u64);
        sheet.read(self.from.saturating_add(at), self.width)
    }

    /// The row of a term.
    ///
    /// Terms are hashes, spread evenly: the row stands about where the term stands among all that there could be.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn find(self, sheet: &Sheet, term: u64) -> Result<Option<Vec<u8>>, Fault> {
        let (mut low, mut high) = (0_u64, self.rows);
        let guess = (u128::from(term).saturating_mul(u128::from(self.rows))) >> 64;
        let guess = u64::try_from(guess).unwrap_or_default();
        // Rows from the guess to where it will be found: doubled each time, so that few blocks are opened.
        let quarter = BLOCK.checked_div(self.width.saturating_mul(4));
        let mut reach = quarter.unwrap_or(1) as u64;
        let mut probe = guess.min(self.rows.saturating_sub(1));
        while low < high {
            let row = self.row(sheet, probe)?;
            let found = number::<8>(&row, 0);
            if found == term {
                return Ok(Some(row));
            }
            if found < term {
                low = probe.saturating_add(1);
                probe = probe.saturating_add(reach);
            } else {
                high = probe;
                probe = probe.saturating_sub(reach);
            }
            if probe < low || probe >= high {
                probe = low.midpoint(high.saturating_sub(1).max(low));
            }
            reach = reach.saturating_mul(2);
        }
        Ok(None)
    }

    /// The terms of all rows, in order.
    pub(super) fn terms(self, sheet: &Sheet) -> impl Iterator<Item = Result<Vec<u8>, Fault>> {
        (0..self.rows).map(move |index| self.row(sheet, index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn about() -> Head {
        Head::from_bytes([7; 32])
    }

    #[test]
    fn a_sheet_reads_back_and_every_damage_is_noticed() {
        let key = DerivedKey::generate().unwrap();
        let content: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
        let bytes = seal(&key, about(), content.clone()).unwrap();
        let open = |bytes: Vec<u8>| Sheet::open(Source::Memory(bytes.into()), &key, about());
        let sheet = open(bytes.clone()).unwrap();
        assert_eq!(sheet.length(), 40_000);
        assert_eq!(sheet.read(0, 40_000).unwrap(), content);
        assert_eq!(sheet.read(16_300, 40).unwrap(), content[16_300..16_340]);
        assert!(sheet.read(39_990, 100).is_err());
        let other = Head::from_bytes([8; 32]);
        assert!(Sheet::open(Source::Memory(bytes.clone().into()), &key, other).is_err());
        let stranger = DerivedKey::generate().unwrap();
        assert!(Sheet::open(Source::Memory(bytes.clone().into()), &stranger, about()).is_err());
        for at in (0..bytes.len()).step_by(97) {
            let mut altered = bytes.clone();
            altered[at] ^= 0x10;
            let noticed = open(altered)
                .and_then(|sheet| sheet.read(0, 40_000))
                .is_err();
            assert!(noticed, "byte {at}");
        }
        for cut in [10, 300, BLOCK + 100, bytes.len() - 1, bytes.len() - 7700] {
            assert!(open(bytes[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn every_term_is_found_and_no_other(
            terms in prop::collection::btree_set(prop_oneof![any::<u64>(), 0_u64..50, (u64::MAX - 50)..], 0..3000),
            others in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let key = DerivedKey::generate().unwrap();
            let mut content = Vec::new();
            for term in &terms {
                content.extend_from_slice(&term.to_be_bytes());
                content.extend_from_slice(&[1, 2]);
            }
            let table = Table { from: 0, rows: terms.len() as u64, width: 10 };
            let bytes = seal(&key, about(), content).unwrap();
            let sheet = Sheet::open(Source::Memory(bytes.into()), &key, about()).unwrap();
            for term in terms.iter().chain(&others).chain(&[0, 1, u64::MAX]) {
                let found = table.find(&sheet, *term).unwrap().is_some();
                prop_assert_eq!(found, terms.contains(term));
            }
        }
    }
}
