//! The ways to a receiver, and what came of a batch.

use std::time::Duration;

use super::https::HttpsChannel;
use super::otlp::OtlpChannel;
use super::room::ShipError;
use super::syslog::SyslogChannel;
use crate::audit::export::Format;
use crate::audit::export::message::Message;
use crate::config::sink::{Sink, SinkFormat, SinkTarget};
use crate::outbound::HttpError;
use crate::outbound::syslog::SyslogError;

/// Longest that a receiver's wish to be left alone is heeded.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The receiver has it, or it was written where nobody acknowledges.
    All,
    /// The receiver has it, but for these, by their places, each with a status.
    But(Vec<(usize, u16)>),
    /// The receiver has it, but for so many of them, and does not say which (an OTLP partial success).
    Part {
        /// How many.
        rejected: u64,
        /// What it said.
        said: String,
    },
    /// Nothing was sent: what was written before may be lost, and comes first.
    Lost,
}

/// Why a batch did not get there.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Syslog(#[from] SyslogError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the receiver answered with status {status}")]
    Status {
        status: u16,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
        /// Its words, for the trail alone: they may repeat what was sent.
        said: String,
    },
    #[error("the receiver refuses everything that there is to send")]
    Everything,
    #[error("the receiver refused everything so far")]
    NothingYet,
}

impl SendError {
    /// An answer with this status.
    pub(super) const fn status(status: u16) -> Self {
        Self::Status {
            status,
            wait: None,
            said: String::new(),
        }
    }

    /// How long the receiver wants to be left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => wait.map(|wait| wait.min(LONGEST_WAIT)),
            Self::Syslog(_) | Self::Http(_) | Self::Everything | Self::NothingYet => None,
        }
    }
}

/// A way.
#[derive(Debug)]
pub(super) enum Channel {
    Syslog(Box<SyslogChannel>),
    Otlp(Box<OtlpChannel>),
    Https(Box<HttpsChannel>),
}

impl Channel {
    pub(super) fn new(sink: &Sink) -> Result<Self, ShipError> {
        let format = format(sink);
        Ok(match &sink.target {
            SinkTarget::Syslog(server) => {
                Self::Syslog(Box::new(SyslogChannel::new(server, format)?))
            }
            SinkTarget::Otlp(receiver) => Self::Otlp(Box::new(OtlpChannel::new(receiver, format)?)),
            SinkTarget::Https(receiver) => {
                Self::Https(Box::new(HttpsChannel::new(receiver, format)?))
            }
        })
    }

    /// Sends messages, in their order, all at once.
    pub(super) async fn send(&mut self, messages: &[Message]) -> Result<Taken, SendError> {
        match self {
            Self::Syslog(channel) => channel.send(messages).await,
            Self::Otlp(channel) => channel.send(messages).await,
            Self::Https(channel) => channel.send(messages).await,
        }
    }

    /// Whether what was written last may still arrive; `false` once for each connection that did not last.
    pub(super) fn stands(&mut self) -> bool {
        match self {
            Self::Syslog(channel) => channel.stands(),
            Self::Otlp(_) | Self::Https(_) => true,
        }
    }

    /// Ends in good order; whether the receiver has everything that was sent.
    pub(super) async fn close(&mut self) -> bool {
        match self {
            Self::Syslog(channel) => channel.close().await,
            Self::Otlp(_) | Self::Https(_) => true,
        }
    }

    /// For how long what was sent may still be lost.
    pub(super) const fn window(&self) -> Duration {
        match self {
            Self::Syslog(_) => super::syslog::WINDOW,
            Self::Otlp(_) | Self::Https(_) => Duration::ZERO,
        }
    }
}

/// What the sink's records become.
pub(super) const fn format(sink: &Sink) -> Format {
    match sink.format {
        SinkFormat::Atna => Format::Atna,
        SinkFormat::Cef => Format::Cef,
        SinkFormat::Ocsf => Format::Ocsf,
        SinkFormat::Fhir => Format::Fhir,
        SinkFormat::Jsonl => Format::Jsonl,
    }
}
