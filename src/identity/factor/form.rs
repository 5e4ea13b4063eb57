//! What is sent to the second factor: the address of a flow, and one form for each step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::FactorError;
use crate::identity::token::Token;
use crate::request::{Received, Target};

/// The largest form: an authenticator's answer with a certificate chain has room.
const LARGEST: u64 = 32 * 1024;
/// A form must have arrived within this.
const DEADLINE: Duration = Duration::from_secs(20);
/// The longest name of an authenticator, in characters.
const LONGEST_NAME: usize = 40;

/// One step, as it was sent.
#[derive(Debug)]
pub(super) enum Step {
    Passkey {
        ceremony: Token,
        answer: String,
    },
    Totp {
        code: String,
    },
    Recovery {
        code: String,
    },
    Invitation {
        code: String,
    },
    EnrolPasskey {
        ceremony: Token,
        answer: String,
        name: String,
    },
    EnrolTotp {
        ceremony: Token,
        code: String,
        name: String,
    },
    Remove {
        authenticator: String,
    },
    Renew,
}

/// The flow that an address names, and whether it asks to add an authenticator.
pub(super) fn asked(target: &Target) -> Result<(Option<Token>, bool), FactorError> {
    let fields = unique(target.fields())?;
    let flow = fields.get("flow").map(|flow| {
        // What is no token names no flow.
        Token::parse(flow.as_bytes()).ok_or(FactorError::Unknown)
    });
    let adds = fields.get("add").is_some_and(|value| value == "1");
    Ok((flow.transpose()?, adds))
}

/// The flow and the step of a form.
pub(super) async fn sent(received: &mut Received) -> Result<(Token, Step), FactorError> {
    let body = received.body_mut().read(LARGEST, DEADLINE).await;
    let body = body.map_err(FactorError::Form)?;
    let mut fields = unique(form_urlencoded::parse(&body).into_owned())?;
    let mut take = |name: &str| fields.remove(name).ok_or(FactorError::Malformed);
    let flow = token(&take("flow")?)?;
    let step = match take("do")?.as_str() {
        "passkey" => Step::Passkey {
            ceremony: token(&take("ceremony")?)?,
            answer: take("credential")?,
        },
        "totp" => Step::Totp {
            code: take("code")?,
        },
        "recovery" => Step::Recovery {
            code: take("code")?,
        },
        "invitation" => Step::Invitation {
            code: take("code")?,
        },
        "enrol-passkey" => Step::EnrolPasskey {
            ceremony: token(&take("ceremony")?)?,
            answer: take("credential")?,
            name: label(&take("name")?, "Passkey"),
        },
        "enrol-totp" => Step::EnrolTotp {
            ceremony: token(&take("ceremony")?)?,
            code: take("code")?,
            name: label(&take("name")?, "Authenticator app"),
        },
        "remove" => Step::Remove {
            authenticator: take("authenticator")?,
        },
        "renew" => Step::Renew,
        _other => return Err(FactorError::Malformed),
    };
    Ok((flow, step))
}

fn token(spelled: &str) -> Result<Token, FactorError> {
    Token::parse(spelled.as_bytes()).ok_or(FactorError::Unknown)
}

/// SECURITY: with two of a field, which one counts would be whoever reads them's choice.
fn unique(
    fields: impl Iterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, FactorError> {
    let mut unique = BTreeMap::new();
    for (name, value) in fields {
        if unique.insert(name, value).is_some() {
            return Err(FactorError::Twice);
        }
    }
    Ok(unique)
}

/// A name as it goes on record: letters, digits and a few signs, nothing that hides or turns round what follows.
fn label(typed: &str, otherwise: &str) -> String {
    let kept = typed
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_.,()'#/&+".contains(*c));
    let name: String = kept.take(LONGEST_NAME).collect();
    match name.trim() {
        "" => otherwise.to_owned(),
        name => name.to_owned(),
    }
}
