//! An EMR profile: vendor knowledge, written once, shared between hospitals.
//!
//! A profile is a TOML file, version 1. Routes are tried in order and the first match wins; what matches none is
//! the action `Unmapped`. See `policies/emr/sample-clinic.toml` for the format by example.
//!
//! *Never*: a hospital's decision. A profile says what a request means, policy says who may make it.
//! *On failure*: every [`Problem`] of the file at once.

mod bypath;
mod compare;
mod disclosure;
mod head;
mod headers;
mod held;
mod parse;
mod patch;
mod problem;
mod raw;
mod report;
mod route;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::Method;

pub use bypath::ByPath;
pub use compare::RouteChange;
pub(super) use disclosure::Told;
pub use headers::{Frames, PageHeaders, Sniffing, names_directive};
pub use held::{HeldPost, KeepAlive};
pub use patch::Patch;
pub use problem::Problem;
pub use report::{Finding, FindingKind};
pub use route::Polling;
pub use route::Route;
pub(super) use route::{
    BodyNeed, Effect, FieldTest, Lesson, LinkNames, Multipart, Need, PatientRule, Record, Source,
    Test,
};

use super::answer::AnswerRule;
use crate::config::inspection::Mode;

/// The sections of a chart, and the parts of an EMR, that the shipped policies know.
pub const SECTIONS: &[&str] = &[
    "demographics",
    "summary",
    "notes",
    "orders",
    "results",
    "imaging",
    "medications",
    "billing",
    "scheduling",
    "sensitive",
    "export",
    "documents",
    "administration",
    "log",
    "shell",
];

/// Most bytes of a request body where a profile does not say.
pub const DEFAULT_BODY_LIMIT: u64 = 1024 * 1024;

/// Most bytes of a body that is held in memory.
pub(super) const MOST_READ: u64 = 16 * 1024 * 1024;

/// How a route behaves beyond its meaning, as later stages need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTraits {
    /// Whether a WebSocket or long stream may be opened here.
    pub websocket: bool,
    /// Whether the client's `Authorization` header is forwarded.
    pub pass_authorization: bool,
    /// Most bytes of a request body.
    pub body_limit: u64,
    /// Whether answers hold patient data (`Cache-Control: no-store`).
    pub no_store: bool,
}

/// What an EMR's requests mean.
#[derive(Debug)]
pub struct Profile {
    name: String,
    vendor: Option<String>,
    product: Option<String>,
    sessions: Vec<String>,
    login: Option<Login>,
    logout: Option<Logout>,
    cookies: CookieHardening,
    headers: PageHeaders,
    routes: Vec<Arc<Route>>,
    by_first: HashMap<String, Vec<usize>>,
    any_first: Vec<usize>,
    inspect: Modes,
    patches: Vec<Arc<Patch>>,
    keep_alive: Option<KeepAlive>,
}

/// The modes of inspection that a profile, or one of its routes, states. `[inspect]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) mode: Option<Mode>,
    /// By the name of a field: of the query, of a form, of a JSON object, or of a path segment.
    pub(super) fields: BTreeMap<String, Mode>,
}

/// A body that is read so that its fields can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum InspectedBody {
    /// `application/x-www-form-urlencoded`; anything else is refused.
    Form,
    /// JSON; anything else is refused.
    Json,
}

/// How the EMR's own sign-in is recognised.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) route: String,
    pub(super) user: Source,
    pub(super) success: AnswerRule,
    pub(super) failure: Option<AnswerRule>,
    pub(super) bind_user: BindUser,
}

/// What happens when the EMR's user is another than the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindUser {
    /// The sign-in is refused.
    Same,
    /// The sign-in goes on and is put on record as a mismatch.
    Alarm,
    /// The names are not compared.
    Ignore,
}

/// How the EMR's own sign-out is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    route: String,
    method: Method,
    path: String,
}

impl Logout {
    /// The route by which a user signs out of the EMR.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The method with which the gateway signs a user out.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path with which the gateway signs a user out.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Whether the EMR, or its framework, takes a field of a form for the method of the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum MethodOverride {
    /// It looks into no body for a method: bodies that nothing is mapped from are streamed whatever they are.
    None,
    /// It may: forms are read and looked through before they are forwarded. Where a profile does not say, it may.
    #[default]
    Form,
}

