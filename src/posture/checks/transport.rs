//! Between browser, gateway and EMR: encryption, certificates, and what the EMR lets out.

use std::time::Duration;

use super::{
    Area, Check, Level, Verdict, fail, named, none_of, not_applicable, pass, span, unknown, warn,
};
use crate::config::{Emr, ErrorPages};
use crate::posture::facts::{Facts, Listener, Taken};

/// A certificate that ends within this fails.
const NOW: Duration = Duration::from_hours(7 * 24);
/// One that ends within this calls for somebody.
const SOON: Duration = Duration::from_hours(30 * 24);
/// What browsers' preload lists and NIST SP 800-52 profiles come to: half a year at least.
const HSTS: Duration = Duration::from_hours(180 * 24);

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "tls-versions",
        area: Area::Transport,
        level: Level::Critical,
        asks: "Do HTTPS listeners refuse TLS 1.1 and older, asked on the wire?",
        controls: &[
            "45 CFR 164.312(e)(1)",
            "45 CFR 164.312(e)(2)(ii)",
            "45 CFR 170.315(d)(9)",
            "GDPR Art. 32(1)(a)",
        ],
        judge: |facts| listeners(facts, "TLS 1.1", |listener| &listener.old_version),
    },
    Check {
        id: "tls-suites",
        area: Area::Transport,
        level: Level::Critical,
        asks: "Do HTTPS listeners refuse suites without authenticated encryption, asked on the wire?",
        controls: &[
            "45 CFR 164.312(e)(2)(i)",
            "45 CFR 164.312(e)(2)(ii)",
            "45 CFR 170.315(d)(9)",
            "GDPR Art. 32(1)(a)",
        ],
        judge: |facts| {
            listeners(facts, "suites without AEAD", |listener| {
                &listener.weak_suites
            })
        },
    },
    Check {
        id: "tls-certificates",
        area: Area::Transport,
        level: Level::Critical,
        asks: "Is every certificate readable, and valid for 30 days to come?",
        controls: &[
            "45 CFR 164.312(e)(1)",
            "45 CFR 170.315(d)(9)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: certificates,
    },
    Check {
        id: "tls-keys",
        area: Area::Transport,
        level: Level::High,
        asks: "Are the keys of the certificates that clients see strong (RSA 2048, EC 256 bits)?",
        controls: &[
            "45 CFR 164.312(e)(2)(ii)",
            "45 CFR 170.315(d)(9)",
            "GDPR Art. 32(1)(a)",
        ],
        judge: certificate_keys,
    },
    Check {
        id: "http-redirects",
        area: Area::Transport,
        level: Level::High,
        asks: "Do plain HTTP listeners redirect to HTTPS and do nothing else?",
        controls: &["45 CFR 164.312(e)(1)", "GDPR Art. 32(1)(a)"],
        judge: redirects,
    },
    Check {
        id: "hsts",
        area: Area::Transport,
        level: Level::Medium,
        asks: "Are browsers told to use HTTPS only, for half a year at least?",
        controls: &["45 CFR 164.312(e)(2)(ii)", "GDPR Art. 32(1)(a)"],
        judge: hsts,
    },
    Check {
        id: "emr-transport",
        area: Area::Transport,
        level: Level::Critical,
        asks: "Is the way to each EMR encrypted and verified, or within this machine?",
        controls: &[
            "45 CFR 164.312(e)(1)",
            "45 CFR 164.312(e)(2)(i)",
            "45 CFR 164.312(e)(2)(ii)",
            "45 CFR 170.315(d)(9)",
            "GDPR Art. 32(1)(a)",
        ],
        judge: emr_transport,
    },
    Check {
        id: "emr-assertion",
        area: Area::Transport,
        level: Level::High,
        asks: "Is what an EMR is told about the user signed, or sent where nobody else can speak?",
        controls: &[
            "45 CFR 164.312(a)(2)(i)",
            "45 CFR 164.312(d)",
            "45 CFR 170.315(d)(1)",
        ],
        judge: assertion,
    },
    Check {
        id: "emr-error-pages",
        area: Area::Transport,
        level: Level::Low,
        asks: "Are the EMR's own error pages, which show its insides, hidden?",
        controls: &["45 CFR 164.312(a)(1)", "GDPR Art. 32(1)(b)"],
        judge: error_pages,
    },
    Check {
        id: "emr-cookies",
        area: Area::Transport,
        level: Level::Medium,
        asks: "Do the EMR's session cookies leave with Secure, HttpOnly and SameSite?",
        controls: &["45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)"],
        judge: |facts| {
            let bare: Vec<String> = facts
                .profiles
                .iter()
                .flat_map(|profile| {
                    let emr = &profile.emr;
                    profile
                        .bare_cookies
                        .iter()
                        .map(move |cookie| format!("{emr}: {cookie}"))
                })
                .collect();
            none_of(
                &bare,
                "every profile adds what the EMR leaves out of its session cookies",
                "take the exception out of [cookies.except] of the profile, or say there why the EMR needs it",
            )
        },
    },
    Check {
        id: "trusted-proxies",
        area: Area::Transport,
        level: Level::Medium,
        asks: "Is only what proxies of your own say about client addresses believed?",
        controls: &["45 CFR 164.312(b)", "45 CFR 170.315(d)(2)"],
        judge: proxies,
    },
];

