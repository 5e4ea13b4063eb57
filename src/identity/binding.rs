//! What a session is bound to beside its cookie: a client that changes it has to prove again who it is.
//!
//! What is compared was stated by the client or by the network, and a thief on the same ward can state it too. It stops
//! a cookie that was carried off, not one that is used where it was stolen.
//!
//! A key that the browser proves it holds goes into [`moved`] as one more [`BindTo`].

use std::net::IpAddr;

use ipnet::IpNet;

use super::origin::Origin;
use crate::config::sessions::{BindTo, Binding};
use crate::request::received::Parts;

/// What of a request is not as it was when the session was opened; nothing where all is.
pub(super) fn changed(binding: &Binding, origin: &Origin, parts: &Parts) -> Option<BindTo> {
    if binding.on.is_empty() {
        return None;
    }
    moved(binding, origin, &Origin::of(parts))
}

/// What differs between two origins.
pub(super) fn moved(binding: &Binding, before: &Origin, now: &Origin) -> Option<BindTo> {
    // A session of before an update does not know where it came from: it is bound at its next sign-in.
    let (before_at, now_at) = (before.address?, now.address?);
    binding.on.iter().copied().find(|what| match what {
        BindTo::UserAgent => before.device != now.device,
        BindTo::Network => network(binding, before_at) != network(binding, now_at),
    })
}

/// A stable word for what changed, on record.
pub(super) const fn word(what: BindTo) -> &'static str {
    match what {
        BindTo::UserAgent => "user-agent",
        BindTo::Network => "network",
    }
}

/// The network that an address is in; none where the prefix is too long for it, which equals nothing else.
fn network(binding: &Binding, address: IpAddr) -> Option<IpNet> {
    let address = address.to_canonical();
    let prefix = match address {
        IpAddr::V4(_) => binding.ipv4_prefix,
        IpAddr::V6(_) => binding.ipv6_prefix,
    };
    IpNet::new(address, prefix).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_by_their_leading_bits() {
        let binding = Binding::default();
        let of = |text: &str| network(&binding, text.parse().unwrap());
        assert_eq!(of("10.2.3.4"), of("10.2.3.250"));
        assert_ne!(of("10.2.3.4"), of("10.2.4.4"));
        assert_eq!(of("::ffff:10.2.3.4"), of("10.2.3.9"));
        assert_eq!(of("2001:db8:0:1200::1"), of("2001:db8:0:12ff::1"));
        assert_ne!(of("2001:db8:0:1200::1"), of("2001:db8:0:1300::1"));
        assert_ne!(of("10.2.3.4"), of("2001:db8::1"));
    }
}
