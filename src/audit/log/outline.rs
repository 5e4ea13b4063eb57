//! What one segment file holds, without the rest of its log: for copies of it.

use std::io;

use super::files::ReadAt;
use super::walk::{Outline, Step, Walk, WalkError};

/// Goes over a whole segment; nothing of it is decrypted, and little of it is in memory at once.
///
/// # Errors
/// The source's own, and `InvalidData` where the header is not whole.
pub fn outline(source: &dyn ReadAt) -> io::Result<Outline> {
    let mut walk = Walk::begin(source).map_err(|error| match error {
        WalkError::Io(error) => error,
        WalkError::Header(error) => io::Error::new(io::ErrorKind::InvalidData, error),
    })?;
    let flaw = loop {
        match walk.step()? {
            Step::Record { .. } | Step::Sealed => {}
            Step::End => break None,
            Step::Broken(flaw) => break Some(flaw),
        }
    };
    Ok(Outline {
        records: walk.next.saturating_sub(walk.header.first),
        head: walk.head,
        end: walk.offset,
        seal: walk.sealed.take(),
        flaw,
        header: walk.header,
    })
}
