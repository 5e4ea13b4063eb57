//! How many connections there are, in total and per address.
//!
//! *Owns*: the counts. A [`Slot`] lives as long as its socket, upgraded or not, and gives back its place when it
//! is dropped.
//! *On failure*: [`Full`]; the connection is closed before a byte of it is read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::mpsc;

use crate::request::{ClientAddr, PeerAddr};

/// The counts, shared by all workers.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_per_address: usize,
    /// Proxies in front: all clients come from these addresses, so no count per address can be kept for them.
    trusted: Vec<IpNet>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many connections as the configuration allows in total.
    #[error("as many connections as `max_connections` allows")]
    Total,
    /// As many connections as the configuration allows from one address.
    #[error("as many connections as `max_connections_per_address` allows")]
    Address,
}

/// A connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Slot {
    connections: Arc<Connections>,
    key: Option<IpAddr>,
    /// Held so that a worker can wait until its last socket is closed.
    _alive: mpsc::Sender<()>,
}

impl Connections {
    /// Counts up to `most` connections, and up to `most_per_address` from each address that is not `trusted`.
    #[must_use]
    pub fn new(most: usize, most_per_address: usize, trusted: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_address,
            trusted,
            open: Mutex::default(),
        })
    }

    /// Takes a place for a connection of `peer`.
    ///
    /// # Errors
    /// [`Full`] when a limit is reached.
    pub fn admit(self: &Arc<Self>, peer: PeerAddr, alive: &mpsc::Sender<()>) -> Result<Slot, Full> {
        let ip = peer.ip();
        let key = (!self.trusted.iter().any(|net| net.contains(&ip)))
            .then(|| ClientAddr::from(ip).limit_key());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.most {
            return Err(Full::Total);
        }
        if let Some(key) = key {
            let count = open.by_address.entry(key).or_insert(0);
            if *count >= self.most_per_address {
                return Err(Full::Address);
            }
            *count = count.saturating_add(1);
        }
        open.total = open.total.saturating_add(1);
        Ok(Slot {
            connections: Arc::clone(self),
            key,
            _alive: alive.clone(),
        })
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .total
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self
            .connections
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(key) = self.key
            && let Some(count) = open.by_address.get_mut(&key)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_address.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn peer(ip: &str) -> PeerAddr {
        PeerAddr::new(SocketAddr::new(ip.parse().unwrap(), 1))
    }

    #[test]
    fn places_are_counted_by_address_and_in_total_and_come_back() {
        let (alive, _rest) = mpsc::channel(1);
        let counts = Connections::new(4, 2, vec!["10.0.0.0/8".parse().unwrap()]);
        let a = counts.admit(peer("2001:db8::1"), &alive).unwrap();
        let _b = counts.admit(peer("2001:db8::2:1"), &alive).unwrap();
        assert_eq!(
            counts.admit(peer("2001:db8::3"), &alive).unwrap_err(),
            Full::Address
        );
        drop(a);
        let _c = counts.admit(peer("2001:db8::3"), &alive).unwrap();
        let _d = counts.admit(peer("10.0.0.1"), &alive).unwrap();
        let _e = counts.admit(peer("10.0.0.1"), &alive).unwrap();
        assert_eq!(
            counts.admit(peer("10.0.0.1"), &alive).unwrap_err(),
            Full::Total
        );
        assert_eq!(counts.open(), 4);
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let (alive, _rest) = mpsc::channel(1);
        let counts = Connections::new(4, 2, Vec::new());
        drop(counts.admit(peer("192.0.2.1"), &alive));
        assert!(counts.open.lock().unwrap().by_address.is_empty());
    }
}
