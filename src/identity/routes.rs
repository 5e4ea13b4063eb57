//! The gateway's own paths that have to do with signing in and out.

use std::time::Duration;

use crate::request::{Demand, Factor, Target};

/// The first path segment of everything that the gateway answers itself.
pub const PREFIX: &str = ".chartgate";

/// The form to break the glass with: a page of the gateway's own that a step-up may come back to.
pub const BREAK_GLASS: &str = "/.chartgate/break-glass";

/// The form to state a reason with, where a permit obliges one: a sign-in may come back to it.
pub const REASON: &str = "/.chartgate/reason";

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

/// Where browsers register the key of their device.
pub const DEVICE_KEY: &str = "/.chartgate/device-key";

/// Where they prove that they have it.
pub const DEVICE_KEY_REFRESH: &str = "/.chartgate/device-key/refresh";

/// A path of the gateway's own, under `/.chartgate/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnRoute {
    /// `GET /.chartgate/login?return_to=…[&step_up=1[&max_age=…][&factor=…]]`: to the identity provider.
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
    /// `GET /.chartgate/client-jwks.json[?issuer=NAME]`: the keys with which the gateway proves itself to a provider.
    ClientKeys,
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
    /// `GET` or `POST /.chartgate/emergency`: a sealed account, while the provider is down.
    Emergency,
    /// `GET /.chartgate/frontchannel-logout?iss=…&sid=…`: the provider ends a session through a browser.
    FrontchannelLogout,
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
        Self::ClientKeys,
        Self::SecondFactor,
        Self::SecondFactors,
        Self::Lock,
        Self::Unlock,
        Self::Unlocked,
        Self::LockScript,
        Self::Emergency,
        Self::FrontchannelLogout,
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
            Self::ClientKeys => "/.chartgate/client-jwks.json",
            Self::SecondFactor => "/.chartgate/second-factor",
            Self::SecondFactors => "/.chartgate/second-factor/manage",
            Self::Lock => "/.chartgate/lock",
            Self::Unlock => "/.chartgate/unlock",
            Self::Unlocked => "/.chartgate/unlocked",
            Self::LockScript => "/.chartgate/lock.js",
            Self::Emergency => "/.chartgate/emergency",
            Self::FrontchannelLogout => "/.chartgate/frontchannel-logout",
        }
    }

    /// The route that `target` names, if it is one of these, spelled exactly as here.
    #[must_use]
    pub fn of(target: &Target) -> Option<Self> {
        if own_callback(target).is_some() {
            return Some(Self::Callback);
        }
        Self::ALL
            .iter()
            .copied()
            .find(|route| route.path() == target.path())
    }
}

/// Where sealed accounts sign in, with the page to go on to.
#[must_use]
pub fn emergency_location(return_to: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to);
    format!("{}?{}", OwnRoute::Emergency.path(), query.finish())
}

/// The issuer that a callback's path names: `/.chartgate/callback/NAME`, for issuers with an address of their own.
#[must_use]
pub fn own_callback(target: &Target) -> Option<&str> {
    let is_name = |name: &&str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=32).contains(&name.len()) && name.bytes().all(fits)
    };
    target
        .path()
        .strip_prefix("/.chartgate/callback/")
        .filter(is_name)
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
        REASON,
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
    /// A new authentication of the session that there is, to meet a demand.
    StepUp(Demand),
    /// That the session's own user comes back to their locked screen.
    Unlock,
}

/// What the field `step_up` says where a step-up is asked for.
const STEP_UP: &str = "1";

/// The field that asks for a fresh sign-in, whoever is signed in.
const FRESH: &str = "fresh";

/// The path and query that start a sign-in and lead back to `return_to`.
#[must_use]
pub fn login_location(return_to: &str, asked: Asked) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to);
    let path = match asked {
        Asked::SignIn | Asked::Fresh | Asked::StepUp(_) => OwnRoute::Login.path(),
        Asked::Unlock => OwnRoute::Unlock.path(),
    };
    match asked {
        Asked::SignIn | Asked::Unlock => {}
        Asked::Fresh => {
            query.append_pair(FRESH, "1");
        }
        Asked::StepUp(demand) => {
            query.append_pair("step_up", STEP_UP);
            if let Some(age) = demand.max_age_seconds() {
                query.append_pair("max_age", &age.to_string());
            }
            if demand.factor() != Factor::Any {
                query.append_pair("factor", demand.factor().word());
            }
        }
    }
    format!("{path}?{}", query.finish())
}

