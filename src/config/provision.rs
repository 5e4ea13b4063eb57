//! Who works here, as the directory and the personnel system say it. `[provisioning]`

use std::path::PathBuf;

use ipnet::IpNet;

use crate::secret::Secret;

/// Deprovisioning. `[provisioning]`
#[derive(Debug, Clone)]
pub struct Provisioning {
    /// The issuer whose users are meant.
    pub issuer: String,
    /// The SCIM endpoint, where it is opened.
    pub scim: Option<Scim>,
    /// A CSV file of the personnel system.
    pub feed: Option<PathBuf>,
    /// A file that would keep out more people than this at once is not taken over. Default 50.
    pub feed_most: usize,
}

/// The SCIM endpoint. `[provisioning.scim]`
#[derive(Debug, Clone)]
pub struct Scim {
    /// What the client presents as `Authorization: Bearer`; at least 32 characters.
    pub token: Secret<String>,
    /// The token before it, while the client is changed over.
    pub previous_token: Option<Secret<String>>,
    /// Where the client may come from; everywhere, if empty.
    pub networks: Vec<IpNet>,
    /// How a SCIM user is known as a user who signs in.
    pub known_by: KnownBy,
}

/// Which attribute of a SCIM user names the user who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// `userName` is the user's name, in any case of letters.
    UserName,
    /// `externalId` is the `sub` of the issuer.
    ExternalId,
}
