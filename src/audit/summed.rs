//! Anonymous refusals beyond the rate at which they are recorded singly: summed per address and code.
//!
//! *Owns*: the sums of the current minute, in bounded memory; addresses beyond the bound are summed together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

type Counts = BTreeMap<String, u64>;

/// Sums by address; `None` collects what came after the table was full.
#[derive(Debug)]
pub(super) struct Sums {
    max_keys: usize,
    counts: Mutex<BTreeMap<Option<IpAddr>, Counts>>,
}

impl Sums {
    pub(super) const fn new(max_keys: usize) -> Self {
        Self {
            max_keys,
            counts: Mutex::new(BTreeMap::new()),
        }
    }

    pub(super) fn add(&self, address: IpAddr, what: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.len() < self.max_keys || counts.contains_key(&Some(address));
        let sums = counts.entry(known.then_some(address)).or_default();
        let count = sums.entry(what.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// The sums so far, as event details; starts anew.
    pub(super) fn take(&self) -> Vec<(Option<IpAddr>, BTreeMap<String, String>)> {
        let counts =
            std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let detail = |(address, sums): (Option<IpAddr>, Counts)| {
            let name = address.map_or_else(|| "others".to_owned(), |address| address.to_string());
            let mut detail: BTreeMap<_, _> = sums
                .into_iter()
                .map(|(code, n)| (code, n.to_string()))
                .collect();
            detail.insert("client".to_owned(), name);
            (address, detail)
        };
        counts.into_iter().map(detail).collect()
    }

    /// Adds sums again that could not be recorded.
    pub(super) fn put_back(&self, address: Option<IpAddr>, detail: &BTreeMap<String, String>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = counts.entry(address).or_default();
        for (code, n) in detail {
            if let Ok(n) = n.parse::<u64>() {
                let count = sums.entry(code.clone()).or_default();
                *count = count.saturating_add(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_from_the_count() {
        let sums = Sums::new(10);
        for n in 0..1000_u32 {
            sums.add(IpAddr::from(n.to_be_bytes()), "CG-2001");
        }
        let taken = sums.take();
        assert_eq!(taken.len(), 11);
        let total: u64 = taken
            .iter()
            .map(|(_, detail)| detail["CG-2001"].parse::<u64>().unwrap())
            .sum();
        assert_eq!(total, 1000);
        assert!(sums.take().is_empty());
    }

    #[test]
    fn what_was_put_back_is_counted_again() {
        let sums = Sums::new(10);
        let address = IpAddr::from([192, 0, 2, 1]);
        sums.add(address, "CG-2001");
        for (address, detail) in sums.take() {
            sums.put_back(address, &detail);
        }
        sums.add(address, "CG-2001");
        assert_eq!(sums.take()[0].1["CG-2001"], "2");
    }
}
