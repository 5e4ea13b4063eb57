//! What operators do about second factors: see them, invite, reset, unlock. Each is put on record by who calls this.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{ACCOUNT, Account, decode, invitation_key};
use super::codes::{Code, Fingerprint, Good};
use super::judged::word;
use crate::identity::Identity;
use crate::identity::token::NoRandomness;
use crate::secret::Secret;
use crate::store::{Store, StoreError, Table};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// It is not configured.
    #[error("there is no second factor of the gateway's own: add [identity.second_factor]")]
    Off,
    /// Nobody of that name has one.
    #[error(
        "nobody called `{0}` has enrolled or tried a second factor; `chartgate factor list` names who has"
    )]
    Unknown(String),
    /// Several users have that name.
    #[error(
        "several users are called `{0}`; name one by the stable id, as `chartgate factor list` shows it"
    )]
    Ambiguous(String),
    /// There is nothing to be invited to.
    #[error(
        "`{0}` has an authenticator already; further ones are added on /.chartgate/second-factor/manage, and `chartgate factor reset` removes them all"
    )]
    Enrolled(String),
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// Randomness.
    #[error("{0}")]
    Randomness(#[from] NoRandomness),
}

/// An account, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorView {
    /// The stable id, `issuer|sub`.
    pub user: String,
    /// The name.
    pub name: String,
    /// What is enrolled.
    pub authenticators: Vec<AuthenticatorView>,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Wrong tries since the last success or lock.
    pub failures: u32,
    /// Until when nothing is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
}

/// An authenticator, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthenticatorView {
    /// Its id.
    pub id: String,
    /// `passkey` or `totp`.
    pub method: String,
    /// What the user calls it.
    pub name: String,
    /// When it was enrolled.
    pub added: Timestamp,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// Since when it is not accepted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Timestamp>,
}

/// An enrolment code, readable this once.
#[derive(Debug)]
pub struct Invited {
    /// The code.
    pub code: Secret<String>,
    /// Until when it is good.
    pub until: Timestamp,
}

/// What is kept of an enrolment code.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Invitation {
    pub(super) code: Fingerprint,
}

impl Invitation {
    pub(super) async fn find(store: &Store, user: &str) -> Result<Option<Self>, StoreError> {
        let entry = store.get(Table::Factors, &invitation_key(user)).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok()))
    }

    /// Takes it out, once.
    pub(super) async fn take(store: &Store, user: &str) -> Result<Option<Self>, StoreError> {
        let entry = store.take(Table::Factors, &invitation_key(user)).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(entry.value.expose()).ok()))
    }
}

impl Identity {
    /// The accounts with second factors; of one user, by stable id or name, or of all.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn factors(&self, user: Option<&str>) -> Result<Vec<FactorView>, OperatorError> {
        let own = self.own_factor.as_ref().ok_or(OperatorError::Off)?;
        let now = self.clock().now();
        let mut views = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = own.accounts.store().scan(Table::Factors, after.as_deref());
            let page = page.await?;
            for (key, entry) in page.entries {
                if !key.starts_with(ACCOUNT) {
                    continue;
                }
                let Some(account) = decode(entry.value.expose()) else {
                    tracing::error!("a stored second factor cannot be read");
                    continue;
                };
                if user.is_none_or(|user| account.id == user || account.name == user) {
                    views.push(view(account, now));
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(views);
            }
        }
    }

    /// The one account of this user, by stable id or name.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn factors_of(&self, user: &str) -> Result<FactorView, OperatorError> {
        let mut found = self.factors(Some(user)).await?;
        if let Some(exact) = found.iter().position(|view| view.user == user) {
            return Ok(found.swap_remove(exact));
        }
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(OperatorError::Ambiguous(user.to_owned())),
            (None, _) => Err(OperatorError::Unknown(user.to_owned())),
        }
    }

    /// Removes everything of an account: authenticators, recovery codes, count. What was just proven with it counts no
    /// more.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn reset_factors(&self, id: &str) -> Result<(), OperatorError> {
        let own = self.own_factor.as_ref().ok_or(OperatorError::Off)?;
        let held = own.accounts.hold(id).await?;
        own.accounts.delete(id).await?;
        drop(held);
        Ok(())
    }

    /// Ends the lock of an account, and its count.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn unlock_factors(&self, id: &str) -> Result<(), OperatorError> {
        let own = self.own_factor.as_ref().ok_or(OperatorError::Off)?;
        let held = own.accounts.hold(id).await?;
        if let Some(mut account) = own.accounts.load(id).await? {
            account.succeed();
            own.accounts.save(&account).await?;
        }
        drop(held);
        Ok(())
    }

    /// Whether this user, by stable id or name, may be invited.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn may_be_invited(&self, user: &str) -> Result<(), OperatorError> {
        let known = self.factors(Some(user)).await?;
        if known.iter().any(|view| !view.authenticators.is_empty()) {
            return Err(OperatorError::Enrolled(user.to_owned()));
        }
        Ok(())
    }

    /// Makes an enrolment code for a user, by stable id or name; one that was made before is void.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn invite_to_factor(&self, user: &str) -> Result<Invited, OperatorError> {
        let own = self.own_factor.as_ref().ok_or(OperatorError::Off)?;
        let code = Code::generate()?;
        let now = self.clock().now();
        let until = now.saturating_add(own.settings.invitation).unwrap_or(now);
        let invitation = Invitation {
            code: code.fingerprint(Good::Enrolment, user),
        };
        let key = invitation_key(user);
        let store = own.accounts.store();
        store.keep(Table::Factors, &key, &invitation, until).await?;
        Ok(Invited {
            code: Secret::new(code.show()),
            until,
        })
    }
}

fn view(account: Account, now: Timestamp) -> FactorView {
    let locked_until = account.locked(now);
    let authenticators = account.authenticators.into_iter();
    FactorView {
        authenticators: authenticators
            .map(|one| AuthenticatorView {
                method: word(one.method()).to_owned(),
                id: one.id,
                name: one.name,
                added: one.added,
                last_used: one.last_used,
                suspended: one.suspended,
            })
            .collect(),
        user: account.id,
        name: account.name,
        recovery_codes: account.recovery.len(),
        failures: account.failures,
        locked_until,
    }
}
