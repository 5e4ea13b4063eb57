//! Finds jumps of the wall clock: what it says beside the monotonic clock, which nobody can set.
//!
//! A machine that slept has jumped too: the monotonic clock stood still meanwhile.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A jump is more than this between two looks; what a time service corrects by turning the clock faster or slower is
/// far less.
const JUMP: SignedDuration = SignedDuration::from_secs(1);

/// A jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// How far; negative where the clock went back.
    pub(super) by: SignedDuration,
    /// What it should have said.
    pub(super) before: Timestamp,
    /// What it said.
    pub(super) after: Timestamp,
}

/// Compares two clocks from look to look.
#[derive(Debug, Default)]
pub(super) struct Steps {
    last: Option<(Timestamp, Duration)>,
}

impl Steps {
    /// Looks at both clocks; says whether the first one jumped since the last look.
    pub(super) fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Option<Step> {
        let (last_wall, last) = self.last.replace((wall, monotonic))?;
        let went = SignedDuration::try_from(monotonic.saturating_sub(last)).ok()?;
        let expected = last_wall.saturating_add(went).unwrap_or(Timestamp::MAX);
        let by = wall.duration_since(expected);
        (by.abs() > JUMP).then_some(Step {
            by,
            before: expected,
            after: wall,
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the spans of these tests are small"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_772_000_000_000 + millis).unwrap()
    }

    #[test]
    fn a_jump_is_found_once_and_in_its_direction() {
        let mut steps = Steps::default();
        let ms = Duration::from_millis;
        assert_eq!(steps.look(at(0), ms(5)), None);
        assert_eq!(steps.look(at(1_000), ms(1_005)), None);
        let back = steps.look(at(-3_598_000), ms(2_005)).unwrap();
        assert_eq!(back.by, SignedDuration::from_secs(-3_600));
        assert_eq!((back.before, back.after), (at(2_000), at(-3_598_000)));
        assert_eq!(steps.look(at(-3_597_000), ms(3_005)), None);
        let ahead = steps.look(at(10_000_000), ms(4_005)).unwrap();
        assert_eq!(ahead.by, SignedDuration::from_millis(13_596_000));
    }

    proptest! {
        /// However long the looks are apart, drift below a second is none, and beyond it is one.
        #[test]
        fn only_the_difference_counts(apart in 0_i64..10_000_000, drift in -5_000_i64..5_000) {
            let mut steps = Steps::default();
            steps.look(at(0), Duration::ZERO);
            let apart_of = Duration::from_millis(apart.unsigned_abs());
            let found = steps.look(at(apart + drift), apart_of);
            prop_assert_eq!(found.is_some(), drift.abs() > 1_000);
            if let Some(step) = found {
                prop_assert_eq!(step.by, SignedDuration::from_millis(drift));
            }
        }
    }
}
