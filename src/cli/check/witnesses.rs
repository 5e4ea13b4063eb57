//! Whether the witnesses on the network answer, and what they say.

use crate::audit::log::{CosignerKey, KeyError, SigningKey};
use crate::audit::witnesses;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::problem::Severity;
use crate::config::source::{Document, says};
use crate::config::witness::Witness;

/// That the keys by which witnesses cosign are such keys.
pub(super) fn cosigners(document: &Document<'_>, config: &Config) {
    for (index, witness) in config.audit.witnesses.iter().enumerate() {
        if let Err(error) = cosigner(witness) {
            let remedy =
                "name the public key that `chartgate witness keygen` made on the witness's side";
            let name = format!("audit.witnesses[{index}].cosigner");
            document.at(Severity::Error, &name, says(error.to_string(), remedy));
        }
    }
}

fn cosigner(witness: &Witness) -> Result<(), KeyError> {
    let key = match witness {
        Witness::Https(endpoint) => endpoint.cosigner.as_deref(),
        Witness::File(_) | Witness::Syslog(_) | Witness::S3(_) => None,
    };
    key.map(CosignerKey::read).transpose().map(|_key| ())
}

/// Asks each for its newest checkpoint.
pub(super) fn check(document: &Document<'_>, config: &Config, clock: &SharedClock) {
    let audit = &config.audit;
    let named = audit.witnesses.iter().enumerate();
    let remote: Vec<_> = named
        // Of one that cannot be used for its key that has been said.
        .filter(|(_, witness)| witness.file().is_none() && cosigner(witness).is_ok())
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
