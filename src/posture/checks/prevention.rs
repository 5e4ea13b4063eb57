//! What is kept away from the EMR, from readers' disks, and from people who were not told.

use jiff::tz::TimeZone;

use super::{
    Area, Check, Level, Verdict, fail, named, none_of, not_applicable, pass, unknown, warn,
};
use crate::config::client::{Browsers, Reaction, Readers};
use crate::config::inspection::Mode;
use crate::posture::facts::{Facts, Prevention};

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "inspection-blocks",
        area: Area::Prevention,
        level: Level::High,
        asks: "Are requests refused whose values look like an attack on the EMR?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(B)",
            "45 CFR 164.312(a)(1)",
            "45 CFR 164.312(c)(1)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: inspection,
    },
    Check {
        id: "patches-looked-at",
        area: Area::Prevention,
        level: Level::Medium,
        asks: "Is no virtual patch past the day by which somebody had to see whether the EMR is mended?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(B)",
            "45 CFR 164.308(a)(8)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: patches,
    },
    Check {
        id: "charts-not-cached",
        area: Area::Prevention,
        level: Level::High,
        asks: "Are browsers and caches told to keep no answer that is about patients?",
        controls: &[
            "45 CFR 164.312(a)(1)",
            "45 CFR 170.315(d)(7)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: caching,
    },
    Check {
        id: "browsers-current",
        area: Area::Prevention,
        level: Level::Low,
        asks: "Are browsers refused that get no repairs any more?",
        controls: &["45 CFR 164.308(a)(1)(ii)(B)", "45 CFR 164.308(a)(5)(ii)(B)"],
        judge: |facts| {
            facts
                .config
                .client
                .browsers
                .as_ref()
                .map_or_else(|| fail("nothing is asked of browsers", MINIMUMS), browsers)
        },
    },
    Check {
        id: "sign-in-notice",
        area: Area::Prevention,
        level: Level::Low,
        asks: "Is everyone told before signing in what the system is for, and that use is recorded (NIST AC-8)?",
        controls: &["45 CFR 164.308(a)(5)(ii)(A)"],
        judge: |facts| match &facts.config.client.sign_in_banner {
            None => fail(
                "no notice is shown",
                "set the text of `client.sign_in_banner`",
            ),
            Some(banner) => match banner.show_to {
                Readers::Everyone => pass("a notice is acknowledged before every sign-in"),
                Readers::Browsers => warn(
                    "what does not call itself a browser signs in past the notice",
                    "set `client.sign_in_banner.show_to` to \"everyone\"",
                ),
            },
        },
    },
];

const MINIMUMS: &str =
    "set minimum versions in `client.browsers`; begin with `below = \"warn\"`, then refuse";

/// What the profiles say, each with the name of its EMR; or why one of them says nothing.
fn stated(facts: &Facts) -> Result<Vec<(&str, &Prevention)>, String> {
    let profiles = facts.profiles.iter();
    profiles
        .map(|profile| match &profile.prevention {
            Ok(prevention) => Ok((profile.emr.as_str(), prevention)),
            Err(why) => Err(format!("{}: {why}", profile.emr)),
        })
        .collect()
}

