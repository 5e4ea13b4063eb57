//! Sessions beyond their lifetimes: shared workstations, how many one user may have, and what they are bound to.

use std::time::Duration;

use ipnet::IpNet;

/// `[identity.workstations]`, `[identity.sessions]` and `[identity.binding]`
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Workstations that several people use.
    pub workstations: Workstations,
    /// Sessions that one user may have at once; zero sets no limit. Default 0.
    pub per_user: usize,
    /// What becomes of a sign-in beyond that. Default `refuse`.
    pub when_full: WhenFull,
    /// Whether people are told of their last sign-in after a new one. Default `off`.
    pub sign_in_notice: SignInNotice,
    /// What a session is bound to beside its cookie.
    pub binding: Binding,
}

/// Workstations that several people use. `[identity.workstations]`
#[derive(Debug, Clone, Default)]
pub struct Workstations {
    /// Networks of shared workstations. Default none.
    pub shared: Vec<IpNet>,
    /// A session there ends after this without activity. Default: `identity.idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// Whether pages of the EMR say there who is signed in. Default `on`.
    pub name_bar: NameBar,
}

/// What becomes of a sign-in of someone who has as many sessions as are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is refused (`CG-2026`).
    #[default]
    Refuse,
    /// The session that was opened first ends.
    EndOldest,
}

/// Whether people are told of their last sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignInNotice {
    /// Only on their page of sessions.
    #[default]
    Off,
    /// On the EMR's pages that they open in the first minute.
    On,
}

/// Whether pages of the EMR say who is signed in, with a link to switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameBar {
    /// They do.
    #[default]
    On,
    /// They do not.
    Off,
}

/// What a session is bound to beside its cookie. `[identity.binding]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What may not change. Default nothing.
    pub on: Vec<BindTo>,
    /// Leading bits of an IPv4 address that are its network. Default 24.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that are its network. Default 56.
    pub ipv6_prefix: u8,
    /// How long a proof of the device's key is good for; then the browser makes another. Default 10 minutes.
    pub device_proof_lifetime: Duration,
}

impl Default for Binding {
    fn default() -> Self {
        Self {
            on: Vec::new(),
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            device_proof_lifetime: Duration::from_mins(10),
        }
    }
}

/// Something about the client that may not change while a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindTo {
    /// Which browser, on which kind of system. Not the version, which an update changes.
    UserAgent,
    /// The network of the client's address.
    Network,
    /// The certificate that the client proved in the TLS handshake to hold the key of. A session that was opened without
    /// one is not bound.
    ClientCertificate,
    /// A key that the browser made for this session and that does not leave the device (Device Bound Session
    /// Credentials). A session in a browser that does not know them is not bound.
    DeviceKey,
}
