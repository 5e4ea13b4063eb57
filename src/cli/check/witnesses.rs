//! Whether the witnesses on the network answer, and what they say.

use crate::audit::log::SigningKey;
use crate::audit::witnesses;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::problem::Severity;
use crate::config::source::{Document, says};

/// Asks each for its newest checkpoint.
pub(super) fn check(document: &Document<'_>, config: &Config, clock: &SharedClock) {
    let audit = &config.audit;
    let named = audit.witnesses.iter().enumerate();
    let remote: Vec<_> = named
        .filter(|(_, witness)| witness.file().is_none())
        .collect();
    if remote.is_empty() {
        return;
    }
    let key = match SigningKey::read(&audit.signing_key) {
        Ok(key) => key,
        Err(error) => {
            let remedy = "name the file that `chartgate init` made";
            let said = says(error.to_string(), remedy);
            document.at(Severity::Error, "audit.signing_key", said);
            return;
        }
    };
    for (index, witness) in remote {
        let heard = witnesses::ask(std::slice::from_ref(witness), key.verifier(), clock);
        for reason in heard.silent {
            let message = format!("the witness cannot be used: {reason}");
            let remedy = "check its address, `ca` and credentials, and that this machine may reach it; `--offline` leaves this out";
            let name = format!("audit.witnesses[{index}]");
            document.at(Severity::Error, &name, says(message, remedy));
        }
    }
}
