//! Who people are: the provider, the second factor, how long a session lasts, how often somebody may try.

use std::time::Duration;

use super::{Area, Check, Level, Verdict, fail, none_of, pass, span, unknown, warn};
use crate::config::{Issuer, MfaRequire, Rate};
use crate::posture::facts::Facts;

/// NIST SP 800-63B-4: 15 minutes without activity at AAL3, an hour at AAL2.
const IDLE: Duration = Duration::from_mins(15);
/// What is left open at a shared workstation is read by the next one who passes.
const LOCK: Duration = Duration::from_mins(10);
const IDLE_MOST: Duration = Duration::from_hours(1);
/// 12 hours in all at AAL3, 24 at AAL2.
const ABSOLUTE: Duration = Duration::from_hours(12);
const ABSOLUTE_MOST: Duration = Duration::from_hours(24);
/// Attempts in an hour that nobody needs who knows the password.
const ATTEMPTS: f64 = 2000.0;

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "mfa-evidence",
        area: Area::SignIn,
        level: Level::Critical,
        asks: "Does every identity provider have to prove a second factor?",
        controls: &[
            "45 CFR 164.312(d)",
            "45 CFR 170.315(d)(1)",
            "45 CFR 170.315(d)(13)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: mfa_evidence,
    },
    Check {
        id: "mfa-policy",
        area: Area::SignIn,
        level: Level::Critical,
        asks: "Does the policy bundle open nothing at all to people without a second factor?",
        controls: &[
            "45 CFR 164.312(a)(1)",
            "45 CFR 164.312(d)",
            "45 CFR 170.315(d)(13)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| match &facts.bundle {
            Err(why) => unknown(why),
            Ok(bundle) => none_of(
                &bundle.without_mfa,
                format!(
                    "nothing opens without one ({} questions asked)",
                    bundle.questions
                ),
                "put the policy `mfa-for-everything` of the shipped bundle into guards.cedar",
            ),
        },
    },
    Check {
        id: "provider-verified",
        area: Area::SignIn,
        level: Level::Critical,
        asks: "Are identity providers reached by HTTPS, and their tokens signed with keys that only they hold?",
        controls: &[
            "45 CFR 164.312(d)",
            "45 CFR 164.312(e)(1)",
            "45 CFR 170.315(d)(1)",
        ],
        judge: provider,
    },
    Check {
        id: "idle-timeout",
        area: Area::SignIn,
        level: Level::High,
        asks: "Does a session without activity end within 15 minutes?",
        controls: &[
            "45 CFR 164.312(a)(2)(iii)",
            "45 CFR 170.315(d)(5)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: |facts| {
            limit(
                facts.config.identity.idle_timeout,
                (IDLE, IDLE_MOST),
                "without activity",
                "set `identity.idle_timeout` to 15m",
            )
        },
    },
    Check {
        id: "screen-lock",
        area: Area::SignIn,
        level: Level::Medium,
        asks: "Does the screen of somebody who walked away lock within 10 minutes?",
        controls: &["45 CFR 164.312(a)(2)(iii)", "45 CFR 170.315(d)(5)"],
        judge: |facts| match facts.config.identity.lock {
            Some(lock) => limit(
                lock.after,
                (LOCK, IDLE),
                "without activity",
                "set `identity.lock.after` to 5m",
            ),
            None => warn(
                "screens do not lock before their session ends",
                "add `[identity.lock]` with `after = \"5m\"` (docs/screen-lock.md)",
            ),
        },
    },
    Check {
        id: "absolute-timeout",
        area: Area::SignIn,
        level: Level::Medium,
        asks: "Does every session end within 12 hours, so that a role that was taken away is gone?",
        controls: &[
            "45 CFR 164.308(a)(3)(ii)(C)",
            "45 CFR 164.312(a)(2)(iii)",
            "45 CFR 170.315(d)(5)",
        ],
        judge: |facts| {
            limit(
                facts.config.identity.absolute_timeout,
                (ABSOLUTE, ABSOLUTE_MOST),
                "whatever happens",
                "set `identity.absolute_timeout` to 12h",
            )
        },
    },
    Check {
        id: "sign-in-limits",
        area: Area::SignIn,
        level: Level::High,
        asks: "Can nobody try sign-ins for one account, or from one address, without end?",
        controls: &[
            "45 CFR 164.308(a)(5)(ii)(C)",
            "45 CFR 164.312(d)",
            "45 CFR 170.315(d)(1)",
        ],
        judge: attempts,
    },
    Check {
        id: "clock-leeway",
        area: Area::SignIn,
        level: Level::Low,
        asks: "Is a token that has expired accepted for two minutes at most?",
        controls: &["45 CFR 164.312(d)", "45 CFR 170.315(d)(1)"],
        judge: |facts| {
            let two = Duration::from_mins(2);
            limit(
                facts.config.identity.clock_leeway,
                (two, two),
                "of leeway for the provider's clock",
                "keep the clocks of gateway and provider in step, and set `identity.clock_leeway` to 60s",
            )
        },
    },
];

