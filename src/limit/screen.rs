//! The second stage: cheap checks per address, origin and browser, before any disk or crypto.
//!
//! *Owns*: the limiters keyed by client address.
//! *On failure*: 429 with the time to wait, `CG-1012` for a change that comes from another site, or
//! `CG-1020` for a browser that is too old.

use std::net::IpAddr;

use http::Method;

use super::browsers::{Browsers, Verdict};
use super::keyed::Keyed;
use crate::config::Limits;
use crate::refusal::Refusal;
use crate::request::credentials::{self, Presented};
use crate::request::received::Audience;
use crate::request::{Received, Refused};

/// A request that passed the limits of its address and is not a cross-site change.
#[derive(Debug)]
#[must_use]
pub struct Screened {
    received: Received,
}

impl Screened {
    /// The request.
    pub const fn received(&self) -> &Received {
        &self.received
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        &mut self.received
    }

    /// The request itself.
    pub fn into_received(self) -> Received {
        self.received
    }

    /// Ends the request here.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.received.refuse(refusal)
    }

    /// A screened request for unit tests of the next stage.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn for_test(received: Received) -> Self {
        Self { received }
    }
}

/// What a request is for, as far as screening cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Traffic to an EMR, or a page of the gateway.
    Ordinary,
    /// Starting or finishing a sign-in.
    SignIn,
    /// Signing out: always possible, whatever the browser.
    SignOut,
    /// A notice from the identity provider or a directory, which is a server and sends no `Origin`.
    ServerNotice,
    /// A notice from the identity provider through a browser: anybody can send it.
    BrowserNotice,
}

/// The limits per address.
#[derive(Debug)]
pub struct Screen {
    address: Keyed<IpAddr>,
    login: Keyed<IpAddr>,
    browsers: Option<Browsers>,
}

impl Screen {
    /// Screens by `limits`, and pages that people open by their `browsers`.
    #[must_use]
    pub fn new(limits: &Limits, browsers: Option<Browsers>) -> Self {
        Self {
            address: Keyed::new("address", limits.address, limits.max_keys),
            login: Keyed::new("login", limits.login_address, limits.max_keys),
            browsers,
        }
    }

    /// Screens a request.
    ///
    /// # Errors
    /// [`Refused`] when its address sent too much, when it is a change from another site, or when its browser is too
    /// old.
    pub fn screen(&self, mut received: Received, purpose: Purpose) -> Result<Screened, Refused> {
        let key = received.parts().client.limit_key();
        if let Err(throttle) = self.address.check(&key) {
            return Err(received.refuse(Refusal::AddressRate).throttled(throttle));
        }
        if matches!(purpose, Purpose::SignIn | Purpose::BrowserNotice)
            && let Err(throttle) = self.login.check(&key)
        {
            return Err(received.refuse(Refusal::LoginRate).throttled(throttle));
        }
        if purpose != Purpose::ServerNotice
            && changes_something(&received)
            && !is_same_origin(&received)
            && !(purpose == Purpose::Ordinary && is_of_a_program(&received))
        {
            return Err(received.refuse(Refusal::CrossSite));
        }
        if let Some(browsers) = self.judges(&received, purpose) {
            match browsers.judge(&received.parts().headers) {
                Verdict::Accepted => {}
                Verdict::Warned(notice) => received.tell(notice),
                Verdict::Refused(notice) => {
                    return Err(received.refuse(Refusal::BrowserRefused).telling(notice));
                }
            }
        }
        Ok(Screened { received })
    }

    /// The minimum versions, where there are any.
    #[must_use]
    pub const fn browsers(&self) -> Option<&Browsers> {
        self.browsers.as_ref()
    }

    /// Judged are the pages that people open; what these load comes from the same browser.
    fn judges(&self, received: &Received, purpose: Purpose) -> Option<&Browsers> {
        let parts = received.parts();
        let judged = match purpose {
            Purpose::Ordinary | Purpose::SignIn => {
                Audience::of(&parts.method, &parts.headers) == Audience::Navigation
            }
            Purpose::SignOut | Purpose::ServerNotice | Purpose::BrowserNotice => false,
        };
        self.browsers.as_ref().filter(|_| judged)
    }

    /// Forgets addresses that are back at their full burst.
    pub fn sweep(&self) {
        self.address.sweep();
        self.login.sweep();
    }
}

fn changes_something(received: &Received) -> bool {
    let parts = received.parts();
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
    !safe || parts.upgrade_to.is_some()
}

/// Whether nothing but a program can have sent it: with a token or a certificate, no cookie of the gateway, and nothing
/// that a browser says of itself.
///
/// SECURITY: the only thing that a browser adds by itself here is a client certificate; and it states the origin of
/// every change, which is judged then.
fn is_of_a_program(received: &Received) -> bool {
    let parts = received.parts();
    let states_origin = parts.headers.contains_key(http::header::ORIGIN)
        || parts
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"));
    let has_credential = parts.connection.certificate.is_some()
        || match credentials::presented(&parts.headers) {
            Presented::Bearer(_) | Presented::Malformed | Presented::Proof => true,
            Presented::Nothing | Presented::Other => false,
        };
    has_credential && !states_origin && !credentials::has_gateway_cookie(&parts.headers)
}

/// SECURITY: cross-site request forgery and cross-site WebSocket hijacking; most EMRs have no defence of their own.
/// A browser states the origin on every such request; what states nothing is not a browser and has no session to
/// lose, so it is refused.
fn is_same_origin(received: &Received) -> bool {
    let parts = received.parts();
    let origins: Vec<_> = parts.headers.get_all(http::header::ORIGIN).iter().collect();
    let sites: Vec<_> = parts.headers.get_all("sec-fetch-site").iter().collect();
    let origin_matches = match origins.as_slice() {
        [] => None,
        [origin] => Some(
            origin
                .to_str()
                .ok()
                .and_then(|origin| origin.strip_prefix("https://"))
                .is_some_and(|authority| authority.eq_ignore_ascii_case(&parts.authority)),
        ),
        _ => Some(false),
    };
    let site_matches = match sites.as_slice() {
        [] => None,
        [site] => Some(matches!(site.as_bytes(), b"same-origin" | b"none")),
        _ => Some(false),
    };
    match (origin_matches, site_matches) {
        (None, None) => false,
        (origin, site) => origin.unwrap_or(true) && site.unwrap_or(true),
    }
}
