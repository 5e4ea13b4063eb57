//! The host that a request names, in one spelling.

use std::net::Ipv6Addr;

/// A host with an optional port, as one client named it, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `name` or `name:port`; lower-cases the name and drops its trailing dot.
    ///
    /// `None` for anything that is not letters, digits, hyphens and dots, or an IPv6 literal.
    // SECURITY: decision and forwarding use this one spelling, so no variant of case, dot or port can pick another
    // rule (CVE-2026-48794).
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let (name, port) = if let Some(rest) = raw.strip_prefix('[') {
            let (literal, after) = rest.split_once(']')?;
            let address: Ipv6Addr = literal.parse().ok()?;
            (format!("[{address}]"), after)
        } else {
            let (name, after) = raw.split_at_checked(raw.find(':').unwrap_or(raw.len()))?;
            (reg_name(name)?, after)
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse::<u16>().ok().filter(|port| *port != 0)?)
            }
            None | Some(_) => return None,
        };
        Some(Self { name, port })
    }

    /// The name: lower case, no port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if one was named.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Name and port as they stand in URLs.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            None => self.name.clone(),
            Some(port) => format!("{}:{port}", self.name),
        }
    }

    /// Whether both name the same place, given that the default port may be left out.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.name == other.name && self.port.unwrap_or(443) == other.port.unwrap_or(443)
    }
}

fn reg_name(raw: &str) -> Option<String> {
    let name = raw.strip_suffix('.').unwrap_or(raw);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_host_has_one_spelling() {
        for raw in [
            "EMR.Hospital.example",
            "emr.hospital.example.",
            "emr.hospital.EXAMPLE:443",
        ] {
            let host = Host::parse(raw).unwrap();
            assert_eq!(host.name(), "emr.hospital.example");
            assert!(host.agrees(&Host::parse("emr.hospital.example").unwrap()));
        }
        let v6 = Host::parse("[2001:DB8::0:1]:8443").unwrap();
        assert_eq!(v6.authority(), "[2001:db8::1]:8443");
        assert_eq!(v6.port(), Some(8443));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for raw in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:",
            "a:0",
            "a:65536",
            "a:80:80",
            "a_b",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[zz]",
            "::1",
            "ü",
            "a%2e",
            "a,b",
            "a\tb",
            "none:none",
        ] {
            assert_eq!(Host::parse(raw), None, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn canonical_form_reads_as_itself(raw in "[ -~]{0,40}") {
            if let Some(host) = Host::parse(&raw) {
                prop_assert_eq!(Host::parse(&host.authority()), Some(host));
            }
        }
    }
}
