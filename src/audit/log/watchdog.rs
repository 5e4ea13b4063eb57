//! The watchdog thread: notices a disk that neither fails nor answers.
//!
//! A failing disk says so to the writer; one that hangs keeps the writer, and everyone who waits for it, for as long
//! as it likes. So somebody else looks how long the writer has been at the disk.
//!
//! *Owns*: nothing. It takes the tickets of who waits, and leaves the records where they are.
//! *Never*: touches the disk.
//! *On failure* of the disk to answer within `stall_after`: refuses everyone who waits. A record that the writer has
//! not begun with is taken back; one that it has begun with may become durable yet, and who waits for it is told so
//! ([`LogError::InDoubt`]). When the disk answers, the writer takes records again by itself.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::error::LogError;
use super::options::Limits;
use super::queue::{Entry, Queue};
use super::segment::SEGMENTS;
use super::spell::Spell;
use super::waiting::{Ticket, lock};
use crate::clock::SharedClock;

/// How often it looks, as a part of what it waits for.
const LOOKS: u32 = 20;
/// Seldom enough to cost nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The records that the writer is making durable, where the watchdog finds who waits for them.
// INVARIANT: the writer holds this lock neither while it is at the disk nor while it takes the queue's.
#[derive(Debug, Default)]
pub(super) struct Hand(Mutex<VecDeque<Entry>>);

impl Hand {
    /// The records.
    pub(super) fn records(&self) -> std::sync::MutexGuard<'_, VecDeque<Entry>> {
        lock(&self.0)
    }

    /// Who waits for them; nobody does from now on.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        let mut records = self.records();
        let tickets = records.iter_mut().filter_map(|entry| entry.ticket.take());
        tickets.collect()
    }
}

/// Who waits for a disk that does not answer.
#[derive(Debug)]
pub(super) struct Stranded {
    /// What it is.
    pub(super) spell: Spell,
    /// Whether that was known before.
    pub(super) news: News,
    /// What the writer has not begun with.
    pub(super) refused: VecDeque<Entry>,
    /// Who waits for what it has begun with.
    pub(super) in_doubt: Vec<Ticket>,
}

/// Whether something was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Known,
    New,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Watchdog {
    pub(super) queue: Arc<Queue>,
    pub(super) hand: Arc<Hand>,
    pub(super) clock: SharedClock,
    pub(super) limits: Limits,
}

impl Watchdog {
    /// Starts the thread; it ends with the writer.
    pub(super) fn start(self) -> Result<JoinHandle<()>, LogError> {
        let pause = self.limits.stall_after.checked_div(LOOKS);
        let pause = pause.unwrap_or_default().min(LONGEST_PAUSE);
        std::thread::Builder::new()
            .name("audit-watchdog".to_owned())
            .spawn(move || {
                while self.queue.runs_for(pause) {
                    self.look();
                }
            })
            .map_err(LogError::io("starting a thread for", Path::new(SEGMENTS)))
    }

    fn look(&self) {
        let Some(stranded) = self.queue.look(&self.hand, self.clock.now()) else {
            return;
        };
        let why = stranded.spell.why;
        if stranded.news == News::New {
            tracing::error!(
                reason = %why,
                "the audit log hangs; nothing is admitted until its disk answers"
            );
        }
        for entry in stranded.refused {
            let reason = Arc::clone(&why);
            answer(entry.ticket, LogError::Unavailable { reason });
        }
        for ticket in stranded.in_doubt {
            let reason = Arc::clone(&why);
            answer(Some(ticket), LogError::InDoubt { reason });
        }
    }
}

fn answer(ticket: Option<Ticket>, error: LogError) {
    if let Some(relay) = ticket.and_then(|ticket| ticket.answer(Err(error))) {
        relay.kick();
        relay.pass_on();
    }
}
