//! `[segmentation]` and its probes.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::ShortName;
use crate::config::{Emr, Probe, Segmentation};

/// `[segmentation]`; without it nothing is probed.
pub(super) fn segmentation(root: &mut Section<'_>, emrs: Option<&[Emr]>) -> Segmentation {
    let mut section = root.table("segmentation");
    let minutes = Duration::from_mins;
    let interval = section.within("interval", minutes(15), minutes(1)..=minutes(24 * 60));
    let probes = section.tables("probe");
    let probes = probes
        .into_iter()
        .filter_map(|section| probe(section, emrs));
    let probes: Vec<Probe> = probes.collect();
    for (index, probe) in probes.iter().enumerate() {
        if probes
            .iter()
            .take(index)
            .any(|other| other.name == probe.name)
        {
            let message = format!("there are two probes called `{}`", probe.name);
            section.error("probe", says(message, "give each probe its own name"));
        }
    }
    section.done();
    Segmentation { interval, probes }
}

fn probe(mut section: Section<'_>, emrs: Option<&[Emr]>) -> Option<Probe> {
    let name = section.required("name", "name = \"from-the-wards\"");
    let emr: Option<String> = section.required("emr", "emr = \"emr\"");
    let from: Option<String> = section.optional("from");
    let from: Option<IpAddr> = from.and_then(|text| {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let message = format!("`{text}` is not an address");
            section.error(
                "from",
                says(
                    message,
                    "name an address of this machine, like `from = \"10.1.0.7\"`",
                ),
            );
        }
        parsed
    });
    let address: Option<String> = section.optional("address");
    let own = emr.as_ref().zip(emrs).and_then(|(name, emrs)| {
        let found = emrs.iter().find(|emr| emr.name == *name);
        if found.is_none() {
            let message = format!("there is no EMR called `{name}`");
            section.error("emr", says(message, "use the name of an `[[emr]]`"));
        }
        found
    });
    let place = match (&address, from) {
        (Some(address), _) => {
            let parsed = host_and_port(address);
            if parsed.is_none() {
                let message = format!("`{address}` is not a host with a port");
                section.error(
                    "address",
                    says(message, "write it like `address = \"emr.internal:8443\"`"),
                );
            }
            parsed
        }
        (None, Some(_)) => own.and_then(|emr| {
            let url = &emr.backend.url;
            Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
        }),
        (None, None) => {
            let message = "the probe has neither `address` nor `from`: it would find the EMR where the gateway itself reaches it";
            let remedy = "name another address at which the EMR must not answer, or a source address of another zone";
            section.error("name", says(message, remedy));
            None
        }
    };
    section.done();
    let ShortName(name) = name?;
    let (host, port) = place?;
    Some(Probe {
        name,
        emr: emr?,
        host,
        port,
        from,
    })
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host.trim_matches(['[', ']']);
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if bare.is_empty() || bare.contains(['/', '@', ' ']) || (bare.contains(':') && !bracketed) {
        return None;
    }
    Some((bare.to_owned(), port))
}
