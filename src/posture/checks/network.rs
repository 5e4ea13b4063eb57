//! The way around the gateway, and the networks that policies speak of.

use std::collections::BTreeSet;

use super::{
    Area, Check, Level, Verdict, fail, named, none_of, not_applicable, pass, unknown, warn,
};
use crate::posture::facts::{Facts, Probe};

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "bypass-probed",
        area: Area::Network,
        level: Level::High,
        asks: "Is a place probed for every EMR at which it must not answer?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(A)",
            "45 CFR 164.312(e)(1)",
            "GDPR Art. 32(1)(d)",
        ],
        judge: |facts| {
            let probed: BTreeSet<&str> = facts
                .config
                .segmentation
                .probes
                .iter()
                .map(|probe| probe.emr.as_str())
                .collect();
            let open: Vec<String> = facts
                .config
                .emrs
                .iter()
                .filter(|emr| !probed.contains(emr.name.as_str()))
                .map(|emr| format!("{}: nobody looks for a way around the gateway", emr.name))
                .collect();
            none_of(
                &open,
                format!("{} probes", facts.config.segmentation.probes.len()),
                "add a [[segmentation.probe]] for it (docs/segmentation.md)",
            )
        },
    },
    Check {
        id: "no-bypass",
        area: Area::Network,
        level: Level::Critical,
        asks: "Did every probe find nobody around the gateway?",
        controls: &[
            "45 CFR 164.308(a)(1)(ii)(B)",
            "45 CFR 164.312(a)(1)",
            "45 CFR 164.312(e)(1)",
            "GDPR Art. 32(1)(b)",
        ],
        judge: bypass,
    },
    Check {
        id: "network-zones",
        area: Area::Network,
        level: Level::Medium,
        asks: "Do policies know which networks are the hospital's own?",
        controls: &["45 CFR 164.312(a)(1)", "GDPR Art. 32(1)(b)"],
        judge: |facts| match &facts.bundle {
            Err(why) => unknown(why),
            Ok(bundle) if bundle.zones.is_empty() => fail(
                "networks.toml names no zone: lockdown L3 would let nobody in",
                "name the hospital's networks in networks.toml of the bundle",
            ),
            Ok(bundle) => pass(bundle.zones.join(", ")),
        },
    },
    Check {
        id: "admin-local",
        area: Area::Network,
        level: Level::High,
        asks: "Are health and metrics answered on this machine only?",
        controls: &["45 CFR 164.312(a)(1)", "GDPR Art. 32(1)(b)"],
        judge: |facts| match facts.config.admin.listen {
            None => not_applicable("there is no such listener"),
            Some(address) if address.ip().is_loopback() => pass(address.to_string()),
            Some(address) => fail(
                format!("{address} can be reached from elsewhere, without sign-in"),
                "set `admin.listen` to a loopback address, or keep it behind a firewall and accept this finding",
            ),
        },
    },
];

fn bypass(facts: &Facts) -> Verdict {
    let found = match &facts.probes {
        Ok(found) => found,
        Err(why) => return unknown(why),
    };
    if found.is_empty() {
        return not_applicable("no probe is configured");
    }
    let (mut open, mut unsure, mut closed) = (Vec::new(), Vec::new(), 0_usize);
    for finding in found {
        match &finding.answer {
            Probe::Somebody(address) => {
                open.push(format!(
                    "{} answers at {address} ({})",
                    finding.emr, finding.name
                ));
            }
            Probe::Unsure(why) => unsure.push(format!("{}: {why}", finding.name)),
            Probe::Nobody => closed = closed.saturating_add(1),
        }
    }
    if !open.is_empty() {
        return fail(
            named(&open),
            "close it in the firewall, or bind the EMR to the address that only the gateway uses",
        );
    }
    if closed == 0 {
        return unknown(&named(&unsure));
    }
    let evidence = format!("{closed} probes found nobody");
    if unsure.is_empty() {
        pass(evidence)
    } else {
        warn(
            format!("{evidence}; could not be made: {}", named(&unsure)),
            "correct the probe, or the way that it takes",
        )
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("bypass-probed", |facts| {
        facts.config.segmentation.probes.clear();
    }),
    ("no-bypass", |facts| {
        if let Ok(probes) = &mut facts.probes {
            probes[0].answer = Probe::Somebody("192.0.2.10:8080".parse().unwrap());
        }
    }),
    ("network-zones", |facts| {
        if let Ok(bundle) = &mut facts.bundle {
            bundle.zones.clear();
        }
    }),
    ("admin-local", |facts| {
        facts.config.admin.listen = Some("0.0.0.0:9090".parse().unwrap());
    }),
];
