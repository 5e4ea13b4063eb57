//! Waiting for durability: the future that an append returns, and how its task is woken.
//!
//! Waking a task of another thread costs a system call each time. The writer therefore wakes one
//! task of each worker; that task, when it looks at its result on its own thread, wakes the rest
//! there, which costs nothing. [`Relay`] is that worker's list; the writer empties a list itself
//! that nobody took up ([`Relay::pass_on`]), so a task that was woken and does not look delays its
//! neighbours by milliseconds at most.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use uuid::Uuid;

use super::courier::Bell;
use super::error::LogError;

/// Where a record is in the log. Only the chain gives these out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its sequence number.
    pub sequence: u64,
    /// Its segment.
    pub segment: Uuid,
}

/// Locks, going on after a panic elsewhere: every critical section here leaves whole data.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one worker and the writer tell each other through: the tasks that have a result and were not woken yet, and
/// the bell for new records.
#[derive(Debug, Default)]
pub(super) struct Relay {
    waiting: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    bell: Bell,
}

impl Relay {
    /// What the worker's tasks ring for new records.
    pub(super) const fn bell(&self) -> &Bell {
        &self.bell
    }

    fn add(&self, waker: Waker) {
        lock(&self.wakers).push(waker);
    }

    /// Wakes one task, which is to wake the others.
    pub(super) fn kick(&self) {
        let first = {
            let mut wakers = lock(&self.wakers);
            let first = wakers.pop();
            self.waiting.store(!wakers.is_empty(), Ordering::Release);
            first
        };
        if let Some(first) = first {
            first.wake();
        }
    }

    /// Wakes everyone on the list.
    pub(super) fn pass_on(&self) {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return;
        }
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        for waker in wakers {
            waker.wake();
        }
    }

    /// Whether tasks are waiting to be woken by a neighbour.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<Position, LogError>),
    Taken,
}

#[derive(Debug)]
struct Waiter {
    state: Mutex<State>,
    relay: Arc<Relay>,
}

/// The writer's side of a waiting append. Dropping it unanswered answers *unavailable*, so that
/// no task waits for ever, whatever becomes of the writer.
#[derive(Debug)]
pub(super) struct Ticket(Option<Arc<Waiter>>);

impl Ticket {
    /// Answers; the relay that then has to be kicked is returned.
    pub(super) fn answer(mut self, result: Result<Position, LogError>) -> Option<Arc<Relay>> {
        let waiter = self.0.take()?;
        settle(&waiter, result).then(|| Arc::clone(&waiter.relay))
    }

    /// Whether the other side is still there.
    pub(super) fn is_awaited(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|waiter| Arc::strong_count(waiter) > 1)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(waiter) = self.0.take() {
            let result = Err(LogError::Unavailable {
                reason: "the writer stopped".into(),
            });
            if settle(&waiter, result) {
                waiter.relay.kick();
            }
        }
    }
}

/// Stores the result; says whether a task was put on the relay's list.
fn settle(waiter: &Waiter, result: Result<Position, LogError>) -> bool {
    let before = std::mem::replace(&mut *lock(&waiter.state), State::Done(result));
    match before {
        State::Waiting(Some(waker)) => {
            waiter.relay.add(waker);
            true
        }
        State::Waiting(None) | State::Done(_) | State::Taken => false,
    }
}

/// An append that is on its way to the disk. Resolves only when the record is durable, or when it
/// is certain that this process will not make it so.
///
/// Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a record that nobody waits for may not be durable when the work begins"]
pub struct Appending(Stage);

#[derive(Debug)]
enum Stage {
    Refused(Option<LogError>),
    Queued(Arc<Waiter>),
}

impl Appending {
    /// An append that cannot be.
    pub(super) const fn refused(error: LogError) -> Self {
        Self(Stage::Refused(Some(error)))
    }

    /// A pair of the two sides.
    pub(super) fn pair(relay: &Arc<Relay>) -> (Ticket, Self) {
        let waiter = Arc::new(Waiter {
            state: Mutex::new(State::Waiting(None)),
            relay: Arc::clone(relay),
        });
        (
            Ticket(Some(Arc::clone(&waiter))),
            Self(Stage::Queued(waiter)),
        )
    }

    /// Waits on this thread; not for use inside an async runtime.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(mut self) -> Result<Position, LogError> {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

impl Future for Appending {
    type Output = Result<Position, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waiter = match &mut self.0 {
            Stage::Refused(error) => {
                return Poll::Ready(Err(error.take().unwrap_or(LogError::Closed)));
            }
            Stage::Queued(waiter) => waiter,
        };
        waiter.relay.pass_on();
        let mut state = lock(&waiter.state);
        match &mut *state {
            State::Waiting(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            State::Done(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Done(result) => Poll::Ready(result),
                State::Waiting(_) | State::Taken => Poll::Ready(Err(LogError::Closed)),
            },
            State::Taken => Poll::Ready(Err(LogError::Closed)),
        }
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        // A task that was woken for its neighbours and dies instead of looking still wakes them.
        if let Stage::Queued(waiter) = &self.0 {
            waiter.relay.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn polled(appending: &mut Appending, count: &Arc<Count>) -> bool {
        let waker = Waker::from(Arc::clone(count));
        Pin::new(appending)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }

    type Waiting = (Ticket, Appending, Arc<Count>);

    fn three() -> (Arc<Relay>, Vec<Waiting>) {
        let relay = Arc::new(Relay::default());
        let waiting = (0..3)
            .map(|_| {
                let (ticket, mut appending) = Appending::pair(&relay);
                let count = Arc::new(Count::default());
                assert!(!polled(&mut appending, &count));
                (ticket, appending, count)
            })
            .collect();
        (relay, waiting)
    }

    fn woken(counts: &[Arc<Count>]) -> usize {
        counts
            .iter()
            .map(|count| count.0.load(Ordering::SeqCst))
            .sum()
    }

    fn answered(waiting: Vec<Waiting>) -> (Vec<Appending>, Vec<Arc<Count>>) {
        waiting
            .into_iter()
            .map(|(ticket, appending, count)| {
                let position = Position {
                    sequence: 1,
                    segment: Uuid::nil(),
                };
                assert!(ticket.answer(Ok(position)).is_some());
                (appending, count)
            })
            .unzip()
    }

    #[test]
    fn one_is_woken_and_wakes_the_rest() {
        let (relay, waiting) = three();
        let (mut appending, counts) = answered(waiting);
        relay.kick();
        assert_eq!(woken(&counts), 1);
        assert!(relay.is_waiting());
        assert!(polled(&mut appending[2], &counts[2]));
        assert_eq!(woken(&counts), 3);
        assert!(!relay.is_waiting());
    }

    #[test]
    fn one_that_dies_still_wakes_the_rest() {
        let (relay, waiting) = three();
        let (mut appending, counts) = answered(waiting);
        relay.kick();
        drop(appending.pop());
        assert_eq!(woken(&counts), 3);
    }

    #[test]
    fn a_lost_ticket_answers() {
        let (_, waiting) = three();
        for (ticket, mut appending, count) in waiting {
            drop(ticket);
            assert!(polled(&mut appending, &count));
        }
    }
}
