//! What operators see of a running gateway: its log on standard error, and its metrics.
//!
//! *Never*: secrets or patient data; those belong on the trail or nowhere.

pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] ParseError),
    /// The process has a log already.
    #[error("the log is open already: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The process has metrics already.
    #[error("metrics are kept already: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Opens the log of this process, once.
///
/// # Errors
/// [`TelemetryError`], where the filter is wrong or a log is open already.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
    }
    .map_err(TelemetryError::Log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_refused() {
        let log = Log {
            filter: "chartgate=loud".to_owned(),
            format: LogFormat::Json,
        };
        assert!(matches!(init(&log), Err(TelemetryError::Filter(_))));
    }
}
