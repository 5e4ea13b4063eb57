//! Whether the trail would get to its sinks.

use std::time::Duration;

use super::fetch::{self, Trust};
use crate::config::problem::Severity;
use crate::config::sink::{Sink, SinkTarget};
use crate::config::source::{Document, says};
use crate::ship;

/// A check waits this long for a sink.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connects to each: nothing of the trail is sent.
pub(super) async fn check(document: &Document<'_>, sinks: &[Sink]) {
    for (index, sink) in sinks.iter().enumerate() {
        let tried = tokio::time::timeout(PATIENCE, Box::pin(reach(sink))).await;
        let late = || Err(format!("no answer within {} seconds", PATIENCE.as_secs()));
        let Err(reason) = tried.unwrap_or_else(|_elapsed| late()) else {
            continue;
        };
        let key = match &sink.target {
            SinkTarget::Syslog(_) => "syslog",
            SinkTarget::Otlp(_) => "otlp",
            SinkTarget::Https(_) => "https",
        };
        let message = format!("the sink `{}` cannot be used: {reason}", sink.name);
        let remedy = "check address, `ca`, `certificate` and `token_file`, and that this machine may reach it; until then the records wait. `--offline` leaves this out";
        // The trail waits: nobody has to be kept from working.
        let key = format!("audit.sink[{index}].{key}");
        document.at(Severity::Warning, &key, says(message, remedy));
    }
}

async fn reach(sink: &Sink) -> Result<(), String> {
    if let SinkTarget::Https(receiver) = &sink.target {
        let trust = Trust {
            ca: receiver.ca.as_deref(),
            client: receiver.certificate.as_ref(),
        };
        fetch::connect(&receiver.url, trust).await?;
    }
    ship::probe(sink).await
}
