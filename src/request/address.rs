//! Two addresses that must never be mixed up: who connected, and on whose behalf.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The other end of the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(SocketAddr);

impl PeerAddr {
    /// The address that the operating system reported for the connection.
    #[must_use]
    pub const fn new(addr: SocketAddr) -> Self {
        Self(addr)
    }

    /// The address without the port; IPv4-mapped IPv6 is IPv4.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

/// The client: the peer itself, or what a trusted proxy in front says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// Finds the client behind `peer`.
    ///
    /// `X-Forwarded-For` is read from the right while the hop that wrote it is in `trusted`; the first untrusted
    /// address is the client. An unreadable entry ends the walk at the last hop that can be believed.
    ///
    /// SECURITY: from an untrusted peer the header is not read at all, so nobody can choose the address that
    /// limits and records use.
    #[must_use]
    pub fn find(peer: PeerAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
        let mut client = peer.ip();
        if !is_trusted(client) {
            return Self(client);
        }
        let entries: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .map(str::trim)
            .collect();
        for entry in entries.into_iter().rev() {
            let Ok(hop) = entry.parse::<IpAddr>() else {
                break;
            };
            client = hop.to_canonical();
            if !is_trusted(client) {
                break;
            }
        }
        Self(client)
    }

    /// The address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// The key that per-address limits use: one IPv4 address, or one IPv6 /64 (RFC 6177: what one site is given).
    #[must_use]
    pub fn limit_key(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
        }
    }
}

impl From<IpAddr> for ClientAddr {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(peer: &str, xff: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in xff {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let nets: Vec<IpNet> = trusted.iter().map(|n| n.parse().unwrap()).collect();
        let peer = PeerAddr::new(SocketAddr::new(peer.parse().unwrap(), 1));
        ClientAddr::find(peer, &headers, &nets).to_string()
    }

    #[test]
    fn untrusted_peer_cannot_choose_its_address() {
        assert_eq!(
            find("203.0.113.9", &["10.0.0.1"], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn walks_from_the_right_through_trusted_hops_only() {
        let nets = ["10.0.0.0/8"];
        assert_eq!(
            find("10.0.0.2", &["1.2.3.4, 198.51.100.7, 10.0.0.3"], &nets),
            "198.51.100.7"
        );
        assert_eq!(
            find("10.0.0.2", &["1.2.3.4", "198.51.100.7"], &nets),
            "198.51.100.7"
        );
        assert_eq!(find("10.0.0.2", &["1.2.3.4, nonsense"], &nets), "10.0.0.2");
        assert_eq!(find("10.0.0.2", &[], &nets), "10.0.0.2");
    }

    #[test]
    fn ipv6_is_limited_by_its_64_prefix() {
        let a = ClientAddr::from("2001:db8:1:2:3:4:5:6".parse::<IpAddr>().unwrap());
        let b = ClientAddr::from("2001:db8:1:2:ffff::1".parse::<IpAddr>().unwrap());
        assert_eq!(a.limit_key(), b.limit_key());
    }
}
