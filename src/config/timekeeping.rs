//! Who says what time it is. `[clock]`

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The port of NTP (RFC 5905 §7.2).
const NTP: u16 = 123;

/// Whose time is compared with this machine's.
#[derive(Debug, Clone)]
pub struct Timekeeping {
    /// NTP servers that are asked; none where the machine's own time service is believed.
    pub servers: Vec<TimeServer>,
    /// How often they are asked. Default 64 s.
    pub poll: Duration,
    /// A clock that is further off is an alarm. Default 1 s.
    pub most_offset: Duration,
}

/// An NTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeServer {
    /// Its name or address.
    pub host: String,
    /// Its port. Default 123.
    pub port: u16,
}

impl TimeServer {
    /// Reads `ntp.example`, `ntp.example:1123`, `10.0.0.1`, `10.0.0.1:1123`, `::1` or `[::1]:1123`; `None` where it is
    /// none of these.
    #[must_use]
    pub fn at(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0).then(|| Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            let host = address.to_string();
            return Some(Self { host, port: NTP });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, written)) => (host, written.parse().ok().filter(|port| *port != 0)?),
            None => (text, NTP),
        };
        let fits = |label: &str| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let name = host.trim_end_matches('.');
        (name.len() <= 253 && name.split('.').all(fits)).then(|| Self {
            host: name.to_ascii_lowercase(),
            port,
        })
    }
}

impl std::fmt::Display for TimeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
