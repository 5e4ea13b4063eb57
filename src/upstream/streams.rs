//! The live streams (web sockets and answers without an end) by session, so that each can be cut at once.
//!
//! *Owns*: the registry, shared by all workers.
//! *Never*: a stream that outlives its session, its permission, or a drain.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::identity::session::SessionId;
use crate::request::Facts;

/// Most streams at once, over all sessions.
const MOST: usize = 8192;
/// Most streams at once in one session.
const MOST_PER_SESSION: usize = 32;
/// Most cuts that are remembered by session.
const MOST_CUTS: usize = 16_384;
/// How long a cut is remembered by session: longer than any request waits for the head of its answer.
const CUTS_KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Is told that a stream goes on, so that the trail can say so.
pub trait StreamObserver: Send + Sync + std::fmt::Debug {
    /// An interval of `stream` has passed.
    fn interval(&self, stream: &LiveStream);
}

/// A stream that is open.
#[derive(Debug)]
pub struct LiveStream {
    /// The session that it belongs to.
    pub session: SessionId,
    /// What is known of the request that opened it.
    pub facts: Facts,
    /// When it was opened.
    pub since: Timestamp,
    /// When its permission ends, in Unix milliseconds; and of which generation the decision is.
    valid_until: AtomicI64,
    generation: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl LiveStream {
    /// When its permission ends.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        let millis = self.valid_until.load(Ordering::Acquire);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MIN)
    }

    /// The generation by which it was decided last.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// It was decided again, by `generation`, and is permitted until `valid_until`.
    pub fn permit(&self, valid_until: Timestamp, generation: u64) {
        self.valid_until
            .store(valid_until.as_millisecond(), Ordering::Release);
        self.generation.store(generation, Ordering::Release);
    }

