//! `[identity.lock]` and `[identity.held_posts]`

use std::time::Duration;

use crate::config::lock::{HeldPosts, Lock};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::unit::Size;

/// `[identity.lock]`; nothing locks where it is not written.
pub(super) fn lock(identity: &mut Section<'_>, idle_timeout: Duration) -> Option<Lock> {
    let mut section = identity.optional_table("lock")?;
    let (seconds, minutes) = (Duration::from_secs, Duration::from_mins);
    let after = section.within("after", minutes(5), seconds(10)..=minutes(12 * 60));
    if after >= idle_timeout {
        let message = "a screen would lock when its session is over already";
        let remedy = "make `after` shorter than `identity.idle_timeout` (5 minutes and 15 minutes are the defaults)";
        section.error("after", says(message, remedy));
    }
    section.done();
    Some(Lock { after })
}

/// `[identity.held_posts]`; nothing is kept where it is not written.
pub(super) fn held_posts(identity: &mut Section<'_>) -> Option<HeldPosts> {
    let mut section = identity.optional_table("held_posts")?;
    let default = HeldPosts::default();
    let (kib, mib) = (|n: u64| Size(n << 10), |n: u64| Size(n << 20));
    let max_size = section.within("max_size", Size(default.max_size), kib(1)..=mib(1));
    let keep_for = section.within(
        "keep_for",
        default.keep_for,
        Duration::from_mins(1)..=Duration::from_hours(24),
    );
    let per_user = section.within("per_user", default.per_user, 1..=50);
    let max_total = section.within("max_total", Size(default.max_total), mib(1)..=mib(1024));
    if max_total < max_size {
        let message = "one that is as large as is kept would not fit";
        section.error(
            "max_total",
            says(message, "make `max_total` larger than `max_size`"),
        );
    }
    section.done();
    Some(HeldPosts {
        max_size: max_size.0,
        keep_for,
        per_user,
        max_total: max_total.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    #[test]
    fn a_lock_comes_before_the_end_and_both_sections_can_be_left_out() {
        let fixture = Fixture::new();
        let identity = fixture.read(TEMPLATE).config.unwrap().identity;
        let after = Duration::from_mins(5);
        assert_eq!(identity.lock, Some(Lock { after }));
        assert_eq!(identity.held_posts, Some(HeldPosts::default()));
        let without = TEMPLATE
            .replace("[identity.lock]\nafter = \"5m\"\n", "")
            .replace("[identity.held_posts]\n", "");
        let identity = fixture.read(&without).config.unwrap().identity;
        assert_eq!((identity.lock, identity.held_posts), (None, None));
        for (to, message) in [
            ("after = \"15m\"", "its session is over already"),
            ("after = \"1s\"", "outside of 10s"),
            ("after = \"5m\"\nwhen = 1", "`when` is not known"),
        ] {
            let read = fixture.replaced("after = \"5m\"", to);
            let problem = sole(&read.problems);
            assert!(problem.message.contains(message), "{problem:?}");
        }
        for (to, message) in [
            ("max_size = \"2MiB\"", "outside of"),
            ("per_user = 0", "outside of"),
            ("keep_for = \"1s\"", "outside of 1m"),
        ] {
            let section = format!("[identity.held_posts]\n{to}");
            let read = fixture.replaced("[identity.held_posts]", &section);
            let problem = sole(&read.problems);
            assert!(problem.message.contains(message), "{problem:?}");
        }
    }
}