/// Whether an attribute is added to the EMR's cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Add,
    Leave,
}

/// `SameSite` for cookies that come without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SameSite {
    Strict,
    Lax,
    None,
    /// Nothing is added.
    Leave,
}

/// Whether a cookie may name the domain that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DomainScope {
    /// `Domain` is taken out: the cookie is for the gateway's host name alone.
    Strip,
    /// It stays: the EMR shares the cookie with its neighbours.
    Keep,
}

/// What is done to one cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hardening {
    pub(super) secure: Flag,
    pub(super) http_only: Flag,
    pub(super) same_site: SameSite,
    pub(super) domain: DomainScope,
}

/// What is done to the EMR's cookies. `[cookies]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieHardening {
    default: Hardening,
    except: HashMap<String, Hardening>,
}

impl CookieHardening {
    /// What is done to the cookie called `name`.
    pub(super) fn of(&self, name: &str) -> Hardening {
        self.except.get(name).copied().unwrap_or(self.default)
    }
}

impl Profile {
    /// The profile's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who makes the EMR.
    #[must_use]
    pub fn vendor(&self) -> Option<&str> {
        self.vendor.as_deref()
    }

    /// What the EMR is called, with the versions that the profile was written for.
    #[must_use]
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref()
    }

    /// The names of the EMR's session cookies; the first that a request carries is the one that patients stick to.
    #[must_use]
    pub fn session_cookies(&self) -> &[String] {
        &self.sessions
    }

    /// The routes, in order.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// How the gateway signs a user out of the EMR.
    #[must_use]
    pub const fn logout(&self) -> Option<&Logout> {
        self.logout.as_ref()
    }

    /// What is done to the EMR's cookies.
    #[must_use]
    pub const fn cookies(&self) -> &CookieHardening {
        &self.cookies
    }

    /// Its virtual patches.
    #[must_use]
    pub fn patches(&self) -> &[Arc<Patch>] {
        &self.patches
    }

    /// The mode of inspection that it states for all routes.
    #[must_use]
    pub const fn inspect_mode(&self) -> Option<Mode> {
        self.inspect.mode
    }

    /// The modes of inspection that hold for all routes.
    pub(super) const fn inspect(&self) -> &Modes {
        &self.inspect
    }

    /// Goes on counting the hits of patches where `before` left off.
    pub(super) fn continue_counts(&self, before: &Self) {
        for patch in &self.patches {
            if let Some(same) = before.patches.iter().find(|other| other.id() == patch.id()) {
                patch.continue_count(same);
            }
        }
    }

    /// The protections of its pages.
    #[must_use]
    pub const fn headers(&self) -> &PageHeaders {
        &self.headers
    }

    /// Session cookies that are let out without what protects them, each with what it lacks.
    #[must_use]
    pub fn bare_session_cookies(&self) -> Vec<String> {
        let mut bare = Vec::new();
        for name in &self.sessions {
            let wanted = self.cookies.of(name);
            let lacks = [
                ("Secure", wanted.secure == Flag::Leave),
                ("HttpOnly", wanted.http_only == Flag::Leave),
                (
                    "SameSite",
                    matches!(wanted.same_site, SameSite::None | SameSite::Leave),
                ),
            ];
            let lacks: Vec<&str> = lacks
                .into_iter()
                .filter_map(|(what, lacks)| lacks.then_some(what))
                .collect();
            if !lacks.is_empty() {
                bare.push(format!("`{name}` without {}", lacks.join(", ")));
            }
        }
        bare
    }

    pub(super) const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The routes that a path with this first segment can match, from position `from` on, in order.
    pub(super) fn candidates(
        &self,
        first: &str,
        from: usize,
    ) -> impl Iterator<Item = (usize, &Arc<Route>)> {
        let mut literal = self
            .by_first
            .get(first)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .peekable();
        let mut other = self.any_first.iter().peekable();
        std::iter::from_fn(move || match (literal.peek(), other.peek()) {
            (Some(one), Some(two)) if one < two => literal.next(),
            (Some(_), None) => literal.next(),
            (_, Some(_)) => other.next(),
            (None, None) => None,
        })
        .filter(move |index| **index >= from)
        .filter_map(|index| self.routes.get(*index).map(|route| (*index, route)))
    }
}