fn mfa_evidence(facts: &Facts) -> Verdict {
    let issuers = &facts.config.identity.issuers;
    let own = facts.config.identity.second_factor.as_ref();
    let has_own = |issuer: &Issuer| own.is_some_and(|own| own.issuers.contains(&issuer.name));
    let open: Vec<String> = issuers
        .iter()
        .filter(|issuer| issuer.mfa.acr.is_empty() && issuer.mfa.amr.iter().all(Vec::is_empty))
        .filter(|issuer| !has_own(issuer))
        .map(|issuer| format!("{} proves none", issuer.name))
        .collect();
    let how: Vec<String> = issuers
        .iter()
        .map(|issuer| {
            let both = match issuer.mfa.require {
                MfaRequire::Any => "any",
                MfaRequire::All => "all",
            };
            let (acr, amr) = (issuer.mfa.acr.len(), issuer.mfa.amr.len());
            let own = if has_own(issuer) {
                ", else the gateway's own second factor"
            } else {
                ""
            };
            format!(
                "{}: {acr} acr values, {amr} amr sets ({both}){own}",
                issuer.name
            )
        })
        .collect();
    none_of(
        &open,
        how.join("; "),
        "say in [identity.issuer.mfa] which `acr` or `amr` proves a second factor",
    )
}

fn provider(facts: &Facts) -> Verdict {
    let mut wrong = Vec::new();
    for issuer in &facts.config.identity.issuers {
        let is_local = match issuer.url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if issuer.url.scheme() != "https" && !is_local {
            wrong.push(format!(
                "{} is reached in clear: {}",
                issuer.name, issuer.url
            ));
        }
        let shared = |name: &&String| name.starts_with("HS") || *name == "none";
        wrong.extend(
            issuer
                .algorithms
                .iter()
                .filter(shared)
                .map(|algorithm| format!("{} may sign with {algorithm}", issuer.name)),
        );
    }
    let all: Vec<String> = facts
        .config
        .identity
        .issuers
        .iter()
        .map(|issuer| format!("{}: {}", issuer.url, issuer.algorithms.join(", ")))
        .collect();
    none_of(
        &wrong,
        all.join("; "),
        "use the provider's https address, and algorithms with public keys (ES256, PS256, RS256)",
    )
}

fn limit(found: Duration, (good, most): (Duration, Duration), what: &str, remedy: &str) -> Verdict {
    let evidence = format!("{} {what}", span(found));
    if found <= good {
        pass(evidence)
    } else if found <= most {
        warn(evidence, remedy)
    } else {
        fail(evidence, remedy)
    }
}

fn attempts(facts: &Facts) -> Verdict {
    let limits = &facts.config.limits;
    let hourly = |rate: &Rate| {
        let sustained = f64::from(rate.requests.get()) * 3600.0 / rate.per.as_secs_f64().max(1.0);
        sustained + f64::from(rate.burst.get())
    };
    let account = hourly(&limits.login_account);
    let address = hourly(&limits.login_address);
    let evidence =
        format!("in an hour {account:.0} for one account, {address:.0} from one address");
    // Behind one address there may be a whole hospital.
    if account > ATTEMPTS || address > 20.0 * ATTEMPTS {
        fail(
            evidence,
            "set `limits.login_account` to \"20/1m burst 10\" and `limits.login_address` to \"120/1m burst 60\"",
        )
    } else {
        pass(evidence)
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("mfa-evidence", |facts| {
        let mfa = &mut facts.config.identity.issuers[0].mfa;
        mfa.acr.clear();
        mfa.amr.clear();
    }),
    ("mfa-policy", |facts| {
        if let Ok(bundle) = &mut facts.bundle {
            bundle.without_mfa = vec!["physician: Read notes".to_owned()];
        }
    }),
    ("provider-verified", |facts| {
        facts.config.identity.issuers[0].url = "http://login.hospital.example".parse().unwrap();
    }),
    ("provider-verified", |facts| {
        facts.config.identity.issuers[0].algorithms = vec!["HS256".to_owned()];
    }),
    ("idle-timeout", |facts| {
        facts.config.identity.idle_timeout = Duration::from_hours(2);
    }),
    ("screen-lock", |facts| {
        let after = Duration::from_mins(30);
        facts.config.identity.lock = Some(crate::config::lock::Lock { after });
    }),
    ("absolute-timeout", |facts| {
        facts.config.identity.absolute_timeout = Duration::from_hours(72);
    }),
    ("sign-in-limits", |facts| {
        facts.config.limits.login_account.requests = std::num::NonZeroU32::new(1000).unwrap();
    }),
    ("clock-leeway", |facts| {
        facts.config.identity.clock_leeway = Duration::from_mins(10);
    }),
];
