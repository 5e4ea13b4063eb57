//! A witness that is a syslog receiver: each note is a message of RFC 5424, MSGID `checkpoint`, the note in base64.
//!
//! *Never*: over a connection without TLS. *On failure*: the connection is made anew, and certificates are read anew.
//! A receiver confirms nothing and cannot be asked: what it holds is what it wrote down.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::wire::Wire;
use crate::audit::log::{Checkpoint, VerifierKey, Witness, WitnessError};
use crate::clock::SharedClock;
use crate::config::syslog::SyslogServer;
use crate::outbound::syslog::{Origin, Severity, SyslogClient};

/// By which a receiver tells these messages from others.
const MESSAGE: &str = "checkpoint";

#[derive(Debug)]
pub(super) struct SyslogWitness {
    server: SyslogServer,
    name: String,
    origin: Origin,
    key: VerifierKey,
    clock: SharedClock,
    client: Option<SyslogClient>,
    /// The newest that was sent by this run.
    sent: Option<u64>,
    wire: Wire,
}

fn other(error: impl std::fmt::Display) -> WitnessError {
    WitnessError::Other(error.to_string())
}

impl SyslogWitness {
    pub(super) fn new(
        server: &SyslogServer,
        name: String,
        node: &str,
        key: VerifierKey,
        clock: SharedClock,
    ) -> Self {
        Self {
            server: server.clone(),
            name,
            origin: Origin::of_node(node),
            key,
            clock,
            client: None,
            sent: None,
            wire: Wire::default(),
        }
    }
}

impl Witness for SyslogWitness {
    fn name(&self) -> &str {
        &self.name
    }

    fn publish(&mut self, note: &str) -> Result<(), WitnessError> {
        let opened = Checkpoint::open(note, &self.key);
        let offered = opened
            .map_err(|source| WitnessError::Note {
                place: self.name.clone(),
                source,
            })?
            .sequence;
        if let Some(held) = self.sent.filter(|sent| *sent > offered) {
            return Err(WitnessError::GoesBack { held, offered });
        }
        let (now, text) = (self.clock.now(), BASE64.encode(note));
        let message = self
            .origin
            .message(Severity::Informational, now, MESSAGE, &text)
            .map_err(other)?;
        let client = self.client.take();
        let server = &self.server;
        let client = self.wire.run(async {
            let mut client = match client {
                Some(client) => client,
                None => SyslogClient::new(server).map_err(other)?,
            };
            client.deliver(&[message]).await.map_err(other)?;
            Ok(client)
        })?;
        self.client = Some(client);
        self.sent = Some(offered);
        Ok(())
    }

    fn newest(&mut self) -> Result<Option<String>, WitnessError> {
        Ok(None)
    }

    fn is_asked(&self) -> bool {
        false
    }
}
