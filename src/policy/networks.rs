//! `networks.toml`: names for the networks that clients come from.
//!
//! *Never*: a zone by default. An address that no zone contains is `outside`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::problem::{Findings, line_of};
use super::question::UNKNOWN_ZONE;
use super::rule::is_name;

/// The zone of an address that no zone contains.
pub const OUTSIDE: &str = "outside";
/// Most networks of a bundle.
const MOST_NETWORKS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNetworks {
    #[serde(default)]
    zone: Vec<RawZone>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawZone {
    name: Spanned<String>,
    networks: Vec<Spanned<String>>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, as policies and records use it.
    pub name: Arc<str>,
    /// Its networks.
    pub networks: Vec<IpNet>,
}

/// The zones of a bundle, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    zones: Vec<Zone>,
    otherwise: Arc<str>,
}

impl Networks {
    /// No `networks.toml`: every address is in the zone `unknown`.
    #[must_use]
    pub fn undefined() -> Self {
        Self {
            zones: Vec::new(),
            otherwise: Arc::from(UNKNOWN_ZONE),
        }
    }

    pub(super) fn read(file: &Path, text: &str, findings: &mut Findings) -> Self {
        let mut read = Self {
            zones: Vec::new(),
            otherwise: Arc::from(OUTSIDE),
        };
        let remedy =
            "Write `[[zone]]` with `name = \"on-site\"` and `networks = [\"10.20.0.0/16\"]`.";
        let raw = match toml::from_str::<RawNetworks>(text) {
            Ok(raw) => raw,
            Err(error) => {
                let line = error.span().map(|span| line_of(text, span.start));
                findings.push(file, line, error.message().trim_end(), remedy);
                return read;
            }
        };
        for zone in raw.zone {
            let line = Some(line_of(text, zone.name.span().start));
            let name = zone.name.into_inner();
            let taken = [OUTSIDE, UNKNOWN_ZONE].contains(&name.as_str())
                || read.zones.iter().any(|known| *known.name == *name);
            if taken || !is_name(&name) {
                let problem = format!("the zone name \"{name}\" is taken or cannot be used");
                findings.push(file, line, problem, remedy);
            }
            let networks = zone
                .networks
                .into_iter()
                .filter_map(|written| network(file, text, &written, findings))
                .collect();
            read.zones.push(Zone {
                name: Arc::from(name),
                networks,
            });
        }
        if read
            .zones
            .iter()
            .map(|zone| zone.networks.len())
            .sum::<usize>()
            > MOST_NETWORKS
        {
            let problem = format!("there are more than {MOST_NETWORKS} networks");
            findings.push(file, None, problem, "Join neighbouring networks.");
        }
        read
    }

    /// The zone that `address` is in: of the first in the file whose network contains it.
    #[must_use]
    pub fn zone_of(&self, address: IpAddr) -> &Arc<str> {
        // INVARIANT: an IPv4 address has one spelling, so that `::ffff:10.0.0.1` cannot leave its zone.
        let address = address.to_canonical();
        self.zones
            .iter()
            .find(|zone| {
                zone.networks
                    .iter()
                    .any(|network| network.contains(&address))
            })
            .map_or(&self.otherwise, |zone| &zone.name)
    }

    /// The zones, in the order of the file.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Whether there is a zone of this name; `outside` always is one where zones are defined.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        *self.otherwise == *name || self.zones.iter().any(|zone| *zone.name == *name)
    }
}

fn network(
    file: &Path,
    text: &str,
    written: &Spanned<String>,
    findings: &mut Findings,
) -> Option<IpNet> {
    let value = written.get_ref();
    let parsed = value
        .parse::<IpNet>()
        .or_else(|_| value.parse::<IpAddr>().map(IpNet::from));
    if parsed.is_err() {
        findings.push(
            file,
            Some(line_of(text, written.span().start)),
            format!("`{value}` is no network"),
            "Write an address with a prefix length, such as 10.20.0.0/16 or fd00::/8.",
        );
    }
    parsed.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Networks, bool) {
        let mut findings = Findings::default();
        let networks = Networks::read(Path::new("networks.toml"), text, &mut findings);
        (networks, findings.is_empty())
    }

    #[test]
    fn the_first_zone_that_contains_an_address_is_its_zone() {
        let (networks, fine) = read(
            "[[zone]]\nname = \"ward-3\"\nnetworks = [\"10.20.3.0/24\"]\n[[zone]]\nname = \"on-site\"\nnetworks = [\"10.20.0.0/16\", \"fd00::/8\", \"192.0.2.1\"]\n",
        );
        assert!(fine);
        let zone = |address: &str| networks.zone_of(address.parse().unwrap()).to_string();
        assert_eq!(zone("10.20.3.9"), "ward-3");
        assert_eq!(zone("::ffff:10.20.3.9"), "ward-3");
        assert_eq!(zone("10.20.4.9"), "on-site");
        assert_eq!(zone("fd00::1"), "on-site");
        assert_eq!(zone("192.0.2.1"), "on-site");
        assert_eq!(zone("192.0.2.2"), "outside");
        assert!(networks.has("outside") && networks.has("ward-3") && !networks.has("home"));
        let nowhere = Networks::undefined();
        assert_eq!(&**nowhere.zone_of("10.20.3.9".parse().unwrap()), "unknown");
    }

    #[test]
    fn what_is_wrong_is_found() {
        for text in [
            "[[zone]]\nname = \"outside\"\nnetworks = []",
            "[[zone]]\nname = \"a b\"\nnetworks = []",
            "[[zone]]\nname = \"a\"\nnetworks = [\"10.0.0.0/33\"]",
            "[[zone]]\nname = \"a\"\nnetworks = []\n[[zone]]\nname = \"a\"\nnetworks = []",
            "[[zone]]\nname = \"a\"\nnets = []",
            "zone = 1",
        ] {
            assert!(!read(text).1, "{text}");
        }
    }
}
