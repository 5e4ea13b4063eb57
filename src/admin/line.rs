//! Lines of bounded length over a byte stream.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Reads up to a line break, which is not part of the line; `None` at the end of the stream.
///
/// # Errors
/// `InvalidData` for a line longer than `limit`, `UnexpectedEof` for one that breaks off.
pub(super) async fn read(
    reader: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return if line.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let (taken, done) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end, true),
            None => (buffer.len(), false),
        };
        if line.len().saturating_add(taken) > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the line is too long",
            ));
        }
        line.extend(buffer.iter().take(taken));
        reader.consume(taken.saturating_add(usize::from(done)));
        if done {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_whole() {
        let mut reader = BufReader::with_capacity(4, b"one\n\nlonger\nbroken".as_slice());
        assert_eq!(read(&mut reader, 6).await.unwrap().unwrap(), b"one");
        assert_eq!(read(&mut reader, 6).await.unwrap().unwrap(), b"");
        assert_eq!(read(&mut reader, 6).await.unwrap().unwrap(), b"longer");
        assert_eq!(
            read(&mut reader, 6).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let mut reader = BufReader::with_capacity(4, b"1234567\n".as_slice());
        assert_eq!(
            read(&mut reader, 6).await.unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let mut reader = BufReader::new(b"".as_slice());
        assert!(read(&mut reader, 6).await.unwrap().is_none());
    }
}
