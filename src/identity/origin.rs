//! Where a session was opened, where it was used last, and for what.
//!
//! *Never*: a text of the client's own; a list without an end.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::cookie::device_proof;
use super::device_key::DeviceProof;
use super::visits::Welcome;
use crate::request::Device;
use crate::request::received::Parts;

/// Most EMRs that a session is said to have used.
const MOST_EMRS: usize = 16;

/// Where and how a session was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The client's address; none in sessions of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<IpAddr>,
    /// The client's device.
    #[serde(default)]
    pub(super) device: Device,
    /// SHA-256 of the client's certificate, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<String>,
    /// What its user is told of the sign-in before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) welcome: Option<Welcome>,
    /// What the request presents as proof of its device.
    #[serde(skip)]
    pub(super) proof: Option<DeviceProof>,
}

impl Origin {
    /// A session that this request opens.
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            address: Some(parts.client.ip()),
            device: Device::of(&parts.headers),
            certificate: parts
                .connection
                .certificate
                .as_ref()
                .map(|certificate| hex::encode(certificate.thumbprint())),
            welcome: None,
            proof: device_proof(&parts.headers),
        }
    }
}

/// What a session was used for, as the store keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Used {
    /// From where last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<IpAddr>,
    /// For which EMRs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) emrs: BTreeSet<String>,
}

/// What a session in use was used for.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<Used>);

impl Usage {
    pub(super) const fn of(used: Used) -> Self {
        Self(Mutex::new(used))
    }

    pub(super) fn note(&self, address: IpAddr, emr: Option<&str>) {
        let mut used = self.lock();
        used.address = Some(address);
        if let Some(emr) = emr
            && !used.emrs.contains(emr)
            && used.emrs.len() < MOST_EMRS
        {
            used.emrs.insert(emr.to_owned());
        }
    }

    pub(super) fn told(&self) -> Used {
        self.lock().clone()
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.lock().address
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_is_used_for_is_bounded() {
        let usage = Usage::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        for number in 0..100 {
            usage.note(address, Some(&format!("emr-{number}")));
        }
        usage.note(address, None);
        assert_eq!(usage.told().emrs.len(), MOST_EMRS);
        assert_eq!(usage.address(), Some(address));
    }
}
