//! The container of a bundle: a tar archive (POSIX ustar) of plain files, in one spelling only.
//!
//! *Never*: two byte strings for the same files. What is read is written again and compared, so that no byte of an
//! archive can be changed without being noticed, not even one that tar itself would ignore.

/// Bytes of a block.
const BLOCK: usize = 512;
/// Most files of a bundle.
const MOST_FILES: usize = 2_000;
/// Longest name of a file.
const LONGEST_NAME: usize = 100;

/// A file of an archive.
pub(super) type File = (String, Vec<u8>);

/// Why bytes are not an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the archive is not one that this program wrote, or was altered, at byte {0}")]
pub struct Altered(pub usize);

/// Writes an archive.
pub(super) fn write(files: &[File]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        archive.extend_from_slice(&head(name, bytes.len()));
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks end an archive.
    archive.resize(archive.len().saturating_add(BLOCK * 2), 0);
    archive
}

/// Reads an archive.
///
/// # Errors
/// [`Altered`], with the first byte that is not as [`write`] writes it.
pub(super) fn read(archive: &[u8]) -> Result<Vec<File>, Altered> {
    let mut files: Vec<File> = Vec::new();
    let mut at = 0_usize;
    loop {
        let block = part(archive, at, BLOCK)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        if files.len() >= MOST_FILES {
            return Err(Altered(at));
        }
        let name = block.get(..LONGEST_NAME).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).ok().ok_or(Altered(at))?;
        let size = block.get(124..135).unwrap_or_default();
        let size = std::str::from_utf8(size)
            .ok()
            .and_then(|octal| usize::from_str_radix(octal, 8).ok())
            .ok_or(Altered(at.saturating_add(124)))?;
        at = at.saturating_add(BLOCK);
        let bytes = part(archive, at, size)?;
        files.push((name.to_owned(), bytes.to_vec()));
        at = at.saturating_add(size).next_multiple_of(BLOCK);
    }
    let again = write(&files);
    if again == archive {
        return Ok(files);
    }
    let same = again
        .iter()
        .zip(archive)
        .take_while(|(a, b)| a == b)
        .count();
    Err(Altered(same))
}

fn part(archive: &[u8], at: usize, count: usize) -> Result<&[u8], Altered> {
    let end = at.checked_add(count).ok_or(Altered(at))?;
    archive.get(at..end).ok_or(Altered(archive.len()))
}

/// The header block of a file: mode 0600, nobody's, without a time.
fn head(name: &str, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *place = byte;
        }
    };
    put(0, name.get(..LONGEST_NAME).unwrap_or(name));
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (place, byte) in block.iter_mut().skip(148).zip(sum.bytes()) {
        *place = byte;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<File> {
        vec![
            ("manifest.json".to_owned(), b"{}".to_vec()),
            ("empty".to_owned(), Vec::new()),
            ("block".to_owned(), vec![b'x'; BLOCK]),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_known_to_tar() {
        let archive = write(&files());
        assert_eq!(read(&archive).unwrap(), files());
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("bundle.tar");
        std::fs::write(&path, &archive).unwrap();
        let listed = std::process::Command::new("tar")
            .arg("tf")
            .arg(&path)
            .output()
            .unwrap();
        let names = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(names, "manifest.json\nempty\nblock\n");
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_byte_more_is_noticed() {
        let archive = write(&files());
        let whole = read(&archive).unwrap();
        for at in 0..archive.len() {
            for bit in 0..8 {
                let mut altered = archive.clone();
                altered[at] ^= 1 << bit;
                // The bytes of the files themselves are the manifest's to vouch for.
                assert_ne!(read(&altered).ok().as_ref(), Some(&whole), "byte {at}");
            }
        }
        for length in 0..archive.len() {
            assert!(read(&archive[..length]).is_err(), "cut at {length}");
        }
        let mut longer = archive;
        longer.push(0);
        assert!(read(&longer).is_err());
    }
}
