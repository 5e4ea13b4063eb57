//! Who signed in: by the ID token, by UserInfo where that is asked, and with the groups that the token had no room for.

use super::Identity;
use super::oidc::claims::{ClaimsError, Verified};
use super::oidc::person::Person;
use super::oidc::{GroupsError, Metadata, Provider, UserInfoError};
use crate::refusal::Refusal;
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
        // SECURITY: the EMR knows people by name. With one that ends like another issuer's, they would pass for theirs.
        if self.is_foreign(&person.name, &settings.name) {
            return Err(PersonError::Claims(ClaimsError::Name));
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
}
