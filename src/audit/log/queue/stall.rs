//! How long the writer has been at the disk, and what becomes of who waits when that is too long.

use std::sync::PoisonError;
use std::time::Duration;

use super::super::spell::{Spell, Trouble};
use super::super::waiting::lock;
use super::super::watchdog::{Hand, News, Stranded};
use super::{Life, Queue};

impl Queue {
    /// What the watch shows.
    pub(in crate::audit::log) fn time(&self) -> Duration {
        self.watch.monotonic()
    }

    /// The writer goes to the disk.
    pub(in crate::audit::log) fn begins(&self) {
        let now = self.time();
        lock(&self.inner).busy_since = Some(now);
    }

    /// The writer came back from the disk. Where that was not expected any more, it is told so; records are taken
    /// again.
    pub(in crate::audit::log) fn ends(&self) -> Option<Spell> {
        let mut inner = lock(&self.inner);
        inner.busy_since = None;
        let spell = inner.stall.take()?;
        // What was kept meanwhile is written whoever else rings.
        inner.told |= !inner.entries.is_empty();
        Some(spell)
    }

    /// Looks whether the disk answers. Where it does not, records are refused from now on until it does, and who waits
    /// is returned.
    pub(in crate::audit::log) fn look(
        &self,
        hand: &Hand,
        time: jiff::Timestamp,
    ) -> Option<Stranded> {
        let now = self.time();
        let patience = self.limits.stall_after;
        let mut inner = lock(&self.inner);
        let since = inner.busy_since?;
        if now.saturating_sub(since) < patience {
            return None;
        }
        let known = inner.stall.clone();
        let news = if known.is_some() {
            News::Known
        } else {
            News::New
        };
        let spell = known.unwrap_or_else(|| Spell {
            what: Trouble::Stalled,
            why: format!("the disk has not answered for {} s", patience.as_secs()).into(),
            since: time,
            began: now,
        });
        if news == News::New {
            inner.stall = Some(spell.clone());
            self.changed.notify_all();
        }
        Some(Stranded {
            spell,
            news,
            refused: inner.refuse_awaited(),
            in_doubt: hand.tickets(),
        })
    }

    /// Waits for `pause`; says whether the writer still runs.
    pub(in crate::audit::log) fn runs_for(&self, pause: Duration) -> bool {
        let inner = lock(&self.inner);
        let waited = self
            .changed
            .wait_timeout_while(inner, pause, |inner| inner.writer != Life::Ended);
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.writer != Life::Ended
    }

    /// The writer is gone.
    pub(in crate::audit::log) fn ended(&self) {
        lock(&self.inner).writer = Life::Ended;
        self.changed.notify_all();
    }

    /// Waits for the writer's end, but not for a disk that does not answer: says how many records are then left.
    pub(in crate::audit::log) fn wait_for_end(&self) -> Result<(), usize> {
        let mut inner = lock(&self.inner);
        while inner.writer != Life::Ended {
            if inner.stall.is_some() {
                return Err(inner.in_flight.slots);
            }
            let woken = self.changed.wait(inner);
            inner = woken.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}
