//! What a profile says of forms that wait for their user, and of EMR sessions behind a locked screen.

use std::time::Duration;

use super::Profile;
use super::parse::duration;
use super::problem::Problems;
use super::raw::RawKeepAlive;
use crate::request::Target;

/// The shortest and the longest time between two requests that keep an EMR session.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(2);

/// What becomes of a form of a route that had to wait. `held_post = ".."`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldPost {
    /// The EMR takes it later, too: its user may have it sent.
    Replay,
    /// Nobody knows whether it would (a token in the form may be stale): it is shown to its user, to be copied.
    #[default]
    Show,
}

/// How the EMR's session is kept while its screen is locked. `[keep_alive]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepAlive {
    target: Target,
    every: Duration,
}

impl KeepAlive {
    /// What is asked for, by `GET`.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// How often.
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.every
    }
}

pub(super) fn keep_alive(
    raw: &RawKeepAlive,
    line: usize,
    problems: &mut Problems<'_>,
) -> Option<KeepAlive> {
    let target = Target::parse_str(&raw.path)
        .ok()
        .filter(|target| target.ambiguities().is_empty());
    if target.is_none() {
        let message = format!("`{}` is not a plain path", raw.path);
        problems.add(line, message, "write a path such as \"/keep-alive\"");
    }
    let every = duration(&raw.every).filter(|every| EVERY.contains(every));
    if every.is_none() {
        let message = format!("`{}` is no duration from 10s to 120m", raw.every);
        problems.add(line, message, "write a duration such as \"5m\"");
    }
    Some(KeepAlive {
        target: target?,
        every: every?,
    })
}

impl Profile {
    /// How the EMR's session is kept while its screen is locked.
    #[must_use]
    pub const fn keep_alive(&self) -> Option<&KeepAlive> {
        self.keep_alive.as_ref()
    }

    /// What becomes of a form of the route with this id that had to wait.
    #[must_use]
    pub fn held_post(&self, route: &str) -> HeldPost {
        let found = self.routes.iter().find(|known| known.id == route);
        found.map_or(HeldPost::Show, |route| route.held_post)
    }

    /// Whether the route with this id is the EMR's own sign-in.
    #[must_use]
    pub fn is_sign_in(&self, route: &str) -> bool {
        self.login
            .as_ref()
            .is_some_and(|login| login.route == route)
    }

    /// Whether `target` is where this EMR sends a user whom it does not know any more: the path of its sign-in, or one
    /// that is called like one.
    #[must_use]
    pub fn asks_to_sign_in(&self, target: &Target) -> bool {
        let segments: Vec<&str> = target.segments().collect();
        let own = self
            .routes
            .iter()
            .filter(|route| self.is_sign_in(&route.id))
            .any(|route| route.captures(&segments).is_some());
        let named = target.path().to_ascii_lowercase();
        let words = ["login", "logon", "log-in", "signin", "sign-in", "sign_in"];
        own || words.iter().any(|word| named.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = r#"
[[route]]
id = "sign-in"
methods = ["POST"]
path = "/enter"
action = "Navigate"
section = "shell"

[[route]]
id = "note"
methods = ["POST"]
path = "/notes"
action = "Create"
section = "notes"
held_post = "replay"

[[route]]
id = "order"
methods = ["POST"]
path = "/orders"
action = "Order"
section = "orders"
"#;
    const HEAD: &str = "version = 1\nname = \"x\"\n[login]\nroute = \"sign-in\"\nuser = { form = \"u\" }\nsuccess = { status = [302] }\nbind_user = \"same\"\n[session]\ncookies = [\"S\"]\n";

    fn profile(more: &str) -> Result<Profile, Vec<crate::emr::profile::Problem>> {
        Profile::parse(&format!("{HEAD}{more}{ROUTES}"), "x.toml")
    }

    #[test]
    fn a_profile_says_what_may_wait_and_what_keeps_a_session() {
        let plain = profile("").unwrap();
        assert!(plain.keep_alive().is_none());
        assert_eq!(plain.held_post("note"), HeldPost::Replay);
        assert_eq!(plain.held_post("order"), HeldPost::Show);
        assert_eq!(plain.held_post("nowhere"), HeldPost::Show);
        assert!(plain.is_sign_in("sign-in") && !plain.is_sign_in("note"));
        let kept = profile("[keep_alive]\npath = \"/ping?a=b\"\nevery = \"2m\"\n").unwrap();
        let keep = kept.keep_alive().unwrap();
        assert_eq!(keep.target().as_str(), "/ping?a=b");
        assert_eq!(keep.every(), Duration::from_mins(2));
        for wrong in [
            "path = \"ping\"\nevery = \"2m\"\n",
            "path = \"/ping\"\nevery = \"1s\"\n",
            "path = \"/a//b\"\nevery = \"2m\"\n",
            "path = \"/ping\"\n",
        ] {
            assert!(
                profile(&format!("[keep_alive]\n{wrong}")).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_way_to_the_emr_s_sign_in_is_known_by_its_route_or_its_name() {
        let profile = profile("").unwrap();
        let asks = |path: &str| profile.asks_to_sign_in(&Target::parse_str(path).unwrap());
        assert!(asks("/enter?next=/notes"));
        assert!(asks("/accounts/Login/"));
        assert!(asks("/interface/login/login.php"));
        assert!(!asks("/notes"));
    }
}
