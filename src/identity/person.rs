//! Who signed in: by the ID token, by UserInfo where that is asked, and with the groups that the token had no room for.

use std::sync::Arc;

use super::Identity;
use super::attempts::Attempt;
use super::callback::CallbackError;
use super::choose::is_foreign;
use super::oidc::claims::{ClaimsError, Expected, ExpectedId, Verified, validate_id_token};
use super::oidc::jws::Kind;
use super::oidc::person::Person;
use super::oidc::training::StatedTraining;
use super::oidc::{GroupsError, Metadata, Provider, Tokens, UserInfoError};
use crate::refusal::Refusal;
use crate::request::principal::{Proof, User};
use crate::secret::Secret;

/// Why it is not known who signed in, or what they may do.
#[derive(Debug, thiserror::Error)]
pub(super) enum PersonError {
    #[error("the claims are refused: {0}")]
    Claims(#[source] ClaimsError),
    #[error("UserInfo cannot be used: {0}")]
    UserInfo(#[source] UserInfoError),
    #[error("{0}")]
    Groups(#[source] GroupsError),
}

impl PersonError {
    pub(super) const fn refusal(&self) -> Refusal {
        match self {
            Self::Groups(_) => Refusal::GroupsUnreadable,
            Self::UserInfo(UserInfoError::Http(_)) => Refusal::ProviderUnavailable,
            Self::Claims(_)
            | Self::UserInfo(
                UserInfoError::NoEndpoint | UserInfoError::Malformed | UserInfoError::OtherSubject,
            ) => Refusal::LoginRefused,
        }
    }
}

impl Identity {
    /// Judges the ID token.
    pub(super) async fn verify(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        attempt: &Attempt,
        tokens: &Tokens,
    ) -> Result<Verified, CallbackError> {
        let (payload, algorithm) = provider
            .verified(tokens.id_token.expose(), Kind::Id)
            .await
            .map_err(CallbackError::Token)?;
        let now = self.clock().now();
        let settings = provider.settings();
        let expected = ExpectedId {
            token: Expected {
                issuer: metadata.issuer(),
                client_id: &settings.client_id,
                now,
                leeway: settings.clock_leeway,
            },
            nonce: &attempt.nonce,
            access_token: Some(tokens.access_token.expose()),
            algorithm,
            issuer: settings,
        };
        let verified = validate_id_token(&payload, &expected).map_err(CallbackError::Claims)?;
        // An ID token is made for the answer that brings it, so its age is the difference of the clocks.
        let skew = now.duration_since(verified.issued).as_secs_f64();
        metrics::gauge!("chartgate_issuer_clock_skew_seconds", "issuer" => settings.name.clone())
            .set(skew);
        Ok(verified)
    }

    /// Reads the person out of what the provider states, here and where it leads.
    pub(super) async fn person(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        verified: &Verified,
        access_token: &Secret<String>,
    ) -> Result<Person, PersonError> {
        let settings = provider.settings();
        let mut claims = verified.claims.clone();
        if settings.userinfo {
            claims = provider
                .with_userinfo(metadata, access_token, claims)
                .await
                .map_err(PersonError::UserInfo)?;
        }
        let person = Person::read(&claims, &settings.claims).map_err(PersonError::Claims)?;
        whole(&self.providers, provider, person, access_token).await
    }
}

/// The person with all of the groups, if there may be one of this name.
pub(super) async fn whole(
    providers: &[Arc<Provider>],
    provider: &Provider,
    person: Person,
    access_token: &Secret<String>,
) -> Result<Person, PersonError> {
    let settings = provider.settings();
    // SECURITY: the EMR knows people by name. With one that ends like another issuer's, they would pass for theirs.
    if is_foreign(providers, &person.name, &settings.name) {
        return Err(PersonError::Claims(ClaimsError::Name));
    }
    if person.training == StatedTraining::Unreadable {
        tracing::warn!(
            issuer = settings.name,
            "the training claim is no date: nothing is taken from it"
        );
    }
    if !person.roles_elsewhere {
        return Ok(person);
    }
    let groups = provider.groups(access_token).await;
    let result = if groups.is_ok() { "read" } else { "refused" };
    metrics::counter!("chartgate_issuer_groups_total", "issuer" => settings.name.clone(), "result" => result)
        .increment(1);
    Ok(person.with_values(groups.map_err(PersonError::Groups)?))
}

/// The user whom `issuer` vouches for.
pub(super) fn vouched(issuer: &str, person: &Person, proof: Proof) -> User {
    User {
        issuer: issuer.to_owned(),
        subject: person.subject.clone(),
        name: person.name.clone(),
        roles: std::collections::BTreeSet::new(),
        proof,
        department: person.department.clone(),
    }
}
