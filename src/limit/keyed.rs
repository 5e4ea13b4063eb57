//! One rate limit over many keys, in bounded memory.
//!
//! *Never*: forgetting a key in its favour. When the table is full, new keys share a fixed number of overflow
//! buckets, so that a flood of keys can neither exhaust memory nor escape the limit.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, QuantaClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use crate::config::Rate;
use crate::request::Throttle;

const OVERFLOW_BUCKETS: u64 = 1024;

/// A limit by key.
#[derive(Debug)]
pub struct Keyed<K: Hash + Eq + Clone> {
    name: &'static str,
    rate: Rate,
    max_keys: usize,
    known: RateLimiter<K, DefaultKeyedStateStore<K>, QuantaClock>,
    overflow: RateLimiter<u64, DefaultKeyedStateStore<u64>, QuantaClock>,
    hasher: RandomState,
    clock: QuantaClock,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    /// A limit called `name` in answers and metrics, that remembers at most `max_keys` keys.
    #[must_use]
    pub fn new(name: &'static str, rate: Rate, max_keys: usize) -> Self {
        let clock = QuantaClock::default();
        let quota = quota(rate);
        Self {
            name,
            rate,
            max_keys,
            known: RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone()),
            overflow: RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone()),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Counts one request for `key`.
    ///
    /// # Errors
    /// [`Throttle`] says when the next one is accepted.
    pub fn check(&self, key: &K) -> Result<(), Throttle> {
        let full = self.known.len() >= self.max_keys;
        let verdict = if full {
            let bucket = self.hasher.hash_one(key).checked_rem(OVERFLOW_BUCKETS);
            self.overflow.check_key(&bucket.unwrap_or(0))
        } else {
            self.known.check_key(key)
        };
        verdict.map_err(|not_until| self.throttle(&not_until))
    }

    /// Forgets keys that are back at their full burst. Run it regularly.
    pub fn sweep(&self) {
        self.known.retain_recent();
        self.known.shrink_to_fit();
    }

    /// Keys remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn throttle(
        &self,
        not_until: &NotUntil<<QuantaClock as governor::clock::Clock>::Instant>,
    ) -> Throttle {
        Throttle {
            name: self.name,
            quota: self.rate.requests.get(),
            window: self.rate.per,
            retry: not_until.wait_time_from(self.clock.now()),
        }
    }
}

fn quota(rate: Rate) -> Quota {
    let interval = rate
        .per
        .checked_div(rate.requests.get())
        .filter(|interval| !interval.is_zero())
        .unwrap_or(Duration::from_nanos(1));
    Quota::with_period(interval)
        .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
        .allow_burst(rate.burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u32, burst: u32) -> Rate {
        Rate {
            requests: NonZeroU32::new(requests).unwrap(),
            per: Duration::from_hours(1),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_burst_is_allowed_and_the_next_is_told_when() {
        let limit = Keyed::new("user", rate(60, 3), 10);
        for _ in 0..3 {
            limit.check(&"a").unwrap();
        }
        let throttle = limit.check(&"a").unwrap_err();
        assert!(
            throttle.retry > Duration::from_secs(50) && throttle.retry <= Duration::from_mins(1)
        );
        limit.check(&"b").unwrap();
    }

    #[test]
    fn a_flood_of_keys_stays_bounded_and_limited() {
        let limit = Keyed::new("address", rate(1, 1), 100);
        let accepted = (0..50_000_u32)
            .filter(|key| limit.check(key).is_ok())
            .count();
        assert!(limit.len() <= 100);
        assert!(accepted <= 100 + 1024, "{accepted}");
    }
}