fn listeners(facts: &Facts, what: &str, part: fn(&Listener) -> &Taken) -> Verdict {
    let listeners = match &facts.listeners {
        Ok(listeners) => listeners,
        Err(why) => return unknown(why),
    };
    let mut refused = Vec::new();
    let mut silent = Vec::new();
    for listener in listeners {
        match part(listener) {
            Taken::Accepted => {
                return fail(
                    format!(
                        "{} goes on with a client that offers only {what}",
                        listener.address
                    ),
                    "something else answers at the gateway's address: find out what, and put the gateway there",
                );
            }
            Taken::Refused => refused.push(listener.address.to_string()),
            Taken::Silent(why) => silent.push(format!("{}: {why}", listener.address)),
        }
    }
    if refused.is_empty() {
        return unknown(&format!("no listener answered: {}", named(&silent)));
    }
    pass(format!("{} refuses {what}", refused.join(", ")))
}

fn certificates(facts: &Facts) -> Verdict {
    let remedy =
        "renew it; `chartgate certificates reload` makes a running gateway read the new one";
    let (mut bad, mut soon, mut first) = (Vec::new(), Vec::new(), Duration::MAX);
    for certificate in &facts.certificates {
        let file = certificate.file.display();
        let leaf = match &certificate.leaf {
            Ok(leaf) => leaf,
            Err(why) => {
                bad.push(why.clone());
                continue;
            }
        };
        let left = Duration::try_from(leaf.not_after.duration_since(facts.now));
        match left {
            Err(_) => bad.push(format!("{file} expired on {}", leaf.not_after)),
            Ok(left) if left < NOW => bad.push(format!("{file} ends in {}", span(left))),
            Ok(left) if left < SOON => soon.push(format!("{file} ends in {}", span(left))),
            Ok(left) => first = first.min(left),
        }
    }
    if !bad.is_empty() {
        return fail(named(&bad), remedy);
    }
    if !soon.is_empty() {
        return warn(named(&soon), remedy);
    }
    let count = facts.certificates.len();
    pass(format!(
        "{count} certificates, the first ends in {}",
        span(first)
    ))
}

fn certificate_keys(facts: &Facts) -> Verdict {
    let served: Vec<_> = facts
        .certificates
        .iter()
        .filter(|certificate| certificate.served)
        .filter_map(|certificate| Some((certificate, certificate.leaf.as_ref().ok()?)))
        .collect();
    if served.is_empty() {
        return unknown("no certificate can be read");
    }
    let weak: Vec<String> = served
        .iter()
        .filter(|(_, leaf)| leaf.key_bits < if leaf.key_kind == "RSA" { 2048 } else { 256 })
        .map(|(certificate, leaf)| {
            format!(
                "{}: {} {} bits",
                certificate.file.display(),
                leaf.key_kind,
                leaf.key_bits
            )
        })
        .collect();
    let kinds: Vec<String> = served
        .iter()
        .map(|(_, leaf)| format!("{} {} bits", leaf.key_kind, leaf.key_bits))
        .collect();
    none_of(
        &weak,
        kinds.join(", "),
        "have it issued again for a key of RSA 3072 or EC P-256",
    )
}

fn redirects(facts: &Facts) -> Verdict {
    if facts.config.server.redirect_http.is_empty() {
        return not_applicable("there is no plain HTTP listener");
    }
    let plain = match &facts.plain {
        Ok(plain) => plain,
        Err(why) => return unknown(why),
    };
    let (mut good, mut silent) = (Vec::new(), Vec::new());
    for listener in plain {
        match &listener.location {
            Ok(location) if location.starts_with("https://") => {
                good.push(format!("{} sends to {location}", listener.address));
            }
            Ok(location) => {
                return fail(
                    format!("{} sends to {location}", listener.address),
                    "something else answers at the gateway's address: find out what",
                );
            }
            Err(why) => silent.push(format!("{}: {why}", listener.address)),
        }
    }
    if good.is_empty() {
        return unknown(&format!("no listener answered: {}", named(&silent)));
    }
    pass(good.join(", "))
}

fn hsts(facts: &Facts) -> Verdict {
    let age = facts.config.server.hsts_max_age;
    let remedy =
        "set `server.hsts_max_age` to 365d once every host of the domain is served by HTTPS";
    if age.is_zero() {
        return fail("Strict-Transport-Security is not sent", remedy);
    }
    let evidence = format!("max-age is {}", span(age));
    if age < HSTS {
        warn(evidence, remedy)
    } else {
        pass(evidence)
    }
}

