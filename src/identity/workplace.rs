//! Which clients work at a workstation that several people use, and what follows for their sessions.
//!
//! SECURITY: a session that was opened at a shared workstation, or was used at one last, counts as one there: a
//! client that wanders between networks never gets the longer limit of the two.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Identity;
use super::session::Live;
use super::visits::WELCOME;
use crate::config;
use crate::config::sessions::{NameBar, SignInNotice};
use crate::request::received::{Audience, Parts};
use crate::request::{Notice, Received, Workplace};

/// The networks of shared workstations, and the limits of sessions there and elsewhere.
#[derive(Debug)]
pub(super) struct Workplaces {
    shared: Vec<IpNet>,
    name_bar: NameBar,
    notice: SignInNotice,
    idle: Duration,
    idle_shared: Duration,
}

impl Workplaces {
    pub(super) fn new(config: &config::Identity) -> Self {
        let workstations = &config.sessions.workstations;
        Self {
            shared: workstations.shared.clone(),
            name_bar: workstations.name_bar,
            notice: config.sessions.sign_in_notice,
            idle: config.idle_timeout,
            idle_shared: workstations.idle_timeout.unwrap_or(config.idle_timeout),
        }
    }

    /// What kind of place an address is.
    pub(super) fn at(&self, address: IpAddr) -> Workplace {
        // INVARIANT: an IPv4 address has one spelling, so that `::ffff:10.0.0.1` cannot leave its network.
        let address = address.to_canonical();
        if self.shared.iter().any(|network| network.contains(&address)) {
            Workplace::Shared
        } else {
            Workplace::Personal
        }
    }

    /// What kind of place a session is at.
    pub(super) fn of(&self, live: &Live) -> Workplace {
        if self.shared.is_empty() {
            return Workplace::Personal;
        }
        let places = [live.origin().address, live.usage().address()];
        let shared = places
            .into_iter()
            .flatten()
            .any(|address| self.at(address) == Workplace::Shared);
        if shared {
            Workplace::Shared
        } else {
            Workplace::Personal
        }
    }

    /// How long a session may be without activity.
    pub(super) fn idle_timeout(&self, live: &Live) -> Duration {
        match self.of(live) {
            Workplace::Personal => self.idle,
            Workplace::Shared => self.idle_shared,
        }
    }
}

impl Identity {
    /// What kind of place a client works at.
    #[must_use]
    pub fn workplace(&self, parts: &Parts) -> Workplace {
        self.sessions().workplaces().at(parts.client.ip())
    }

    /// Notes what the reader of a page has to be told about their session.
    pub(super) fn tell_of_session(&self, received: &mut Received, live: &Live, at: Workplace) {
        let workplaces = self.sessions().workplaces();
        let bar = at == Workplace::Shared && workplaces.name_bar == NameBar::On;
        let welcome = live
            .origin()
            .welcome
            .as_ref()
            .filter(|welcome| workplaces.notice == SignInNotice::On && !welcome.is_old);
        if !bar && welcome.is_none() {
            return;
        }
        let parts = received.parts();
        if Audience::of(&parts.method, &parts.headers) != Audience::Navigation {
            return;
        }
        if bar {
            let name = Arc::from(live.user().name.as_str());
            received.tell(Notice::SharedWorkstation { name });
        }
        let age = self.clock().now().duration_since(live.created());
        if let Some(welcome) = welcome.filter(|_| age < WELCOME) {
            received.tell(welcome.notice());
        }
    }
}
