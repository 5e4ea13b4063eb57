//! How far a receiver is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::audit::shipped::Position;

/// Most marks that are kept: one for each part of the window.
const PARTS: u32 = 60;

/// Positions up to which was sent, and when: what is old enough can be relied on.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "they are the marks")]
pub(super) struct Marks {
    window: Duration,
    marks: VecDeque<(Instant, Position)>,
    latest: Position,
}

impl Marks {
    /// Marks that count once they are as old as `window`.
    pub(super) fn new(window: Duration, from: Position) -> Self {
        Self {
            window,
            marks: VecDeque::from([(Instant::now(), from.clone())]),
            latest: from,
        }
    }

    /// Everything before this position has been sent by `now`.
    pub(super) fn sent(&mut self, now: Instant, position: Position) {
        let is_new = self.marks.back().is_none_or(|(at, last)| {
            *last != position
                && now.duration_since(*at) >= self.window.checked_div(PARTS).unwrap_or_default()
        });
        self.latest = position.clone();
        if is_new {
            self.marks.push_back((now, position));
        }
        while let Some((at, _)) = self.marks.get(1)
            && now.duration_since(*at) >= self.window
        {
            self.marks.pop_front();
        }
    }

    /// Where to go on after what was sent last may be lost.
    pub(super) fn relied_on(&self) -> Option<&Position> {
        self.marks.front().map(|(_, position)| position)
    }

    /// The receiver has everything that was sent.
    pub(super) fn settle(&mut self) {
        self.marks = VecDeque::from([(Instant::now(), self.latest.clone())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: u64) -> Position {
        Position {
            next,
            ..Position::default()
        }
    }

    #[test]
    fn only_what_is_as_old_as_the_window_is_relied_on() {
        let begin = Instant::now();
        let second = |n| begin.checked_add(Duration::from_secs(n)).unwrap();
        let mut marks = Marks::new(Duration::from_mins(1), at(1));
        for n in 1..=59 {
            marks.sent(second(n * 2), at(n * 10));
        }
        let relied = marks.relied_on().unwrap().next;
        assert_eq!(relied, 290, "sent at 58 s, asked at 118 s");
        assert!(marks.marks.len() <= 62);
        marks.sent(second(300), at(999));
        assert_eq!(marks.relied_on().unwrap().next, 590);
        marks.sent(second(400), at(999));
        assert_eq!(marks.relied_on().unwrap().next, 999);
    }

    #[test]
    fn without_a_window_everything_sent_counts() {
        let mut marks = Marks::new(Duration::ZERO, at(1));
        marks.sent(Instant::now(), at(7));
        assert_eq!(marks.relied_on().unwrap().next, 7);
    }
}