/// What an address like that of [`login_location`] asks for.
///
/// SECURITY: a hint, not a proof. Whoever weakens it confirms less than the page demands, comes back, and is asked
/// again: policy decides on every request by what the session proves. So nothing in it has to be sealed; from here on
/// it is kept in the store. What cannot be read asks for more, not for less.
#[must_use]
pub fn asked_by(target: &Target) -> Asked {
    let mut is_step_up = false;
    let mut is_fresh = false;
    let mut demand = Demand::NONE;
    for (name, value) in target.fields() {
        match &*name {
            "step_up" => is_step_up |= value == STEP_UP,
            FRESH => is_fresh |= value == "1",
            "max_age" => {
                let age = value.parse().map_or(Duration::ZERO, Duration::from_secs);
                demand = demand.union(Demand::fresh(age.min(Demand::LONGEST)));
            }
            "factor" => {
                let factor = Factor::demanded(&value).unwrap_or(Factor::PhishingResistant);
                demand = demand.union(Demand::with(factor));
            }
            _other => {}
        }
    }
    if !is_step_up {
        if is_fresh {
            Asked::Fresh
        } else {
            Asked::SignIn
        }
    } else if demand.is_none() {
        Asked::StepUp(Demand::NOW)
    } else {
        Asked::StepUp(demand)
    }
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
            let longer = target(&format!("{}/x/y", route.path()));
            assert_eq!(OwnRoute::of(&longer), None);
            let longer = target(&format!("{}/X", route.path()));
            assert_eq!(OwnRoute::of(&longer), None);
        }
    }

    #[test]
    fn a_callback_may_name_its_issuer() {
        let own = target("/.chartgate/callback/partner-2?code=x");
        assert_eq!(own_callback(&own), Some("partner-2"));
        assert_eq!(OwnRoute::of(&own), Some(OwnRoute::Callback));
        assert_eq!(own_callback(&target("/.chartgate/callback?code=x")), None);
        let other = target("/.chartgate/logout/partner-2");
        assert_eq!(OwnRoute::of(&other), None);
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
        let location = login_location("/a?b=c&d", Asked::StepUp(Demand::NOW));
        let fields: Vec<_> = target(&location).fields().collect();
        assert_eq!(fields[0], ("return_to".into(), "/a?b=c&d".into()));
        assert_eq!(fields[1], ("step_up".into(), "1".into()));
    }

    #[test]
    fn a_demand_is_read_as_it_was_written_and_never_weaker() {
        let five = Duration::from_mins(5);
        for demand in [
            Demand::NOW,
            Demand::fresh(five),
            Demand::with(Factor::Mfa),
            Demand::new(Some(five), Factor::PhishingResistant),
        ] {
            let location = login_location("/a?max_age=900&factor=mfa", Asked::StepUp(demand));
            assert_eq!(asked_by(&target(&location)), Asked::StepUp(demand));
        }
        let read = |query: &str| asked_by(&target(&format!("/.chartgate/login?{query}")));
        assert_eq!(read("max_age=300&factor=mfa"), Asked::SignIn);
        assert_eq!(read("step_up=0"), Asked::SignIn);
        assert_eq!(read("step_up=1"), Asked::StepUp(Demand::NOW));
        for garbled in [
            "max_age=x",
            "max_age=",
            "max_age=-1",
            "max_age=300&max_age=0",
        ] {
            let asked = read(&format!("step_up=1&{garbled}"));
            assert_eq!(asked, Asked::StepUp(Demand::NOW), "{garbled}");
        }
        let strongest = Asked::StepUp(Demand::with(Factor::PhishingResistant));
        for garbled in [
            "factor=x",
            "factor=",
            "factor=mfa&factor=phishing-resistant",
        ] {
            assert_eq!(
                read(&format!("step_up=1&{garbled}")),
                strongest,
                "{garbled}"
            );
        }
        let longest = Asked::StepUp(Demand::fresh(Demand::LONGEST));
        assert_eq!(read("step_up=1&max_age=999999999"), longest);
    }
}
