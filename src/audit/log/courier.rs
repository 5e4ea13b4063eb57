//! Tells the writer of new records once in each turn of a worker's event loop.
//!
//! Waking the writer costs a system call, and the kernel then often hands it the worker's core in the middle of the
//! turn; a wake for each record would cost more than the sync. So a worker's tasks only ring a [`Bell`], and its
//! [`Courier`], a task among them, wakes the writer when the tasks that were ready before it have run. Records that
//! nobody waits for go along with the next that somebody does, or after [`LINGER`].
//!
//! *Never*: a record that lies in the queue while nobody will tell the writer. Without a courier, whoever hands a
//! record over wakes the writer at once.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Sleep;

use super::queue::Queue;
use super::waiting::{Relay, lock};

/// How long records may lie that nobody waits for.
const LINGER: Duration = Duration::from_millis(5);

/// How soon the writer has to learn of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Nobody waits for it.
    Unwaited,
    /// A request waits for it.
    Waited,
}

/// What the tasks of one worker ring.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Attendance>);

#[derive(Debug, Default)]
enum Attendance {
    /// No courier runs, or none any more.
    #[default]
    Nobody,
    /// A courier listens.
    // INVARIANT: once `rung`, the courier was woken since, or is about to look.
    Courier {
        rung: Option<Urgency>,
        waker: Option<Waker>,
    },
}

/// Whether a courier has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The courier will tell the writer.
    ByCourier,
    /// Nobody will.
    ByNobody,
}

