//! The EMRs behind the gateway, found by host.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;

use super::bindings::{Bindings, CookieKey};
use super::cookies::Presented;
use super::inspection::Inspection;
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
    edition: Arc<str>,
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

    /// The policy bundle that the profile was read with, by its digest: what it means and who may do it go together.
    #[must_use]
    pub fn edition(&self) -> &str {
        &self.edition
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

/// The profiles of all configured EMRs, in the order of the configuration, as one policy bundle has them.
#[derive(Debug)]
pub struct Profiles {
    edition: Arc<str>,
    list: Vec<Profile>,
}

impl Profiles {
    /// Reads the profiles of all configured EMRs. `known` gives the text of those that are part of the bundle
    /// `edition`, which has been read already; the others are read from disk.
    ///
    /// # Errors
    /// Every problem of every profile.
    pub fn read<'t>(
        configured: &[config::Emr],
        edition: &str,
        known: impl Fn(&Path) -> Option<&'t str>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut list = Vec::new();
        for emr in configured {
            let read = known(&emr.profile).map_or_else(
                || Profile::read(&emr.profile),
                |text| Profile::parse(text, &emr.profile.display().to_string()),
            );
            match read {
                Ok(profile) => list.push(profile),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            let edition = Arc::from(edition);
            Ok(Self { edition, list })
        } else {
            Err(problems)
        }
    }
}

/// All EMRs.
#[derive(Debug)]
pub struct Emrs {
    // Swapped as a whole when another bundle is put in force.
    list: ArcSwap<Vec<Arc<Emr>>>,
    hosts: HashMap<String, usize>,
    pub(super) bindings: Arc<Bindings>,
    pub(super) clock: SharedClock,
    pub(super) body_timeout: Duration,
    pub(super) selection_wait: Duration,
    pub(super) inspection: Inspection,
}

impl Emrs {
    /// The configured EMRs with their profiles.
    #[must_use]
    pub fn with_profiles(
        configured: &[config::Emr],
        profiles: Profiles,
        body_timeout: Duration,
        bindings: Arc<Bindings>,
        clock: SharedClock,
    ) -> Self {
        let emrs = configured
            .iter()
            .zip(profiles.list)
            .map(|(emr, profile)| (emr.name.clone(), emr.hosts.clone(), profile))
            .collect();
        Self::of(emrs, &profiles.edition, body_timeout, bindings, clock)
    }

    /// Puts other profiles in force, as a whole. Requests that are mapped already go on as they were mapped.
    pub fn replace(&self, profiles: Profiles) {
        let before = self.list.load();
        let list = before
            .iter()
            .zip(profiles.list)
            .map(|(emr, profile)| {
                profile.continue_counts(&emr.profile);
                Arc::new(Emr {
                    index: emr.index,
                    name: emr.name.clone(),
                    profile,
                    edition: Arc::clone(&profiles.edition),
                })
            })
            .collect();
        self.list.store(Arc::new(list));
    }

    /// The EMRs with these names, hosts and profiles, in the order of the configuration.
    #[must_use]
    pub fn new(
        emrs: Vec<(String, Vec<String>, Profile)>,
        body_timeout: Duration,
        bindings: Arc<Bindings>,
        clock: SharedClock,
    ) -> Self {
        Self::of(emrs, &Arc::from(""), body_timeout, bindings, clock)
    }

    fn of(
        emrs: Vec<(String, Vec<String>, Profile)>,
        edition: &Arc<str>,
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
                    edition: Arc::clone(edition),
                })
            })
            .collect();
        Self {
            list: ArcSwap::from_pointee(list),
            hosts,
            bindings,
            clock,
            body_timeout,
            selection_wait: SELECTION_WAIT,
            inspection: Inspection::default(),
        }
    }

    /// Inspects the values of requests with these bounds, and by these modes where profiles do not say.
    #[must_use]
    pub fn inspecting(self, settings: config::inspection::Inspection) -> Self {
        Self {
            inspection: Inspection::new(settings),
            ..self
        }
    }

    /// How long a body may take where its route does not say.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        self.body_timeout
    }

    /// How often values were found that look like an attack: requests refused, and findings that passed.
    #[must_use]
    pub fn inspection_counts(&self) -> (u64, u64) {
        self.inspection.counts()
    }

    /// All EMRs, as they are now.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<Arc<Emr>>> {
        self.list.load_full()
    }

    /// Index of the EMR that is served under `host` (lower case, no port).
    #[must_use]
    pub fn by_host(&self, host: &str) -> Option<usize> {
        self.hosts.get(host).copied()
    }

    /// The EMR at an index of the configuration.
    #[must_use]
    pub fn emr(&self, index: usize) -> Option<Arc<Emr>> {
        self.list.load().get(index).cloned()
    }

    /// `Set-Cookie` values that remove the EMR's sessions from the browser: at sign-out, and with `CG-2008`, so
    /// that the next person at a shared workstation does not present the session of the one before for ever.
    #[must_use]
    pub fn removals(&self, host: &str) -> Vec<HeaderValue> {
        let emr = self.by_host(host).and_then(|index| self.emr(index));
        let names = emr.iter().flat_map(|emr| emr.profile.session_cookies());
        names.filter_map(|name| removal(name)).collect()
    }
}