fn inspection(facts: &Facts) -> Verdict {
    let settings = &facts.config.inspection;
    if settings.at_most != Mode::Block {
        return fail(
            format!("`inspection.at_most` is {}", settings.at_most.word()),
            "set `inspection.at_most` to \"block\" once the trail shows no false findings",
        );
    }
    let stated = match stated(facts) {
        Ok(stated) => stated,
        Err(why) => return unknown(&why),
    };
    let (mut mild, mut off, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for (emr, prevention) in stated {
        let mode = prevention.mode.unwrap_or(settings.mode);
        if mode != Mode::Block {
            mild.push(format!("{emr}: {}", mode.word()));
        }
        let of = |wanted: Mode| {
            let exceptions = prevention.exceptions.iter();
            exceptions.filter(move |(_, mode)| *mode == wanted)
        };
        off.extend(
            of(Mode::Off).map(|(route, _)| format!("{emr}: route `{route}` is not looked at")),
        );
        good.push(format!(
            "{emr}: block; {} routes state that attacks are only put on record",
            of(Mode::Detect).count()
        ));
    }
    let remedy = "see docs/inspection.md: try it on record, then write `mode = \"block\"` under [inspect] in the profile";
    match (mild.as_slice(), off.as_slice()) {
        ([], []) => pass(good.join("; ")),
        ([], off) => warn(
            named(off),
            "name the fields that are not to be looked at, in place of the whole route",
        ),
        (mild, _) => fail(named(mild), remedy),
    }
}

fn patches(facts: &Facts) -> Verdict {
    let today = TimeZone::UTC.to_datetime(facts.now).date();
    let stated = match stated(facts) {
        Ok(stated) => stated,
        Err(why) => return unknown(&why),
    };
    let all = || {
        stated.iter().flat_map(|(emr, prevention)| {
            let patches = prevention.patches.iter();
            patches.map(move |(id, expires)| (*emr, id, *expires))
        })
    };
    let late: Vec<String> = all()
        .filter(|(_, _, expires)| *expires < today)
        .map(|(emr, id, expires)| format!("{emr}: {id} expired on {expires}, and holds on"))
        .collect();
    match all().map(|(_, _, expires)| expires).min() {
        None => not_applicable("no profile has a virtual patch"),
        Some(first) => none_of(
            &late,
            format!(
                "{} in force, the first to look at by {first}",
                all().count()
            ),
            "see whether the EMR is mended; take the patch out, or give it a new date",
        ),
    }
}

fn caching(facts: &Facts) -> Verdict {
    let stated = match stated(facts) {
        Ok(stated) => stated,
        Err(why) => return unknown(&why),
    };
    let routes = |of: fn(&Prevention) -> &Vec<String>| -> Vec<String> {
        let stated = stated.iter();
        stated
            .flat_map(|(emr, prevention)| {
                let routes = of(prevention).iter();
                routes.map(move |route| format!("{emr}: route `{route}`"))
            })
            .collect()
    };
    let sensitive = routes(|prevention| &prevention.cached_sensitive);
    if !sensitive.is_empty() {
        return fail(
            format!(
                "protected more than usual, and the EMR decides about caching: {}",
                named(&sensitive)
            ),
            "take `cache = \"emr\"` out of these routes",
        );
    }
    match routes(|prevention| &prevention.cached).as_slice() {
        [] => pass("every answer that is about patients leaves with `no-store`"),
        cached => warn(
            format!("the EMR decides about caching: {}", named(cached)),
            "see whether `cache_reason` still holds; else take `cache = \"emr\"` out",
        ),
    }
}

fn browsers(browsers: &Browsers) -> Verdict {
    let minimums = [
        ("Chrome", browsers.chrome),
        ("Edge", browsers.edge),
        ("Firefox", browsers.firefox),
        ("Safari", browsers.safari),
    ];
    let asked: Vec<String> = minimums
        .iter()
        .filter_map(|(name, minimum)| Some(format!("{name} {}", (*minimum)?)))
        .collect();
    let free: Vec<&str> = minimums
        .iter()
        .filter_map(|(name, minimum)| minimum.is_none().then_some(*name))
        .collect();
    if asked.is_empty() {
        return fail("no browser has a minimum version", MINIMUMS);
    }
    if !free.is_empty() {
        return warn(format!("nothing is asked of {}", free.join(", ")), MINIMUMS);
    }
    match browsers.below {
        Reaction::Refuse => pass(asked.join(", ")),
        Reaction::Warn => warn(
            format!("{}; what is older is warned", asked.join(", ")),
            "set `client.browsers.below` to \"refuse\" once few are warned",
        ),
        Reaction::Allow => fail("what is older is let in unwarned", MINIMUMS),
    }
}

#[cfg(test)]
fn change(facts: &mut Facts, change: impl FnOnce(&mut Prevention)) {
    if let Ok(prevention) = &mut facts.profiles[0].prevention {
        change(prevention);
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("inspection-blocks", |facts| {
        facts.config.inspection.at_most = Mode::Detect;
    }),
    // A profile that says nothing leaves it to the configuration, which only puts on record.
    ("inspection-blocks", |facts| {
        change(facts, |prevention| prevention.mode = None);
    }),
    ("patches-looked-at", |facts| {
        let yesterday = "2026-11-24".parse().unwrap();
        change(facts, |prevention| prevention.patches[0].1 = yesterday);
    }),
    ("charts-not-cached", |facts| {
        change(facts, |prevention| {
            prevention.cached = vec!["hiv-results".to_owned()];
            prevention.cached_sensitive = prevention.cached.clone();
        });
    }),
    ("browsers-current", |facts| {
        facts.config.client.browsers = None;
    }),
    ("browsers-current", |facts| {
        if let Some(browsers) = &mut facts.config.client.browsers {
            (browsers.chrome, browsers.edge) = (None, None);
            (browsers.firefox, browsers.safari) = (None, None);
        }
    }),
    ("sign-in-notice", |facts| {
        facts.config.client.sign_in_banner = None;
    }),
];