    /// Bytes from the client so far.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes to the client so far.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// `bytes` more came from the client.
    pub fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` more went to the client.
    pub fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Every live stream of the gateway.
#[derive(Debug)]
pub struct Streams {
    clock: SharedClock,
    observer: Arc<dyn StreamObserver>,
    interval: Duration,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    streams: HashMap<u64, Entry>,
    cuts: Cuts,
}

/// When streams were cut, for requests that were under way then and become streams later.
#[derive(Debug, Default)]
struct Cuts {
    all: Option<Timestamp>,
    sessions: HashMap<SessionId, Timestamp>,
}

impl Cuts {
    fn note(&mut self, session: &SessionId, now: Timestamp) {
        if self.sessions.len() >= MOST_CUTS {
            self.sessions
                .retain(|_, at| now.duration_since(*at) < CUTS_KEPT);
        }
        if self.sessions.len() >= MOST_CUTS {
            // What cannot be remembered singly counts for everyone.
            self.sessions.clear();
            self.all = Some(now);
        }
        self.sessions.insert(session.clone(), now);
    }

    fn check(&self, session: &SessionId, arrived: Timestamp) -> Result<(), StreamRefused> {
        if self.sessions.get(session).is_some_and(|at| *at >= arrived) {
            return Err(StreamRefused::SessionEnded);
        }
        if self.all.is_some_and(|at| at >= arrived) {
            return Err(StreamRefused::AllCut);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Entry {
    stream: Arc<LiveStream>,
    cut: watch::Sender<bool>,
}

/// Why a stream is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamRefused {
    /// More streams than are allowed at once.
    #[error("too many live streams")]
    TooMany,
    /// Its session ended while the request was under way.
    #[error("the session ended before the stream began")]
    SessionEnded,
    /// Every stream was cut while the request was under way.
    #[error("all streams were cut before this one began")]
    AllCut,
}

/// Why a stream is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its session ended, or the gateway drains.
    Cut,
    /// Its permission ended.
    Expired,
}

impl Open {
    fn cut_where(&self, ends: impl Fn(&LiveStream) -> bool) -> usize {
        let mut count = 0_usize;
        for entry in self.streams.values().filter(|entry| ends(&entry.stream)) {
            entry.cut.send_replace(true);
            count = count.saturating_add(1);
        }
        count
    }
}

impl Streams {
    /// An empty registry; `observer` hears of each stream every `interval`.
    #[must_use]
    pub fn new(
        clock: SharedClock,
        observer: Arc<dyn StreamObserver>,
        interval: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            clock,
            observer,
            interval: interval.max(Duration::from_millis(1)),
            open: Mutex::default(),
        })
    }

    /// Registers a stream, whose request arrived at `arrived`, until its handle is dropped.
    ///
    /// SECURITY: between the identification of a request and its registration here lie the record's way to the disk
    /// and, for an answer without an end, the EMR's time to begin it. A session that ends meanwhile has no stream yet
    /// that could be cut; the stream would go on for as long as the session might have lasted.
    ///
    /// # Errors
    /// [`StreamRefused`] when the session, or the gateway, has as many as it may, or was cut since `arrived`.
    pub fn register(
        self: &Arc<Self>,
        session: &SessionId,
        facts: Facts,
        arrived: Timestamp,
        valid_until: Timestamp,
    ) -> Result<StreamHandle, StreamRefused> {
        let stream = Arc::new(LiveStream {
            session: session.clone(),
            generation: AtomicU64::new(facts.generation),
            facts,
            since: self.clock.now(),
            valid_until: AtomicI64::new(valid_until.as_millisecond()),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        });
        let (cut, is_cut) = watch::channel(false);
        let mut open = self.lock();
        open.cuts.check(session, arrived)?;
        let of_session = open
            .streams
            .values()
            .filter(|entry| entry.stream.session == *session)
            .count();
        if open.streams.len() >= MOST || of_session >= MOST_PER_SESSION {
            return Err(StreamRefused::TooMany);
        }
        let id = open.next;
        open.next = id.wrapping_add(1);
        let entry = Entry {
            stream: Arc::clone(&stream),
            cut,
        };
        open.streams.insert(id, entry);
        Ok(StreamHandle {
            id,
            streams: Arc::clone(self),
            stream,
            is_cut,
        })
    }

    /// Cuts every stream of `session`; tells how many there were.
    pub fn cut(&self, session: &SessionId) -> usize {
        let mut open = self.lock();
        open.cuts.note(session, self.clock.now());
        open.cut_where(|stream| stream.session == *session)
    }

    /// Has the streams of `session` decided again soon: their user is not as before.
    pub fn ask_again(&self, session: &SessionId) {
        let open = self.lock();
        let streams = open.streams.values().map(|entry| &entry.stream);
        for stream in streams.filter(|stream| stream.session == *session) {
            // No generation is the one in force.
            stream.generation.store(0, Ordering::Release);
        }
    }

    /// Cuts this stream alone.
    pub fn cut_one(&self, stream: &Arc<LiveStream>) {
        let open = self.lock();
        let entries = open.streams.values();
        for entry in entries.filter(|entry| Arc::ptr_eq(&entry.stream, stream)) {
            entry.cut.send_replace(true);
        }
    }

    /// Cuts the streams of the requests that `ends` names; tells how many there were.
    ///
    /// A request that is under way now becomes no stream: it was decided by what was in force before.
    pub fn cut_where(&self, ends: impl Fn(&Facts) -> bool) -> usize {
        let mut open = self.lock();
        open.cuts.all = Some(self.clock.now());
        open.cut_where(|stream| ends(&stream.facts))
    }

    /// Cuts every stream.
    pub fn cut_all(&self) -> usize {
        let mut open = self.lock();
        open.cuts.all = Some(self.clock.now());
        open.cut_where(|_| true)
    }

    /// The streams that are open.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<LiveStream>> {
        let open = self.lock();
        open.streams
            .values()
            .map(|entry| Arc::clone(&entry.stream))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registered stream. Dropping it removes it from the registry.
#[derive(Debug)]
pub struct StreamHandle {
    id: u64,
    streams: Arc<Streams>,
    stream: Arc<LiveStream>,
    is_cut: watch::Receiver<bool>,
}

impl StreamHandle {
    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> &Arc<LiveStream> {
        &self.stream
    }

    /// Waits until the stream is to end; reports it in the meantime.
    pub async fn ended(&mut self) -> Ended {
        let streams = Arc::clone(&self.streams);
        loop {
            // Asked each time: the permission may have been renewed, or cut short, meanwhile.
            let left = self
                .stream
                .valid_until()
                .duration_since(streams.clock.now());
            let Ok(left) = Duration::try_from(left) else {
                return Ended::Expired;
            };
            if left.is_zero() {
                return Ended::Expired;
            }
            tokio::select! {
                biased;
                _ = self.is_cut.wait_for(|cut| *cut) => return Ended::Cut,
                () = tokio::time::sleep(left.min(streams.interval)) => {}
            }
            if left > streams.interval {
                streams.observer.interval(&self.stream);
            }
        }
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.streams.lock().streams.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, SystemClock};
    use crate::upstream::testing::facts;

    #[derive(Debug, Default)]
    struct Heard(AtomicU64);

    impl StreamObserver for Heard {
        fn interval(&self, _: &LiveStream) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn streams(interval: Duration) -> (Arc<Streams>, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        let observer: Arc<dyn StreamObserver> = heard.clone();
        (
            Streams::new(SystemClock::shared(), observer, interval),
            heard,
        )
    }

    fn open(streams: &Arc<Streams>, session: &str, left: Duration) -> StreamHandle {
        let now = SystemClock::shared().now();
        let until = now.checked_add(left).unwrap();
        streams
            .register(&SessionId::for_test(session), facts(), now, until)
            .unwrap()
    }

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_session_is_cut_alone_and_all_at_once() {
        let (streams, _) = streams(LONG);
        let (mut a, mut b) = (open(&streams, "a", LONG), open(&streams, "b", LONG));
        assert_eq!(streams.cut(&SessionId::for_test("a")), 1);
        assert_eq!(a.ended().await, Ended::Cut);
        assert_eq!(streams.cut_all(), 2);
        assert_eq!(b.ended().await, Ended::Cut);
        drop((a, b));
        assert!(streams.list().is_empty());
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_permission_and_is_reported_until_then() {
        let (streams, heard) = streams(Duration::from_millis(2));
        let mut stream = open(&streams, "a", Duration::from_millis(20));
        assert_eq!(stream.ended().await, Ended::Expired);
        assert!(heard.0.load(Ordering::Relaxed) > 0);
    }

    #[tokio::test]
    async fn a_stream_whose_permission_was_renewed_goes_on_and_one_is_cut_alone() {
        let (streams, _) = streams(Duration::from_millis(2));
        let mut renewed = open(&streams, "a", Duration::from_millis(20));
        let mut other = open(&streams, "a", LONG);
        let later = SystemClock::shared().now().checked_add(LONG).unwrap();
        renewed.stream().permit(later, 2);
        assert_eq!(
            (renewed.stream().generation(), other.stream().generation()),
            (2, 1)
        );
        streams.cut_one(other.stream());
        assert_eq!(other.ended().await, Ended::Cut);
        let mut going = std::pin::pin!(renewed.ended());
        let past = tokio::time::sleep(Duration::from_millis(60));
        tokio::select! {
            ended = &mut going => panic!("{ended:?}"),
            () = past => {}
        }
    }

    #[test]
    fn a_session_has_a_bounded_number_of_streams() {
        let (streams, _) = streams(LONG);
        let held: Vec<_> = (0..MOST_PER_SESSION)
            .map(|_| open(&streams, "a", LONG))
            .collect();
        let now = SystemClock::shared().now();
        let until = now.checked_add(LONG).unwrap();
        let more = streams.register(&SessionId::for_test("a"), facts(), now, until);
        assert_eq!(more.unwrap_err(), StreamRefused::TooMany);
        drop(held);
    }

    fn attempt(
        streams: &Arc<Streams>,
        session: &str,
        arrived: Timestamp,
    ) -> Result<(), StreamRefused> {
        let until = arrived.checked_add(LONG).unwrap();
        streams
            .register(&SessionId::for_test(session), facts(), arrived, until)
            .map(drop)
    }

    #[test]
    fn a_request_under_way_when_its_session_ends_becomes_no_stream() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let streams = Streams::new(shared, Arc::new(Heard::default()), LONG);
        clock.advance(Duration::from_secs(1));
        assert_eq!(streams.cut(&SessionId::for_test("a")), 0, "none yet");
        let refused = attempt(&streams, "a", start);
        assert_eq!(refused, Err(StreamRefused::SessionEnded));
        assert_eq!(attempt(&streams, "b", start), Ok(()));
        streams.cut_all();
        assert_eq!(attempt(&streams, "b", start), Err(StreamRefused::AllCut));
        clock.advance(Duration::from_secs(1));
        assert_eq!(attempt(&streams, "b", clock.now()), Ok(()));
        for number in 0..MOST_CUTS {
            streams.cut(&SessionId::for_test(&number.to_string()));
        }
        let remembered = streams.lock().cuts.sessions.len();
        assert!(remembered <= MOST_CUTS);
        assert!(attempt(&streams, "0", start).is_err(), "forgotten by none");
    }
}