impl Bell {
    /// Announces a record that was just queued.
    pub(super) fn ring(&self, urgency: Urgency) -> Heard {
        let waker = match &mut *lock(&self.0) {
            Attendance::Nobody => return Heard::ByNobody,
            Attendance::Courier { rung, waker } => {
                if rung.is_some_and(|known| known >= urgency) {
                    None
                } else {
                    *rung = Some(urgency);
                    waker.take()
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Heard::ByCourier
    }

    /// Ready as soon as the bell was rung at least as urgently as `least`.
    fn poll_rung(&self, least: Urgency, context: &Context<'_>) -> Poll<Urgency> {
        match &mut *lock(&self.0) {
            Attendance::Nobody => Poll::Pending,
            Attendance::Courier { rung, waker } => match *rung {
                Some(urgency) if urgency >= least => Poll::Ready(urgency),
                Some(_) | None => {
                    *waker = Some(context.waker().clone());
                    Poll::Pending
                }
            },
        }
    }

    fn attend(&self, attendance: Attendance) {
        *lock(&self.0) = attendance;
    }
}

/// Carries the news of one worker's records to the writer, for as long as [`Courier::run`] is polled.
#[derive(Debug)]
#[must_use = "without its courier a worker wakes the writer for each record"]
pub struct Courier {
    queue: Arc<Queue>,
    relay: Arc<Relay>,
}

impl Courier {
    pub(super) const fn new(queue: Arc<Queue>, relay: Arc<Relay>) -> Self {
        Self { queue, relay }
    }

    /// Runs on the worker; never ends by itself. Dropping it tells of what is left.
    pub async fn run(self) {
        self.listen();
        let mut linger = pin!(tokio::time::sleep(LINGER));
        loop {
            self.rung(Urgency::Unwaited).await;
            // Behind the tasks that are ready now: their records go along.
            tokio::task::yield_now().await;
            self.ripen(linger.as_mut()).await;
            self.listen();
            self.queue.tell();
        }
    }

    /// What is rung from now on is not told yet.
    fn listen(&self) {
        self.relay.bell().attend(Attendance::Courier {
            rung: None,
            waker: None,
        });
    }

    async fn rung(&self, least: Urgency) -> Urgency {
        poll_fn(|context| self.relay.bell().poll_rung(least, context)).await
    }

    /// Waits until somebody waits, or for as long as records may lie.
    async fn ripen(&self, mut linger: Pin<&mut Sleep>) {
        let mut set = Timer::Unset;
        poll_fn(|context| {
            if self
                .relay
                .bell()
                .poll_rung(Urgency::Waited, context)
                .is_ready()
            {
                return Poll::Ready(());
            }
            if set == Timer::Unset {
                set = Timer::Set;
                let now = tokio::time::Instant::now();
                linger
                    .as_mut()
                    .reset(now.checked_add(LINGER).unwrap_or(now));
            }
            linger.as_mut().poll(context)
        })
        .await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Timer {
    Unset,
    Set,
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.relay.bell().attend(Attendance::Nobody);
        self.queue.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::super::options::Limits;
    use super::super::queue::{Payload, Priority, Turn};
    use super::super::waiting::Appending;
    use super::*;

    struct Desk {
        queue: Arc<Queue>,
        relay: Arc<Relay>,
    }

    impl Desk {
        fn new() -> Self {
            Self {
                queue: Arc::new(Queue::new(
                    Limits::default(),
                    crate::clock::SystemClock::shared(),
                )),
                relay: Arc::default(),
            }
        }

        fn courier(&self) -> Courier {
            Courier::new(Arc::clone(&self.queue), Arc::clone(&self.relay))
        }

        fn waited(&self) -> Appending {
            let reserved = self.queue.reserve::<1>(Priority::Care, &self.relay);
            let [slot] = reserved.unwrap();
            slot.append(Payload::new(vec![1]).unwrap())
        }

        fn unwaited(&self) {
            let reserved = self.queue.reserve::<1>(Priority::Care, &self.relay);
            let [slot] = reserved.unwrap();
            slot.append_unwaited(Payload::new(vec![2]).unwrap());
        }

        /// How many records the writer would take now.
        fn told(&self) -> usize {
            let mut batch = VecDeque::new();
            match self.queue.wait(&mut batch, Some(Duration::ZERO)) {
                Turn::Work => batch.len(),
                Turn::Tick | Turn::Stop => 0,
            }
        }
    }

    #[tokio::test]
    async fn records_of_one_turn_go_together_behind_the_ready_tasks() {
        let desk = Desk::new();
        let turn = async {
            spawn_local(desk.courier().run());
            yield_now().await;
            let _first = desk.waited();
            desk.unwaited();
            assert_eq!(desk.told(), 0);
            yield_now().await;
            let _second = desk.waited();
            for _ in 0..4 {
                yield_now().await;
            }
            assert_eq!(desk.told(), 3);
        };
        LocalSet::new().run_until(turn).await;
    }

    #[tokio::test]
    async fn what_nobody_waits_for_goes_along_with_the_next_that_somebody_does() {
        let desk = Desk::new();
        let turn = async {
            spawn_local(desk.courier().run());
            yield_now().await;
            desk.unwaited();
            for _ in 0..4 {
                yield_now().await;
            }
            let _waited = desk.waited();
            assert_eq!(desk.told(), 0);
            for _ in 0..4 {
                yield_now().await;
            }
            assert_eq!(desk.told(), 2);
        };
        LocalSet::new().run_until(turn).await;
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_told_in_the_end() {
        let desk = Desk::new();
        let turn = async {
            spawn_local(desk.courier().run());
            yield_now().await;
            desk.unwaited();
            while desk.told() == 0 {
                yield_now().await;
            }
        };
        LocalSet::new().run_until(turn).await;
    }

    #[tokio::test]
    async fn a_courier_that_dies_tells_what_is_left_and_nobody_relies_on_it() {
        let desk = Desk::new();
        let turn = async {
            let courier = spawn_local(desk.courier().run());
            yield_now().await;
            desk.unwaited();
            courier.abort();
            assert!(courier.await.is_err());
            assert_eq!(desk.told(), 1);
            desk.unwaited();
            assert_eq!(desk.told(), 1);
        };
        LocalSet::new().run_until(turn).await;
    }
}
