//! Who used which permission, and when last: what a review of permissions holds against what is permitted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Permissions;
use crate::audit::entry::{Entry, Phase};
use crate::audit::log::RealFiles;
use crate::audit::show::{Filter, Show, ShowError};
use crate::audit::trail::AuditError;
use crate::request::facts::Verdict;
use crate::request::{Action, Event};

/// Records that one step reads, so that it does not hold a thread for long.
const STEP: usize = 4_096;

/// A user as the trail saw them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The name.
    pub name: String,
    /// The roles that they had when they were last seen.
    pub roles: BTreeSet<String>,
    /// When that was.
    pub last: Timestamp,
}

/// How a permission was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// When last.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl Use {
    fn add(&mut self, at: Timestamp) {
        self.last = self.last.max(at);
        self.count = self.count.saturating_add(1);
    }
}

/// A permission: an action on a section.
pub(super) type Permission = (Action, String);

/// All use of permissions within a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The users, by id.
    pub users: BTreeMap<String, Seen>,
    /// By user and permission.
    pub by_user: BTreeMap<(String, Permission), Use>,
    /// By role and permission: of anyone who had the role then.
    pub by_role: BTreeMap<(String, Permission), Use>,
}

/// A part of [`Usage`], as it goes over the operators' socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UsageLine {
    /// A user.
    User {
        /// The id.
        id: String,
        /// What was seen.
        seen: Seen,
    },
    /// Use by a user.
    ByUser {
        /// The user's id.
        user: String,
        /// What was done.
        permission: Permission,
        /// How often, when last.
        used: Use,
    },
    /// Use by anyone with a role.
    ByRole {
        /// The role.
        role: String,
        /// What was done.
        permission: Permission,
        /// How often, when last.
        used: Use,
    },
}

impl Usage {
    /// Takes an entry of the trail into account.
    pub fn note(&mut self, entry: &Entry) {
        let Some((facts, principal)) = entry
            .facts
            .as_ref()
            .and_then(|facts| Some((facts, facts.principal.as_ref()?)))
        else {
            return;
        };
        let at = entry.time;
        let id = principal.id();
        let seen = Seen {
            name: principal.display().to_owned(),
            roles: principal.roles().iter().map(ToString::to_string).collect(),
            last: at,
        };
        let roles = seen.roles.clone();
        let newest = self.users.get(&id).is_none_or(|known| known.last <= at);
        if newest {
            self.users.insert(id.clone(), seen);
        }
        let permitted = facts
            .decision
            .as_ref()
            .is_some_and(|decision| decision.verdict == Verdict::Allow);
        let Some(mapping) = facts
            .mapping
            .as_ref()
            .filter(|_| permitted && entry.phase == Phase::Admit)
        else {
            return;
        };
        let permission = (mapping.action, mapping.section.clone());
        let fresh = Use { last: at, count: 0 };
        for role in roles {
            let key = (role, permission.clone());
            self.by_role.entry(key).or_insert(fresh).add(at);
        }
        self.by_user
            .entry((id, permission))
            .or_insert(fresh)
            .add(at);
    }

    /// Its parts.
    pub fn lines(self) -> impl Iterator<Item = UsageLine> {
        let users = self
            .users
            .into_iter()
            .map(|(id, seen)| UsageLine::User { id, seen });
        let by_user = self.by_user.into_iter();
        let by_user = by_user.map(|((user, permission), used)| UsageLine::ByUser {
            user,
            permission,
            used,
        });
        let by_role = self.by_role.into_iter();
        let by_role = by_role.map(|((role, permission), used)| UsageLine::ByRole {
            role,
            permission,
            used,
        });
        users.chain(by_user).chain(by_role)
    }

    /// Puts a part where it belongs.
    pub fn add(&mut self, line: UsageLine) {
        match line {
            UsageLine::User { id, seen } => {
                self.users.insert(id, seen);
            }
            UsageLine::ByUser {
                user,
                permission,
                used,
            } => {
                self.by_user.insert((user, permission), used);
            }
            UsageLine::ByRole {
                role,
                permission,
                used,
            } => {
                self.by_role.insert((role, permission), used);
            }
        }
    }
}

/// Why the use of permissions is not known.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The reading could not be put on record.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The trail could not be read.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// The work was cut off.
    #[error("the reading was cut off: {0}")]
    Cut(String),
}

impl Permissions {
    /// Reads from the trail who used what, once the reading is on record.
    ///
    /// # Errors
    /// Where the reading cannot go on record, or the trail cannot be read.
    pub async fn usage(
        &self,
        operator: &str,
        since: Option<Timestamp>,
    ) -> Result<Usage, UsageError> {
        let grounds = &self.shared.grounds;
        let mut detail = BTreeMap::from([
            ("operator".to_owned(), operator.to_owned()),
            ("purpose".to_owned(), "permission review".to_owned()),
        ]);
        if let Some(since) = since {
            detail.insert("since".to_owned(), since.to_string());
        }
        grounds.audit.event(Event::AuditRead, None, detail).await?;
        let filter = Filter {
            since,
            ..Filter::default()
        };
        let mut show = Show::new(
            Arc::new(RealFiles),
            &grounds.trail,
            Arc::clone(&grounds.master),
            filter,
            grounds.audit.log().status().sequence,
        );
        let mut usage = Usage::default();
        loop {
            let step = tokio::task::spawn_blocking(move || {
                for _ in 0..STEP {
                    match show.next_match() {
                        Ok(Some(shown)) => usage.note(&shown.entry),
                        Ok(None) => return Ok((show, usage, true)),
                        Err(error) => return Err(error),
                    }
                }
                Ok((show, usage, false))
            });
            let done;
            (show, usage, done) = step
                .await
                .map_err(|error| UsageError::Cut(error.to_string()))??;
            if done {
                return Ok(usage);
            }
        }
    }
}
