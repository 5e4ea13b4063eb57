//! What permits allow one user in a span of time (`@limit("20/h")`).
//!
//! *Owns*: a limiter for each quota that was ever asked for, keyed by user and permit. They outlive the bundle that
//! names them, so that a reload gives nobody their requests back.
//! *Never*: a request counted that another limit refuses, but for the share that comes back before that limit lets the
//! next one pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::keyed::Keyed;
use crate::config::Rate;
use crate::request::Throttle;
use crate::request::allowance::{Allowance, Quota};

/// A user under a permit.
type Key = (String, Arc<str>);
type Limiters = BTreeMap<Quota, Arc<Keyed<Key>>>;

/// The limiters of permits.
#[derive(Debug)]
pub(super) struct Allowances {
    // Read at each request that has a limit, written when a quota is seen for the first time. Quotas come from bundles
    // only, so there are few.
    limiters: ArcSwap<Limiters>,
    max_keys: usize,
}

impl Allowances {
    /// Limiters that remember at most `max_keys` users each.
    pub(super) fn new(max_keys: usize) -> Self {
        Self {
            limiters: ArcSwap::default(),
            max_keys,
        }
    }

    /// Counts one request of `user` under each of `allowances`, in the order in which a request comes back to them, the
    /// quickest first: what a later one refuses has come back to the earlier ones before the later one lets the next pass.
    ///
    /// # Errors
    /// [`Throttle`] says when the next one is accepted.
    pub(super) fn charge(&self, user: &str, allowances: &[Allowance]) -> Result<(), Throttle> {
        allowances.iter().try_for_each(|allowance| {
            let key = (user.to_owned(), Arc::clone(&allowance.permit));
            self.limiter(allowance.quota).check(&key)
        })
    }

    fn limiter(&self, quota: Quota) -> Arc<Keyed<Key>> {
        if let Some(limiter) = self.limiters.load().get(&quota) {
            return Arc::clone(limiter);
        }
        let made = Arc::new(Keyed::new("permit", rate(quota), self.max_keys));
        self.limiters.rcu(|known| {
            let mut known = Limiters::clone(known);
            known.entry(quota).or_insert_with(|| Arc::clone(&made));
            known
        });
        // INVARIANT: whoever came first, everybody counts with the one that is in the map.
        let known = self.limiters.load();
        known.get(&quota).map_or(made, Arc::clone)
    }

    /// Forgets users that are back at their full quota.
    pub(super) fn sweep(&self) {
        self.limiters
            .load()
            .values()
            .for_each(|limiter| limiter.sweep());
    }
}

/// The whole quota may be used at once; then requests come back one by one over the span.
fn rate(quota: Quota) -> Rate {
    Rate {
        requests: quota.requests,
        per: quota.span.time(),
        burst: quota.requests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn of(permit: &str, quota: &str) -> Allowance {
        Allowance {
            permit: permit.into(),
            quota: Quota::parse(quota).unwrap(),
        }
    }

    #[test]
    fn users_and_permits_are_counted_for_themselves() {
        let allowances = Allowances::new(10);
        let two = [of("students", "2/h")];
        for user in ["a", "b"] {
            assert!((0..2).all(|_| allowances.charge(user, &two).is_ok()));
            let throttle = allowances.charge(user, &two).unwrap_err();
            assert_eq!((throttle.name, throttle.quota), ("permit", 2));
            assert!(throttle.retry > Duration::from_mins(29), "{throttle:?}");
        }
        assert!(allowances.charge("a", &[of("vendors", "2/h")]).is_ok());
        allowances.sweep();
        assert!(
            allowances.charge("a", &two).is_err(),
            "nothing is forgotten in its favour"
        );
    }

    #[test]
    fn of_several_the_stricter_counts_and_the_others_are_not_used_up_by_what_it_refuses() {
        let allowances = Allowances::new(10);
        let both = [of("quick", "1/s"), of("slow", "3/d")];
        assert!(allowances.charge("a", &both).is_ok());
        // Refused by the quick one: the slow one still has two.
        for _ in 0..20 {
            assert_eq!(
                allowances.charge("a", &both).unwrap_err().window,
                Duration::from_secs(1)
            );
        }
        let slow = [of("slow", "3/d")];
        assert!((0..2).all(|_| allowances.charge("a", &slow).is_ok()));
        assert!(allowances.charge("a", &slow).is_err());
    }

    #[test]
    fn a_flood_of_users_stays_bounded() {
        let allowances = Allowances::new(50);
        let one = [of("students", "1/d")];
        let accepted = (0..5_000)
            .filter(|user| allowances.charge(&user.to_string(), &one).is_ok())
            .count();
        assert!(accepted <= 50 + 1024, "{accepted}");
    }

    proptest! {
        /// However many permits fit, no more pass than the strictest of them lets pass.
        #[test]
        fn no_more_pass_than_the_strictest_allows(quotas in prop::collection::vec(1_u32..6, 1..4)) {
            let allowances = Allowances::new(10);
            let all: Vec<Allowance> = quotas.iter().enumerate()
                .map(|(at, requests)| of(&at.to_string(), &format!("{requests}/d"))).collect();
            let passed = (0..10).filter(|_| allowances.charge("a", &all).is_ok()).count();
            prop_assert_eq!(Some(passed), quotas.iter().min().map(|least| usize::try_from(*least).unwrap()));
        }
    }
}
