//! Messages as syslog over TLS.
//!
//! No receiver acknowledges: that a message was written says that this machine's kernel took it. The kernel gives a peer
//! up that does not acknowledge for 30 seconds, so what was written longer ago over a connection that still stands has
//! arrived at the other machine.

use std::time::Duration;

use super::channel::{SendError, Taken};
use crate::audit::export::Format;
use crate::audit::export::message::Message;
use crate::config::syslog::SyslogServer;
use crate::outbound::syslog::{Link, SyslogClient, SyslogError};

/// What was written within this may be lost with the connection, and is written again.
pub(super) const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct SyslogChannel {
    client: SyslogClient,
    format: Format,
    /// Whether something was written since the position was known to be relied on.
    written: bool,
}

impl SyslogChannel {
    pub(super) fn new(server: &SyslogServer, format: Format) -> Result<Self, SyslogError> {
        Ok(Self {
            client: SyslogClient::new(server)?,
            format,
            written: false,
        })
    }

    pub(super) async fn send(&mut self, messages: &[Message]) -> Result<Taken, SendError> {
        let link = self.client.ready().await?;
        if link == Link::New && std::mem::take(&mut self.written) {
            return Ok(Taken::Lost);
        }
        let lines: Vec<String> = messages.iter().map(|m| m.line(self.format)).collect();
        self.written = true;
        self.client.send(&lines).await?;
        Ok(Taken::All)
    }

    pub(super) fn stands(&mut self) -> bool {
        !self.written || self.client.is_connected() || !std::mem::take(&mut self.written)
    }

    pub(super) async fn close(&mut self) -> bool {
        // A connection that broke and was not made again says nothing of what was written to it.
        let connected = self.client.is_connected();
        let closed = self.client.close().await;
        !self.written || (connected && closed.is_ok())
    }
}
