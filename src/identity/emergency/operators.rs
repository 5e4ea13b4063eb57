//! What operators do about sealed accounts: see them, seal them, remove them. Each is put on record by who calls this.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Account, Halves, is_name};
use crate::config::emergency::ISSUER;
use crate::identity::Identity;
use crate::identity::factor::codes::Code;
use crate::identity::token::NoRandomness;
use crate::request::Role;
use crate::secret::Secret;
use crate::store::StoreError;

/// Most sealed accounts.
const MOST: usize = 100;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// It is not configured.
    #[error("there are no sealed accounts: add [identity.emergency]")]
    Off,
    /// The name is not one.
    #[error("`{0}` is no name of a sealed account: 1 to 32 lower-case letters, digits and hyphens")]
    Name(String),
    /// There is none of that name.
    #[error("there is no sealed account `{0}`; `chartgate emergency-account list` names them")]
    Unknown(String),
    /// Its groups give no role.
    #[error(
        "no grant of roles.toml gives a role for {0} of the issuer `emergency`; the account would open nothing"
    )]
    NoRole(String),
    /// There are too many.
    #[error("there are {MOST} sealed accounts already; remove one first")]
    Full,
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// Randomness.
    #[error("{0}")]
    Randomness(#[from] NoRandomness),
}

/// How a sealed account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In order.
    Sealed,
    /// It was used to sign in. It has to be sealed anew.
    Used,
    /// It was never tested, or too long ago.
    TestDue,
}

impl State {
    /// In a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Used => "used: seal it anew",
            Self::TestDue => "test is due",
        }
    }
}

/// A sealed account, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyView {
    /// Its name.
    pub name: String,
    /// Where its envelopes lie.
    pub place: String,
    /// The values of the role claim that it has.
    pub groups: Vec<String>,
    /// The roles that they give now.
    pub roles: Vec<Role>,
    /// How it stands.
    pub state: State,
    /// When it was sealed, and by whom.
    pub sealed: Timestamp,
    /// The operator.
    pub by: String,
    /// When its envelopes were first used to sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
    /// When it was last tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Timestamp>,
    /// When the next test is due.
    pub test_due: Timestamp,
}

/// What goes into the envelopes, readable this once.
#[derive(Debug)]
pub struct Envelopes {
    /// The first.
    pub first: Secret<String>,
    /// The second.
    pub second: Secret<String>,
}

impl Identity {
    /// The sealed accounts, by name.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn emergency_accounts(&self) -> Result<Vec<EmergencyView>, OperatorError> {
        let settings = self.emergency.as_ref().ok_or(OperatorError::Off)?;
        let now = self.clock().now();
        let accounts = Account::all(&self.store).await?;
        let views = accounts.into_iter().map(|account| {
            let since = account.tested.unwrap_or(account.sealed);
            let test_due = since
                .saturating_add(settings.test_every)
                .unwrap_or(Timestamp::MAX);
            let state = if account.used.is_some() {
                State::Used
            } else if account.tested.is_none() || test_due <= now {
                State::TestDue
            } else {
                State::Sealed
            };
            EmergencyView {
                roles: self.mapped_roles(&account.groups),
                state,
                test_due,
                name: account.name,
                place: account.place,
                groups: account.groups,
                sealed: account.sealed,
                by: account.by,
                used: account.used,
                tested: account.tested,
            }
        });
        Ok(views.collect())
    }

    fn mapped_roles(&self, groups: &[String]) -> Vec<Role> {
        let mapped = self.roles.roles(ISSUER, groups, self.clock().now());
        mapped.roles.into_iter().collect()
    }

    /// Whether an account like this can be sealed.
    ///
    /// # Errors
    /// [`OperatorError`] says why not.
    pub async fn may_be_sealed(&self, name: &str, groups: &[String]) -> Result<(), OperatorError> {
        let known = self.emergency_accounts().await?;
        if !is_name(name) {
            return Err(OperatorError::Name(name.to_owned()));
        }
        if self.mapped_roles(groups).is_empty() {
            return Err(OperatorError::NoRole(groups.join(", ")));
        }
        if known.len() >= MOST && !known.iter().any(|view| view.name == name) {
            return Err(OperatorError::Full);
        }
        Ok(())
    }

    /// Seals an account, or seals it anew: what its envelopes held before is void.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn seal_emergency_account(
        &self,
        (name, place, groups): (&str, &str, &[String]),
        operator: &str,
    ) -> Result<Envelopes, OperatorError> {
        self.may_be_sealed(name, groups).await?;
        let halves = Halves {
            first: Code::generate()?,
            second: Code::generate()?,
        };
        let now = self.clock().now();
        let account = Account::seal((name, place, groups), &halves, (operator, now));
        account.keep(&self.store).await?;
        Ok(Envelopes {
            first: Secret::new(halves.first.show()),
            second: Secret::new(halves.second.show()),
        })
    }

    /// Removes a sealed account.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn remove_emergency_account(&self, name: &str) -> Result<(), OperatorError> {
        Ok(Account::remove(&self.store, name).await?)
    }

    /// The sealed account of this name.
    ///
    /// # Errors
    /// [`OperatorError`] when there is none.
    pub async fn emergency_account(&self, name: &str) -> Result<EmergencyView, OperatorError> {
        let known = self.emergency_accounts().await?;
        let found = known.into_iter().find(|view| view.name == name);
        found.ok_or_else(|| OperatorError::Unknown(name.to_owned()))
    }
}
