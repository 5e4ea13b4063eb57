//! What the writer does when its disk fails, fills up or hangs, and what is then put on record.

use std::sync::Arc;
use std::time::Duration;

use super::super::error::LogError;
use super::super::header::Opened;
use super::super::options::Truncation;
use super::super::queue::{self, Charge, Entry};
use super::super::recover::{self, Recovered};
use super::super::spell::{Spell, Trouble};
use super::{LastAttempt, Maker, Writer};

impl Writer {
    /// Deals with a failure until the log goes on; says whether it does.
    pub(super) fn overcome(&mut self, error: &LogError) -> bool {
        self.refuse(error);
        loop {
            let stopping = self.queue.back_off(self.pause);
            if stopping && self.last_attempt == LastAttempt::Made {
                return false;
            }
            if stopping {
                self.last_attempt = LastAttempt::Made;
            }
            self.pause = self
                .pause
                .saturating_mul(2)
                .min(self.maker.limits.retry_longest);
            match self.reopen() {
                Ok(()) => return true,
                Err(error) => self.refuse(&error),
            }
        }
    }

    /// Refuses everyone who waits.
    fn refuse(&mut self, error: &LogError) {
        let reason: Arc<str> = error.to_string().into();
        tracing::error!(
            %reason,
            "the audit log cannot be written; nothing is admitted"
        );
        self.came_back();
        self.trouble(Trouble::Failed, Arc::clone(&reason));
        let mut refused = self.queue.fail(&reason);
        let mut awaited = queue::take_awaited(&mut self.hand.records());
        self.observer.failed(&reason);
        let mut freed = Charge::default();
        for entry in &awaited {
            freed.add(entry.charge);
        }
        self.queue.release(freed);
        refused.append(&mut awaited);
        for entry in refused {
            let answer = Err(LogError::Unavailable {
                reason: Arc::clone(&reason),
            });
            if let Some(relay) = entry.ticket.and_then(|ticket| ticket.answer(answer)) {
                relay.kick();
                relay.pass_on();
            }
        }
    }

    /// Begins a new segment behind the last durable record.
    fn reopen(&mut self) -> Result<(), LogError> {
        self.queue.begins();
        let Maker {
            files, directory, ..
        } = &self.maker;
        recover::sweep(&**files, directory)?;
        let known = recover::survey_from(&**files, directory, self.segment.header())?;
        let durable = Some((self.segment.header().segment, self.segment.durable()));
        let end = recover::settle(&**files, directory, &known, durable, Truncation::Refuse)?;
        let (cut, previous) = (end.cut.clone(), end.previous.clone());
        let segment = self.maker.continue_from(end, Opened::Recover, None)?;
        self.begin(segment);
        let recovered = Recovered {
            cut,
            accepted_loss: None,
            last_seq: previous.sequence,
            head: previous.head,
            segment: self.segment.header().segment,
            unheard: Vec::new(),
            contradictions: Vec::new(),
        };
        self.carry_over();
        for payload in self.observer.recovered(&recovered).into_iter().rev() {
            self.announced.push_front(payload);
        }
        self.announce();
        self.look_at_space();
        self.queue.reopen();
        Ok(())
    }

    /// Notes what keeps the log from taking records; the first word of a kind stands until it is over.
    fn trouble(&mut self, what: Trouble, why: Arc<str>) {
        let spell = Spell {
            what,
            why,
            since: self.maker.clock.now(),
            began: self.queue.time(),
        };
        self.note(spell);
    }

    fn note(&mut self, spell: Spell) {
        if !self.troubles.iter().any(|known| known.what == spell.what) {
            self.troubles.push(spell);
        }
    }

    /// The disk has answered, one way or the other.
    fn came_back(&mut self) {
        if let Some(spell) = self.queue.ends() {
            tracing::warn!(
                waited = ?spell.lasted(self.queue.time()),
                "the disk of the audit log answers again"
            );
            self.note(spell);
        }
    }

    /// Everything in hand is durable: what kept the log from that is over, and can be put on record.
    pub(super) fn note_end_of_troubles(&mut self) {
        self.came_back();
        let now = self.queue.time();
        for spell in std::mem::take(&mut self.troubles) {
            let lasted = spell.lasted(now);
            self.announced.extend(self.observer.degraded(&spell));
            self.announced
                .extend(self.observer.restored(&spell, lasted));
        }
    }

    /// Looks how full the disk is, and notes where that changes what is admitted.
    pub(super) fn look_at_space(&mut self) {
        self.queue.begins();
        let free = match self.maker.files.free_space(&self.maker.directory) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "the free space of the audit log is not known");
                return;
            }
        };
        let least = self.maker.limits.min_free_bytes;
        match self.scarce.take() {
            None if free < least => {
                let spell = Spell {
                    what: Trouble::LowSpace,
                    why: low(free, least).into(),
                    since: self.maker.clock.now(),
                    began: self.queue.time(),
                };
                tracing::warn!(reason = %spell.why, "only care is admitted");
                self.queue.set_low_space(true);
                self.announced.extend(self.observer.degraded(&spell));
                self.scarce = Some(spell);
            }
            None => {}
            // An eighth more than is needed, or it would be on and off with every segment.
            Some(spell) if free < least.saturating_add(least / 8) => self.scarce = Some(spell),
            Some(spell) => {
                let lasted: Duration = spell.lasted(self.queue.time());
                self.queue.set_low_space(false);
                self.announced
                    .extend(self.observer.restored(&spell, lasted));
            }
        }
    }
}

fn low(free: u64, least: u64) -> String {
    let mebi = |bytes: u64| bytes / (1024 * 1024);
    format!(
        "{} MiB are free on the disk of the audit log; the last {} MiB are kept for care",
        mebi(free),
        mebi(least)
    )
}

impl Entry {
    /// A record of the log's own: nobody waits for it, and no room was taken for it.
    pub(super) fn of_the_log(payload: super::Payload) -> Self {
        Self {
            payload,
            ticket: None,
            charge: Charge::default(),
        }
    }
}
