//! Syslog: messages as RFC 5424 forms them, and their way to a receiver over TLS (RFC 5425).
//!
//! *Never*: over a connection that is not protected; to a receiver whose certificate is not for the configured host.
//! *On failure*: the connection is given up; what was written to it may be lost, because no receiver acknowledges.

mod client;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use client::{Link, SyslogClient, SyslogError};

/// Most bytes of a message. RFC 5425 (4.3.1) lets receivers stop at 8192; audit messages are longer (ITI TF-2, 3.20).
pub const MAX_MESSAGE: usize = 64 * 1024;

/// How serious a message is (RFC 5424, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Action must be taken now.
    Alert = 1,
    /// Critical conditions.
    Critical = 2,
    /// Errors.
    Error = 3,
    /// Warnings.
    Warning = 4,
    /// Normal, and significant.
    Notice = 5,
    /// Normal.
    Informational = 6,
}

impl Severity {
    /// PRIVAL: facility 10, "security/authorization messages", as audit messages have it.
    const fn prival(self) -> u8 {
        const FACILITY: u8 = 10 << 3;
        FACILITY | self as u8
    }
}

/// Who writes messages: the part of the header that is the same in all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    host: String,
    app: String,
    process: String,
}

impl Origin {
    /// What a header cannot hold (anything but printable US-ASCII, or beyond the field's length) is left out.
    #[must_use]
    pub fn new(host: &str, app: &str, process: u32) -> Self {
        Self {
            host: printable(host, 255),
            app: printable(app, 48),
            process: process.to_string(),
        }
    }

    /// This process on this node.
    #[must_use]
    pub fn of_node(node: &str) -> Self {
        Self::new(node, "chartgate", std::process::id())
    }

    /// A message as RFC 5424 forms it: one line where `text` has no line breaks. UTF-8 without a byte order mark, as
    /// ITI TF-2 3.20 wants it.
    ///
    /// # Errors
    /// [`SyslogError::TooLong`] beyond [`MAX_MESSAGE`]; it is never cut.
    pub fn message(
        &self,
        severity: Severity,
        time: Timestamp,
        id: &str,
        text: &str,
    ) -> Result<String, SyslogError> {
        let line = format!(
            "<{}>1 {} {} {} {} {} - {text}",
            severity.prival(),
            time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"),
            self.host,
            self.app,
            self.process,
            printable(id, 32),
        );
        if line.len() > MAX_MESSAGE {
            return Err(SyslogError::TooLong(line.len()));
        }
        Ok(line)
    }
}

/// PRINTUSASCII of at most so many characters; NILVALUE where nothing is left.
fn printable(text: &str, most: usize) -> String {
    let kept: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(most)
        .collect();
    if kept.is_empty() {
        "-".to_owned()
    } else {
        kept
    }
}

/// A message in its frame: `MSG-LEN SP SYSLOG-MSG`, the length in octets (RFC 5425, 4.3).
#[must_use]
pub fn framed(message: &str) -> Vec<u8> {
    let mut frame = message.len().to_string().into_bytes();
    frame.push(b' ');
    frame.extend_from_slice(message.as_bytes());
    frame
}
