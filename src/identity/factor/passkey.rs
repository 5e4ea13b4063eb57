//! Passkeys (`WebAuthn` level 3), each bound to one domain and used with user verification.

use webauthn_rs::prelude::{
    AuthenticationResult, CreationChallengeResponse, CredentialID, Passkey, PasskeyAuthentication,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    RequestChallengeResponse, Url, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use super::account::{Account, Authenticator, Kind};
use crate::config::second_factor::SecondFactor;

/// The site as authenticators know it.
#[derive(Debug)]
pub(super) struct Site {
    webauthn: Webauthn,
    rp_id: String,
}

/// What an assertion came to.
#[derive(Debug)]
pub(super) enum Asserted {
    Accepted(AuthenticationResult),
    /// Its signature is good, but it counted no further than before: there may be a copy (§6.1.1).
    CountsBackwards(CredentialID),
    Refused(String),
}

impl Site {
    /// The site that the browser is on, at `https://authority`; `host` is the authority without port.
    pub(super) fn of(
        settings: &SecondFactor,
        host: &str,
        authority: &str,
    ) -> Result<Self, WebauthnError> {
        let rp_id = settings.rp_id.clone().unwrap_or_else(|| host.to_owned());
        let origin = format!("https://{authority}");
        let origin = Url::parse(&origin).map_err(|_error| WebauthnError::Configuration)?;
        // Exactly this origin: neither its subdomains nor its other ports.
        let webauthn = WebauthnBuilder::new(&rp_id, &origin)?
            .rp_name(&settings.rp_name)
            .build()?;
        Ok(Self { webauthn, rp_id })
    }

    pub(super) fn rp_id(&self) -> &str {
        &self.rp_id
    }

    /// Asks for a new passkey of an account, on none of the authenticators that have one.
    pub(super) fn register(
        &self,
        (handle, name): (Uuid, &str),
        account: Option<&Account>,
    ) -> Result<(CreationChallengeResponse, PasskeyRegistration), WebauthnError> {
        let known = account.map_or_else(Vec::new, |account| {
            let known = account.authenticators.iter();
            known
                .filter_map(|one| credential(one, &self.rp_id))
                .collect()
        });
        let exclude = known.into_iter().map(|passkey| passkey.cred_id().clone());
        let exclude = exclude.collect::<Vec<_>>();
        self.webauthn
            .start_passkey_registration(handle, name, name, Some(exclude))
    }

    /// Judges what an authenticator answered to that.
    pub(super) fn registered(
        &self,
        answer: &str,
        state: &PasskeyRegistration,
    ) -> Result<Passkey, String> {
        let answer: RegisterPublicKeyCredential =
            serde_json::from_str(answer).ok().ok_or("malformed")?;
        self.webauthn
            .finish_passkey_registration(&answer, state)
            .map_err(|error| error.to_string())
    }

    /// The passkeys of an account that can be used here.
    pub(super) fn usable(&self, account: &Account, settings: &SecondFactor) -> Vec<Passkey> {
        let counting = account.authenticators.iter();
        counting
            .filter(|one| one.counts(settings))
            .filter_map(|one| credential(one, &self.rp_id))
            .cloned()
            .collect()
    }

    /// Asks for the use of one of these passkeys.
    pub(super) fn authenticate(
        &self,
        passkeys: &[Passkey],
    ) -> Result<(RequestChallengeResponse, PasskeyAuthentication), WebauthnError> {
        self.webauthn.start_passkey_authentication(passkeys)
    }

    /// Judges what an authenticator answered to that.
    pub(super) fn asserted(&self, answer: &str, state: &PasskeyAuthentication) -> Asserted {
        let answer: PublicKeyCredential = match serde_json::from_str(answer) {
            Ok(answer) => answer,
            // What the parser says may repeat what was sent.
            Err(_unreadable) => return Asserted::Refused("malformed".to_owned()),
        };
        match self.webauthn.finish_passkey_authentication(&answer, state) {
            Ok(result) if result.user_verified() => Asserted::Accepted(result),
            Ok(_) => Asserted::Refused("the user was not verified".to_owned()),
            // Judged last of all: the signature was good.
            Err(WebauthnError::CredentialPossibleCompromise) => {
                Asserted::CountsBackwards(answer.raw_id)
            }
            Err(error) => Asserted::Refused(error.to_string()),
        }
    }
}

fn credential<'a>(one: &'a Authenticator, site: &str) -> Option<&'a Passkey> {
    match &one.kind {
        Kind::Passkey {
            rp_id, credential, ..
        } if rp_id == site => Some(credential),
        Kind::Passkey { .. } | Kind::Totp { .. } => None,
    }
}

/// How a passkey was used, in the words of RFC 8176; `phr` (phishing-resistant) is the word of OpenID's EAP and Entra.
pub(super) fn methods(result: &AuthenticationResult) -> [&'static str; 4] {
    // A passkey that is synchronised between devices is a key in software, wherever it is used.
    let key = if result.backup_eligible() {
        "swk"
    } else {
        "hwk"
    };
    [key, "user", "mfa", "phr"]
}
