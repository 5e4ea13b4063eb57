//! The gateway's own paths that have to do with signing in and out.

use crate::request::Target;

/// The first path segment of everything that the gateway answers itself.
pub const PREFIX: &str = ".chartgate";

/// The form to break the glass with: a page of the gateway's own that a step-up may come back to.
pub const BREAK_GLASS: &str = "/.chartgate/break-glass";

/// The page of courses; each course is below it.
pub const TRAINING: &str = "/.chartgate/training";

/// The form to report something suspicious with.
pub const REPORT: &str = "/.chartgate/report";

/// The page of one's own sessions.
pub const SESSIONS: &str = "/.chartgate/sessions";

/// What was kept of forms; each is below it.
pub const HELD: &str = "/.chartgate/held";

/// Whether the screen is locked, asked by its pages.
pub const SCREEN: &str = "/.chartgate/session";

/// Where pages tell that somebody works at them.
pub const ACTIVE: &str = "/.chartgate/active";

/// A path of the gateway's own, under `/.chartgate/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnRoute {
    /// `GET /.chartgate/login?return_to=…[&step_up=1]`: to the identity provider.
    Login,
    /// `GET /.chartgate/callback?code=…&state=…`: back from it.
    Callback,
    /// `GET` or `POST /.chartgate/logout`: ends the session.
    Logout,
    /// `GET` or `POST /.chartgate/switch`: ends the session and asks who is next.
    Switch,
    /// `GET /.chartgate/signed-out`: where the provider sends the browser after sign-out.
    SignedOut,
    /// `POST /.chartgate/backchannel-logout`: the provider ends sessions.
    BackchannelLogout,
    /// `GET` or `POST /.chartgate/second-factor`: the gateway's own second factor.
    SecondFactor,
    /// `GET /.chartgate/second-factor/manage`: a user's own authenticators.
    SecondFactors,
    /// `GET` or `POST /.chartgate/lock`: locks the screen.
    Lock,
    /// `GET /.chartgate/unlock?return_to=…`: to the identity provider, to unlock it.
    Unlock,
    /// `GET /.chartgate/unlocked`: where the window ends up in which a screen was unlocked.
    Unlocked,
    /// `GET /.chartgate/lock.js`: the script of pages that lock.
    LockScript,
}

impl OwnRoute {
    /// Every route.
    pub const ALL: &'static [Self] = &[
        Self::Login,
        Self::Callback,
        Self::Logout,
        Self::Switch,
        Self::SignedOut,
        Self::BackchannelLogout,
        Self::SecondFactor,
        Self::SecondFactors,
        Self::Lock,
        Self::Unlock,
        Self::Unlocked,
        Self::LockScript,
    ];

    /// The path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Login => "/.chartgate/login",
            Self::Callback => "/.chartgate/callback",
            Self::Logout => "/.chartgate/logout",
            Self::Switch => "/.chartgate/switch",
            Self::SignedOut => "/.chartgate/signed-out",
            Self::BackchannelLogout => "/.chartgate/backchannel-logout",
            Self::SecondFactor => "/.chartgate/second-factor",
            Self::SecondFactors => "/.chartgate/second-factor/manage",
            Self::Lock => "/.chartgate/lock",
            Self::Unlock => "/.chartgate/unlock",
            Self::Unlocked => "/.chartgate/unlocked",
            Self::LockScript => "/.chartgate/lock.js",
        }
    }

    /// The route that `target` names, if it is one of these, spelled exactly as here.
    #[must_use]
    pub fn of(target: &Target) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|route| route.path() == target.path())
    }
}

/// Whether `target` lies under the gateway's own prefix, in any spelling: it must then never reach an EMR.
#[must_use]
pub fn is_own(target: &Target) -> bool {
    target
        .segments()
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case(PREFIX))
}

/// Whether a sign-in may come back to `target` although it is the gateway's own: showing it changes nothing.
#[must_use]
pub fn may_return_to(target: &Target) -> bool {
    let path = target.path();
    [
        BREAK_GLASS,
        TRAINING,
        REPORT,
        SESSIONS,
        OwnRoute::SecondFactors.path(),
        OwnRoute::Unlocked.path(),
    ]
    .contains(&path)
        || [TRAINING, HELD].iter().any(|page| {
            path.strip_prefix(page)
                .is_some_and(|rest| rest.starts_with('/'))
        })
}

/// What a sign-in is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A session.
    SignIn,
    /// A session, from a fresh authentication, whoever is signed in here or at the provider.
    Fresh,
    /// A fresh authentication of the session that there is.
    StepUp,
    /// That the session's own user comes back to their locked screen.
    Unlock,
}

/// The path and query that start a sign-in and lead back to `return_to`.
#[must_use]
pub fn login_location(return_to: &str, asked: Asked) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to);
    let path = match asked {
        Asked::SignIn | Asked::Fresh | Asked::StepUp => OwnRoute::Login.path(),
        Asked::Unlock => OwnRoute::Unlock.path(),
    };
    match asked {
        Asked::SignIn | Asked::Unlock => {}
        Asked::Fresh => {
            query.append_pair("fresh", "1");
        }
        Asked::StepUp => {
            query.append_pair("step_up", "1");
        }
    }
    format!("{path}?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(raw: &str) -> Target {
        Target::parse_str(raw).unwrap()
    }

    #[test]
    fn every_route_is_found_by_its_path_alone() {
        for route in OwnRoute::ALL {
            let asked = format!("{}?a=b", route.path());
            assert_eq!(OwnRoute::of(&target(&asked)), Some(*route));
            assert!(is_own(&target(&asked)));
            let longer = format!("{}/x", route.path());
            assert_eq!(OwnRoute::of(&target(&longer)), None);
        }
    }

    #[test]
    fn other_spellings_are_own_but_no_route() {
        for raw in [
            "/%2echartgate/login",
            "/.Chartgate/login",
            "/.chartgate",
            "/.chartgate//login",
            "/.chartgate/%6cogin",
        ] {
            assert!(is_own(&target(raw)), "{raw}");
            assert_eq!(OwnRoute::of(&target(raw)), None, "{raw}");
        }
        assert!(!is_own(&target("/x/.chartgate/login")));
    }

    #[test]
    fn a_login_location_leads_back() {
        let location = login_location("/a?b=c&d", Asked::StepUp);
        let fields: Vec<_> = target(&location).fields().collect();
        assert_eq!(fields[0], ("return_to".into(), "/a?b=c&d".into()));
        assert_eq!(fields[1], ("step_up".into(), "1".into()));
    }
}
