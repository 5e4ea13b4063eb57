//! The sessions there are, for operators and for the rooms that end them.
//!
//! *Never*: a token. A session is named by its fingerprint, which is on every record.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::ending::Cause;
use super::identify::Identified;
use super::session::Live;
use crate::request::{Notice, Principal, Workplace};
use crate::store::StoreError;

/// A session as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its fingerprint, as on record.
    pub id: String,
    /// The user's stable id.
    pub user: String,
    /// The user's name.
    pub name: String,
    /// When it was opened, or last confirmed by a step-up.
    pub created: Timestamp,
    /// When it was last used, as far as the store knows: up to a minute late.
    pub last_active: Timestamp,
    /// When it ends at the latest.
    pub ends: Timestamp,
    /// The user's roles, as the mapping gives them now.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// The client's address when it was opened.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The client's address when it was last used.
    #[serde(default)]
    pub last_address: Option<IpAddr>,
    /// The client's device when it was opened, in fixed words.
    #[serde(default)]
    pub device: String,
    /// The EMRs that it was used for.
    #[serde(default)]
    pub emrs: BTreeSet<String>,
    /// Whether it is at a workstation that several people use.
    #[serde(default)]
    pub shared: bool,
}

/// Which sessions are meant: those that everything holds for that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Criteria {
    /// Of this user: stable id, or name.
    pub user: Option<String>,
    /// Of users with this role now.
    pub role: Option<String>,
    /// Opened or last used from this network.
    pub address: Option<IpNet>,
    /// Used for this EMR.
    pub emr: Option<String>,
}

impl Criteria {
    /// Whether nothing is said, so that every session is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a session is meant.
    #[must_use]
    pub fn mean(&self, session: &SessionView) -> bool {
        let from = |network: &IpNet| {
            let addresses = [session.address, session.last_address];
            let mut known = addresses.iter().flatten();
            known.any(|address| network.contains(&address.to_canonical()))
        };
        self.user.as_ref().is_none_or(|user| session.is_of(user))
            && self
                .role
                .as_ref()
                .is_none_or(|role| session.roles.contains(role))
            && self
                .emr
                .as_ref()
                .is_none_or(|emr| session.emrs.contains(emr))
            && self.address.as_ref().is_none_or(from)
    }
}

impl fmt::Display for Criteria {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.map(|address| address.to_string());
        let said = [
            ("user", &self.user),
            ("role", &self.role),
            ("address", &address),
            ("emr", &self.emr),
        ];
        let said = said
            .into_iter()
            .filter_map(|(what, text)| Some((what, text.as_ref()?)));
        let words: Vec<String> = said.map(|(what, text)| format!("{what}={text}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl SessionView {
    fn of(live: &Live, principal: &Principal, place: Workplace) -> Self {
        let used = live.usage().told();
        Self {
            id: live.id().to_string(),
            user: live.user().id(),
            name: live.user().name.clone(),
            created: live.created(),
            last_active: live.last_active(),
            ends: live.ends(),
            roles: principal.roles().iter().map(ToString::to_string).collect(),
            address: live.origin().address,
            last_address: used.address.or(live.origin().address),
            device: live.origin().device.to_string(),
            emrs: used.emrs,
            shared: place == Workplace::Shared,
        }
    }

    /// Whether it is `user`'s: by stable id, or by name.
    #[must_use]
    pub fn is_of(&self, user: &str) -> bool {
        self.user == user || self.name == user
    }
}

impl Identity {
    fn view_of(&self, live: &Live) -> SessionView {
        let place = self.sessions().workplaces().of(live);
        SessionView::of(live, &self.principal_of(live), place)
    }

    /// The open sessions of one user, by stable id: those that are kept of them, newest last.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sessions_of(&self, user: &str) -> Result<Vec<SessionView>, StoreError> {
        let kept = self.visits.sessions_of(user).await?;
        let keys = kept.iter().map(|kept| kept.key.as_str());
        let open = self.sessions().open_among(keys).await?;
        let own = open.iter().filter(|live| live.user().id() == user);
        Ok(own.map(|live| self.view_of(live)).collect())
    }

    /// Ends sessions of one user, by stable id, that are `meant`; says how many.
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it; sessions may then be left over.
    pub async fn end_sessions_of(
        &self,
        user: &str,
        meant: impl Fn(&SessionView) -> bool,
    ) -> Result<usize, StoreError> {
        let kept = self.visits.sessions_of(user).await?;
        let keys = kept.iter().map(|kept| kept.key.as_str());
        let mut ended = 0_usize;
        for live in self.sessions().open_among(keys).await? {
            if live.user().id() == user && meant(&self.view_of(&live)) {
                self.sessions().end(&live, Cause::Revoked).await?;
                ended = ended.saturating_add(1);
            }
        }
        Ok(ended)
    }

    /// What the user of an open session was told, or can be told, of the sign-in before it.
    #[must_use]
    pub fn welcome_of(&self, visitor: &Identified) -> Option<Notice> {
        let welcome = visitor.live()?.origin().welcome.as_ref()?;
        Some(welcome.notice())
    }

    /// The sessions that are open and `wanted`, at most `most`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sessions_where(
        &self,
        most: usize,
        wanted: impl Fn(&SessionView) -> bool,
    ) -> Result<Vec<SessionView>, StoreError> {
        self.sessions()
            .views(most, |live| {
                let view = self.view_of(live);
                wanted(&view).then_some(view)
            })
            .await
    }

    /// Ends the sessions that are `meant`, everywhere; live streams end with them. Says which they were.
    ///
    /// # Errors
    /// [`StoreError`] when the store did not confirm it; sessions may then be left over.
    pub async fn end_sessions(
        &self,
        meant: impl Fn(&SessionView) -> bool,
    ) -> Result<Vec<SessionView>, StoreError> {
        let ended = self
            .sessions()
            .end_all(|live| meant(&self.view_of(live)), Cause::Revoked)
            .await?;
        Ok(ended.iter().map(|live| self.view_of(live)).collect())
    }
}
