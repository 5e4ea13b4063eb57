//! The EMRs behind the gateway, found by host.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::bindings::{Bindings, CookieKey};
use super::cookies::Presented;
use super::profile::{Problem, Profile};
use super::set_cookie::removal;
use crate::clock::SharedClock;
use crate::config;

/// How long a selection waits for the requests that depend on the one before.
const SELECTION_WAIT: Duration = Duration::from_secs(5);

/// One EMR, as the stages see it.
#[derive(Debug)]
pub struct Emr {
    index: usize,
    name: String,
    profile: Profile,
}

impl Emr {
    /// Its index in the configuration.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its requests mean.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The session cookies of a request with their fingerprints.
    pub(super) fn keys<'a>(
        &'a self,
        presented: &'a Presented,
    ) -> impl Iterator<Item = (&'a str, CookieKey)> {
        presented
            .sessions(self.profile.session_cookies())
            .map(|(cookie, value)| (cookie, CookieKey::of(&self.name, cookie, value)))
    }
}

/// All EMRs.
#[derive(Debug)]
pub struct Emrs {
    list: Vec<Arc<Emr>>,
    hosts: HashMap<String, usize>,
    pub(super) bindings: Arc<Bindings>,
    pub(super) clock: SharedClock,
    pub(super) body_timeout: Duration,
    pub(super) selection_wait: Duration,
}

impl Emrs {
    /// Reads the profiles of all configured EMRs.
    ///
    /// # Errors
    /// Every problem of every profile.
    pub fn load(
        configured: &[config::Emr],
        body_timeout: Duration,
        bindings: Arc<Bindings>,
        clock: SharedClock,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = Vec::new();
        for emr in configured {
            match Profile::read(&emr.profile) {
                Ok(profile) => read.push((emr.name.clone(), emr.hosts.clone(), profile)),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(Self::new(read, body_timeout, bindings, clock))
        } else {
            Err(problems)
        }
    }

    /// The EMRs with these names, hosts and profiles, in the order of the configuration.
    #[must_use]
    pub fn new(
        emrs: Vec<(String, Vec<String>, Profile)>,
        body_timeout: Duration,
        bindings: Arc<Bindings>,
        clock: SharedClock,
    ) -> Self {
        let mut hosts = HashMap::new();
        let list = emrs
            .into_iter()
            .enumerate()
            .map(|(index, (name, names, profile))| {
                for host in names {
                    hosts.entry(host.to_ascii_lowercase()).or_insert(index);
                }
                Arc::new(Emr {
                    index,
                    name,
                    profile,
                })
            })
            .collect();
        Self {
            list,
            hosts,
            bindings,
            clock,
            body_timeout,
            selection_wait: SELECTION_WAIT,
        }
    }

    /// Index of the EMR that is served under `host` (lower case, no port).
    #[must_use]
    pub fn by_host(&self, host: &str) -> Option<usize> {
        self.hosts.get(host).copied()
    }

    /// The EMR at an index of the configuration.
    #[must_use]
    pub fn emr(&self, index: usize) -> Option<&Arc<Emr>> {
        self.list.get(index)
    }

    /// `Set-Cookie` values that remove the EMR's sessions from the browser: at sign-out, and with `CG-2008`, so
    /// that the next person at a shared workstation does not present the session of the one before for ever.
    #[must_use]
    pub fn removals(&self, host: &str) -> Vec<HeaderValue> {
        let emr = self.by_host(host).and_then(|index| self.emr(index));
        let names = emr.map_or(&[][..], |emr| emr.profile.session_cookies());
        names.iter().filter_map(|name| removal(name)).collect()
    }
}
