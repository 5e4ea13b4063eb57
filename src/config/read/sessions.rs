//! `[identity.workstations]`, `[identity.sessions]` and `[identity.binding]`

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::section::Section;
use crate::config::sessions::{
    BindTo, Binding, NameBar, Sessions, SignInNotice, WhenFull, Workstations,
};
use crate::config::source::says;
use crate::config::value::{Fault, Value, one_of};

/// Most networks of shared workstations.
const MOST_NETWORKS: usize = 1_000;
/// Most sessions that a limit can allow one user.
const MOST_SESSIONS: usize = 64;
/// How long a proof of a device's key may be good for. Browsers sign a few times in ten minutes for one site, not more.
const PROOFS: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_hours(1);

/// The three tables below `[identity]`; nothing of them is required.
pub(super) fn sessions(identity: &mut Section<'_>, idle: Duration) -> Sessions {
    let workstations = workstations(identity.table("workstations"), idle);
    let mut section = identity.table("sessions");
    let per_user = section.within("per_user", 0, 0..=MOST_SESSIONS);
    let when_full = section.optional::<WhenFull>("when_full");
    if when_full.is_some() && per_user == 0 {
        let message = "`when_full` is set, but `per_user` sets no limit";
        let remedy = "add `per_user = 3`, or remove `when_full`";
        section.error("when_full", says(message, remedy));
    }
    let sign_in_notice = section.or("sign_in_notice", SignInNotice::default());
    section.done();
    Sessions {
        workstations,
        per_user,
        when_full: when_full.unwrap_or_default(),
        sign_in_notice,
        binding: binding(identity.table("binding")),
    }
}

fn workstations(mut section: Section<'_>, idle: Duration) -> Workstations {
    let shared: Vec<IpNet> = section.or("shared", Vec::new());
    if shared.len() > MOST_NETWORKS {
        let message = format!("{} networks; {MOST_NETWORKS} can be named", shared.len());
        section.error("shared", says(message, "join neighbouring networks"));
    }
    let idle_timeout = section.optional::<Duration>("idle_timeout");
    let sensible = Duration::from_mins(1)..=idle;
    if idle_timeout.is_some_and(|shorter| !sensible.contains(&shorter)) {
        let message = "it must be at least a minute and at most `identity.idle_timeout`";
        let remedy = "write a shorter span, like `idle_timeout = \"5m\"`";
        section.error("idle_timeout", says(message, remedy));
    }
    let name_bar = section.optional::<NameBar>("name_bar");
    if shared.is_empty() && (idle_timeout.is_some() || name_bar.is_some()) {
        let message = "no network of shared workstations is named, so nothing follows from this";
        let remedy = "add `shared = [\"10.2.0.0/16\"]`; `[\"0.0.0.0/0\", \"::/0\"]` is everywhere";
        section.error("shared", says(message, remedy));
    }
    section.done();
    Workstations {
        shared,
        idle_timeout,
        name_bar: name_bar.unwrap_or_default(),
    }
}

fn binding(mut section: Section<'_>) -> Binding {
    let usual = Binding::default();
    let mut on: Vec<BindTo> = section.or("on", Vec::new());
    on.sort_unstable();
    on.dedup();
    let prefix = |bits: u64| u8::try_from(bits).unwrap_or(u8::MAX);
    let ipv4 = section.within("ipv4_prefix", u64::from(usual.ipv4_prefix), 8..=32);
    let ipv6 = section.within("ipv6_prefix", u64::from(usual.ipv6_prefix), 16..=128);
    let proof = section.optional::<Duration>("device_proof_lifetime");
    if proof.is_some_and(|lifetime| !PROOFS.contains(&lifetime)) {
        let message = "it must be at least half a minute and at most an hour";
        let remedy = "write `device_proof_lifetime = \"10m\"`, or remove it";
        section.error("device_proof_lifetime", says(message, remedy));
    }
    if proof.is_some() && !on.contains(&BindTo::DeviceKey) {
        let message = "sessions are not bound to keys of devices, so nothing follows from this";
        let remedy = "add \"device-key\" to `on`, or remove `device_proof_lifetime`";
        section.error("device_proof_lifetime", says(message, remedy));
    }
    section.done();
    Binding {
        on,
        ipv4_prefix: prefix(ipv4),
        ipv6_prefix: prefix(ipv6),
        device_proof_lifetime: proof.unwrap_or(usual.device_proof_lifetime),
    }
}

impl Value for WhenFull {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [("refuse", Self::Refuse), ("end-oldest", Self::EndOldest)];
        one_of(value, faults, &words)
    }
}

impl Value for SignInNotice {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &[("off", Self::Off), ("on", Self::On)])
    }
}

impl Value for NameBar {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &[("on", Self::On), ("off", Self::Off)])
    }
}

impl Value for BindTo {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [
            ("user-agent", Self::UserAgent),
            ("network", Self::Network),
            ("client-certificate", Self::ClientCertificate),
            ("device-key", Self::DeviceKey),
        ];
        one_of(value, faults, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    #[test]
    fn a_session_is_bound_to_a_device_for_as_long_as_a_proof_is_sensible() {
        let fixture = Fixture::new();
        let with = |lines: &str| {
            let section = format!("[identity.binding]\n{lines}\n\n[identity.lock]");
            fixture.replaced("[identity.lock]", &section)
        };
        let binding = |lines: &str| with(lines).config.unwrap().identity.sessions.binding;
        let unset = fixture.read(TEMPLATE).config.unwrap().identity;
        assert_eq!(unset.sessions.binding, Binding::default());
        let usual = binding("on = [\"device-key\"]");
        assert_eq!(usual.on, [BindTo::DeviceKey]);
        assert_eq!(usual.device_proof_lifetime, Duration::from_mins(10));
        let shorter = binding("on = [\"device-key\"]\ndevice_proof_lifetime = \"30s\"");
        assert_eq!(shorter.device_proof_lifetime, Duration::from_secs(30));
        for (lines, message) in [
            (
                "device_proof_lifetime = \"10m\"",
                "nothing follows from this",
            ),
            (
                "on = [\"device-key\"]\ndevice_proof_lifetime = \"29s\"",
                "at least half a minute",
            ),
            (
                "on = [\"device-key\"]\ndevice_proof_lifetime = \"61m\"",
                "at most an hour",
            ),
            ("on = [\"device_key\"]", "`device_key` is not"),
        ] {
            let read = with(lines);
            let problem = sole(&read.problems);
            assert!(problem.message.contains(message), "{problem:?}");
        }
    }
}