/// Whether nobody outside this machine can come between.
fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn emr_transport(facts: &Facts) -> Verdict {
    let clear: Vec<String> = facts
        .config
        .emrs
        .iter()
        .filter(|emr| emr.backend.url.scheme() != "https" && !is_local(&emr.backend.url))
        .map(|emr| {
            format!(
                "{}: {} crosses the network in clear",
                emr.name, emr.backend.url
            )
        })
        .collect();
    let ways: Vec<String> = facts
        .config
        .emrs
        .iter()
        .map(|emr| {
            let how = if emr.backend.url.scheme() == "https" {
                "TLS, verified"
            } else {
                "within this machine"
            };
            format!("{}: {how}", emr.name)
        })
        .collect();
    none_of(
        &clear,
        ways.join("; "),
        "give the EMR a certificate and use https, or put a TLS proxy on its machine",
    )
}

fn assertion(facts: &Facts) -> Verdict {
    let told: Vec<&Emr> = facts
        .config
        .emrs
        .iter()
        .filter(|emr| emr.identity.user_header.is_some() || emr.identity.assertion.is_some())
        .collect();
    if told.is_empty() {
        return not_applicable("no EMR is told who the user is; it has its own sign-in");
    }
    let naked: Vec<String> = told
        .iter()
        .filter(|emr| {
            emr.identity.assertion.is_none()
                && emr.backend.client_certificate.is_none()
                && !is_local(&emr.backend.url)
        })
        .map(|emr| {
            format!(
                "{}: whoever reaches it can name any user in a header",
                emr.name
            )
        })
        .collect();
    let how: Vec<String> = told
        .iter()
        .map(|emr| {
            let how = match &emr.identity.assertion {
                Some(assertion) => {
                    format!("signed, valid for {}", span(assertion.lifetime))
                }
                None if emr.backend.client_certificate.is_some() => {
                    "over a connection with a client certificate".to_owned()
                }
                None => "within this machine".to_owned(),
            };
            format!("{}: {how}", emr.name)
        })
        .collect();
    none_of(
        &naked,
        how.join("; "),
        "have the EMR verify `assertion` of [emr.identity], or a client certificate of the gateway",
    )
}

fn error_pages(facts: &Facts) -> Verdict {
    let shown: Vec<String> = facts
        .config
        .emrs
        .iter()
        .filter(|emr| emr.error_pages == ErrorPages::Pass)
        .map(|emr| format!("{} shows its own 5xx pages", emr.name))
        .collect();
    none_of(
        &shown,
        "every EMR's 5xx pages are replaced by CG-5005",
        "set `error_pages = \"hide\"`",
    )
}

fn proxies(facts: &Facts) -> Verdict {
    let proxies = &facts.config.server.trusted_proxies;
    if proxies.is_empty() {
        return pass("no X-Forwarded-For is believed");
    }
    let wide: Vec<String> = proxies
        .iter()
        .filter(|network| match network {
            ipnet::IpNet::V4(network) => network.prefix_len() < 8,
            ipnet::IpNet::V6(network) => network.prefix_len() < 32,
        })
        .map(ToString::to_string)
        .collect();
    let all: Vec<String> = proxies.iter().map(ToString::to_string).collect();
    none_of(
        &wide,
        all.join(", "),
        "name the addresses of your proxies in `server.trusted_proxies`: anybody in so large a network can claim any address on record",
    )
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("tls-versions", |facts| {
        if let Ok(listeners) = &mut facts.listeners {
            listeners[0].old_version = Taken::Accepted;
        }
    }),
    ("tls-suites", |facts| {
        if let Ok(listeners) = &mut facts.listeners {
            listeners[0].weak_suites = Taken::Accepted;
        }
    }),
    ("tls-certificates", |facts| {
        let end = facts.now.checked_add(Duration::from_hours(24)).unwrap();
        facts.certificates[0].leaf.as_mut().unwrap().not_after = end;
    }),
    ("tls-certificates", |facts| {
        facts.certificates[0].leaf = Err("server.pem is no PEM".to_owned());
    }),
    ("tls-keys", |facts| {
        let leaf = facts.certificates[0].leaf.as_mut().unwrap();
        (leaf.key_kind, leaf.key_bits) = ("RSA", 1024);
    }),
    ("http-redirects", |facts| {
        if let Ok(plain) = &mut facts.plain {
            plain[0].location = Ok("http://elsewhere.example/".to_owned());
        }
    }),
    ("hsts", |facts| {
        facts.config.server.hsts_max_age = Duration::ZERO;
    }),
    ("emr-transport", |facts| {
        facts.config.emrs[0].backend.url = "http://emr.internal:8080".parse().unwrap();
    }),
    ("emr-assertion", |facts| {
        let emr = &mut facts.config.emrs[0];
        emr.backend.url = "https://emr.internal".parse().unwrap();
        emr.identity.assertion = None;
    }),
    ("emr-error-pages", |facts| {
        facts.config.emrs[0].error_pages = ErrorPages::Pass;
    }),
    ("emr-cookies", |facts| {
        facts.profiles[0].bare_cookies = vec!["OpenEMR without HttpOnly".to_owned()];
    }),
    ("trusted-proxies", |facts| {
        facts.config.server.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()];
    }),
];
