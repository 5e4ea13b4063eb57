//! What a session is bound to beside its cookie: a client that changes it has to prove again who it is.
//!
//! What the client or the network states, a thief on the same ward can state too: that stops a cookie that was carried
//! off, not one that is used where it was stolen. The key of a client certificate is proven in every TLS handshake, the
//! key of a device every few minutes.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::origin::Origin;
use super::session::Live;
use crate::config::sessions::{BindTo, Binding};

/// What is not as it was when a session was opened, where it is used from `now`; nothing where all is.
pub(super) fn moved(binding: &Binding, live: &Live, now: &Origin, at: Timestamp) -> Option<BindTo> {
    let held = live.bond().get();
    binding.on.iter().copied().find(|what| match what {
        BindTo::UserAgent | BindTo::Network | BindTo::ClientCertificate => {
            differs(binding, *what, live.origin(), now)
        }
        BindTo::DeviceKey => held
            .as_ref()
            .is_some_and(|bond| !bond.holds(live.id(), now.proof.as_ref(), at)),
    })
}

/// Whether two origins differ in this.
fn differs(binding: &Binding, what: BindTo, before: &Origin, now: &Origin) -> bool {
    // A session of before an update does not know where it came from: it is bound at its next sign-in.
    let (Some(before_at), Some(now_at)) = (before.address, now.address) else {
        return false;
    };
    match what {
        BindTo::UserAgent => before.device != now.device,
        BindTo::Network => network(binding, before_at) != network(binding, now_at),
        BindTo::ClientCertificate => {
            before.certificate.is_some() && before.certificate != now.certificate
        }
        // Proven, not compared.
        BindTo::DeviceKey => false,
    }
}

/// A stable word for what changed, on record.
pub(super) const fn word(what: BindTo) -> &'static str {
    match what {
        BindTo::UserAgent => "user-agent",
        BindTo::Network => "network",
        BindTo::ClientCertificate => "client-certificate",
        BindTo::DeviceKey => "device-key",
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

    #[test]
    fn a_session_of_a_device_is_not_used_without_its_key() {
        let binding = Binding {
            on: vec![BindTo::ClientCertificate],
            ..Binding::default()
        };
        let with = |certificate: Option<&str>| Origin {
            address: Some(IpAddr::from([10, 0, 0, 1])),
            certificate: certificate.map(str::to_owned),
            ..Origin::default()
        };
        for (before, now, is_moved) in [
            (Some("a"), Some("a"), false),
            (Some("a"), Some("b"), true),
            (Some("a"), None, true),
            (None, None, false),
            (None, Some("a"), false),
        ] {
            let what = BindTo::ClientCertificate;
            let found = differs(&binding, what, &with(before), &with(now));
            assert_eq!(found, is_moved, "{before:?} {now:?}");
        }
    }
}
