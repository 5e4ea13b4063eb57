//! Why a request failed.

use super::client::{DEADLINE, MAX_ANSWER};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file of trusted certificates.
    #[error("the CA file {path}: {problem}")]
    Ca {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate to show.
    #[error("the client certificate {path}: {problem}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// The URL.
    #[error("`{0}` is no address to send a request to")]
    Address(String),
    /// Plain HTTP to another machine.
    #[error("plain HTTP is only spoken to this machine, not to `{0}`")]
    Plain(String),
    /// It took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    /// A download took too long.
    #[error("no whole answer within {0} s")]
    Slow(u64),
    /// A download is too long, or broke off.
    #[error("the answer could not be read, or is longer than {most} bytes")]
    Download {
        /// Most bytes.
        most: usize,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection.
    #[error("the server cannot be reached: {0}")]
    Connect(#[source] std::io::Error),
    /// No HTTP.
    #[error("the server did not speak HTTP: {}", reasons(.0))]
    Protocol(#[source] hyper::Error),
    /// No answer to who showed a certificate: with TLS 1.3, a server that does not take it says so only now.
    #[error("the server ended the connection, perhaps for the client certificate {path}: {}", reasons(.source))]
    Certified {
        /// The file.
        path: String,
        /// How it ended.
        source: hyper::Error,
    },
    /// The body of the answer.
    #[error("the answer could not be read, or is longer than {MAX_ANSWER} bytes")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A status that is an error.
    #[error("the server answered with status {0}")]
    Status(u16),
}

/// An error with what is behind it: hyper's own text says that, not why.
fn reasons(error: &hyper::Error) -> String {
    let mut said = error.to_string();
    let mut behind = std::error::Error::source(error);
    while let Some(reason) = behind {
        said.push_str(": ");
        said.push_str(&reason.to_string());
        behind = reason.source();
    }
    said
}
