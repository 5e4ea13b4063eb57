//! A syslog receiver over TLS, wherever one is configured.

use std::path::PathBuf;

use super::Certificate;

/// The port of syslog over TLS (RFC 5425, 4.1).
pub const SYSLOG_TLS: u16 = 6514;

/// Where syslog messages are sent, and how both sides prove who they are.
#[derive(Debug, Clone)]
pub struct SyslogServer {
    /// Its DNS name or address: what its certificate must be for.
    pub host: String,
    /// Default 6514.
    pub port: u16,
    /// The CA that its certificate must come from. Default: the system's roots.
    pub ca: Option<PathBuf>,
    /// What the gateway shows (mutual TLS).
    pub certificate: Option<Certificate>,
}

impl SyslogServer {
    /// Reads `host`, `host:6514` or `[2001:db8::1]:6514`; `None` where it is none of these.
    #[must_use]
    pub fn at(text: &str, ca: Option<PathBuf>, certificate: Option<Certificate>) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        let is_name = |host: &str| (1..=253).contains(&host.len()) && host.chars().all(plain);
        // An IPv6 address without brackets could end in a port or not.
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (host, port)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            (is_name(host).then_some(host)?, port)
        };
        let port = port.map_or(Ok(SYSLOG_TLS), str::parse).ok()?;
        (port != 0).then(|| Self {
            host: host.to_owned(),
            port,
            ca,
            certificate,
        })
    }
}

impl std::fmt::Display for SyslogServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port() {
        let read = |text| SyslogServer::at(text, None, None).map(|server| server.to_string());
        for (text, shown) in [
            ("logs.hospital.example", "logs.hospital.example:6514"),
            ("logs.hospital.example:10514", "logs.hospital.example:10514"),
            ("192.0.2.7:6514", "192.0.2.7:6514"),
            ("[2001:db8::1]", "[2001:db8::1]:6514"),
            ("[2001:db8::1]:601", "[2001:db8::1]:601"),
        ] {
            assert_eq!(read(text).as_deref(), Some(shown));
        }
        for text in [
            "",
            ":6514",
            "logs:",
            "logs:0",
            "logs:65536",
            "logs:x",
            "a b:1",
            "[::1",
            "[::1]601",
            "[logs]:1",
            "tls://logs:1",
            "::1",
            "1::2:3",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
