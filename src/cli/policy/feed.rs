//! Feeds the decisions on the trail to whoever counts them: one thread reads and decrypts, the others take the records
//! apart and count, so that millions of records are a matter of minutes.
//!
//! *Owns*: nothing that grows with the trail; a few batches of records at a time.
//! *Never*: a reading that is not on record.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::trail;
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::audit::entry::EntryError;
use crate::audit::log::{MasterKey, Reader, RealFiles, Sequences};
use crate::audit::recall::Recalled;
use crate::audit::show::Filter;
use crate::cli::console::{Console, Failure};
use crate::cli::{gateway, offline};
use crate::clock::SharedClock;

/// Records that go to a worker at once.
const BATCH: usize = 512;
/// Batches that wait for a worker.
const WAITING: usize = 4;
/// Most workers: beyond that the one that reads cannot keep up.
const MOST_WORKERS: usize = 8;
/// How close to the beginning of the time looked at a search by halves comes, in records.
const NEAR: u64 = 50_000;
/// How often progress is said.
const SAID_EVERY: Duration = Duration::from_millis(500);

/// What counts records.
pub(super) trait Tally: Send {
    /// Takes a record into account.
    fn note(&mut self, seen: &Recalled);
    /// Takes what another counted into account.
    fn merge(&mut self, other: Self);
}

/// What is read, and from when on.
pub(super) struct Reading<'r> {
    pub(super) config: &'r Path,
    pub(super) since: Timestamp,
    /// What it is read for, as the record of the reading says.
    pub(super) purpose: &'static str,
    pub(super) clock: &'r SharedClock,
}

/// A record before it is taken apart.
enum Raw {
    Bytes(Vec<u8>),
    Value(Value),
}

impl Reading<'_> {
    /// Feeds every record since then to tallies that `make` makes, one for each worker, and returns their sum.
    pub(super) fn count<T: Tally>(
        &self,
        console: &mut Console<'_>,
        make: impl Fn() -> T,
    ) -> Result<T, Failure> {
        let runtime = trail::runtime()?;
        let counted = dealt(self.clock, self.since, make, |out| {
            runtime.block_on(self.read(out, console))
        });
        console.progress("")?;
        counted
    }

    async fn read(&self, out: &mut Outlet<'_>, console: &mut Console<'_>) -> Result<(), Failure> {
        let request = AdminRequest::AuditShow {
            filter: Filter {
                since: Some(self.since),
                ..Filter::default()
            },
            follow: false,
        };
        let admin = gateway::admin(self.config)?;
        match AdminClient::ask(&admin.socket, request).await {
            Ok(mut client) => {
                while let Some(mut value) = client.next().await.map_err(Failure::of)? {
                    let sequence = value.get("seq").and_then(Value::as_u64).unwrap_or(0);
                    // Beside entries there is only what cannot be read any more.
                    let Some(entry) = value.get_mut("entry").map(Value::take) else {
                        continue;
                    };
                    out.send(Raw::Value(entry), (sequence, None), console)?;
                }
                Ok(())
            }
            Err(ClientError::NotRunning(_)) => self.open_and_read(out, console).await,
            Err(error) => Err(Failure::of(error)),
        }
    }

    async fn open_and_read(
        &self,
        out: &mut Outlet<'_>,
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        let config = offline::config(self.config)?;
        let asked = format!("{} since {}", self.purpose, self.since);
        let (audit, master) = trail::opened(&config, ("purpose", asked), self.clock).await?;
        let last = audit.log().status().sequence;
        let disk = Disk {
            directory: &config.audit.directory,
            master: Arc::new(master),
            last,
            since: self.since,
        };
        let read = disk.read(out, console);
        offline::close(&audit).await?;
        read
    }
}

/// The log's files, while nobody writes to them.
struct Disk<'d> {
    directory: &'d Path,
    master: Arc<MasterKey>,
    last: u64,
    since: Timestamp,
}

impl Disk<'_> {
    fn read(&self, out: &mut Outlet<'_>, console: &mut Console<'_>) -> Result<(), Failure> {
        let last = self.last;
        let reader = |from| {
            let range = Sequences { from, to: last };
            let files = Arc::new(RealFiles);
            Reader::new(files, self.directory, Arc::clone(&self.master), range)
        };
        let time_at = |at: u64| -> Result<Option<Timestamp>, Failure> {
            let record = reader(at).next_record().map_err(Failure::of)?;
            let read = record.map(|record| Recalled::from_bytes(&record.payload));
            Ok(read
                .transpose()
                .map_err(Failure::of)?
                .map(|entry| entry.time))
        };
        // Records are in the order of time but for those that were written side by side.
        let (mut from, mut to) = (0, last);
        while to.saturating_sub(from) > NEAR {
            let middle = from.midpoint(to);
            match time_at(middle)? {
                Some(time) if time < self.since => from = middle,
                Some(_) | None => to = middle,
            }
        }
        let from = from.saturating_sub(NEAR);
        let mut reader = reader(from);
        while let Some(record) = reader.next_record().map_err(Failure::of)? {
            let place = (
                record.sequence.saturating_sub(from),
                Some(last.saturating_sub(from)),
            );
            out.send(Raw::Bytes(record.payload), place, console)?;
        }
        Ok(())
    }
}

/// Has `read` deal records out to threads that count them, each with a tally of its own, and returns the sum.
fn dealt<T: Tally>(
    clock: &SharedClock,
    since: Timestamp,
    make: impl Fn() -> T,
    read: impl FnOnce(&mut Outlet<'_>) -> Result<(), Failure>,
) -> Result<T, Failure> {
    thread::scope(|scope| {
        let (mut lanes, mut hands) = (Vec::new(), Vec::new());
        for _ in 0..workers() {
            let (lane, batches) = sync_channel(WAITING);
            let tally = make();
            hands.push(scope.spawn(move || work(&batches, tally, since)));
            lanes.push(lane);
        }
        let mut out = Outlet::new(lanes, clock);
        let read = read(&mut out).and_then(|()| out.flush());
        drop(out);
        let mut sum = make();
        for hand in hands {
            // A worker's reason comes first: the reader only saw that nobody listened any more.
            let stopped = || Failure::Failed("a thread that counts records stopped".to_owned());
            sum.merge(hand.join().ok().ok_or_else(stopped)?.map_err(Failure::of)?);
        }
        read.map(|()| sum)
    })
}

fn workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.clamp(1, MOST_WORKERS)
}

fn work<T: Tally>(
    batches: &Receiver<Vec<Raw>>,
    mut tally: T,
    since: Timestamp,
) -> Result<T, EntryError> {
    for batch in batches {
        for raw in batch {
            let seen = match raw {
                Raw::Bytes(bytes) => Recalled::from_bytes(&bytes)?,
                Raw::Value(value) => Recalled::from_value(value)?,
            };
            if seen.time >= since {
                tally.note(&seen);
            }
        }
    }
    Ok(tally)
}

/// Deals records out to the workers, in turns, and says how far it is.
struct Outlet<'c> {
    lanes: Vec<SyncSender<Vec<Raw>>>,
    next: usize,
    batch: Vec<Raw>,
    done: u64,
    clock: &'c SharedClock,
    begun: Duration,
    said: Duration,
}

impl<'c> Outlet<'c> {
    fn new(lanes: Vec<SyncSender<Vec<Raw>>>, clock: &'c SharedClock) -> Self {
        let begun = clock.monotonic();
        Self {
            lanes,
            next: 0,
            batch: Vec::with_capacity(BATCH),
            done: 0,
            clock,
            begun,
            said: begun,
        }
    }

    fn send(
        &mut self,
        raw: Raw,
        (at, of): (u64, Option<u64>),
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        self.batch.push(raw);
        self.done = self.done.saturating_add(1);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.flush()?;
        let now = self.clock.monotonic();
        if now.saturating_sub(self.said) < SAID_EVERY {
            return Ok(());
        }
        self.said = now;
        let seconds = now.saturating_sub(self.begun).as_secs().max(1);
        let rate = self.done.checked_div(seconds).unwrap_or(0);
        let share = of.map(|of| at.saturating_mul(100).checked_div(of.max(1)).unwrap_or(0));
        let share = share.map_or_else(String::new, bar);
        console.progress(format_args!(
            "{share}{} records, {rate} a second",
            self.done
        ))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let lane = self.lanes.get(self.next);
        self.next = self
            .next
            .saturating_add(1)
            .checked_rem(self.lanes.len())
            .unwrap_or(0);
        let sent = lane.is_some_and(|lane| lane.send(batch).is_ok());
        let stopped = || Failure::Failed("a thread that counts records stopped".to_owned());
        sent.then_some(()).ok_or_else(stopped)
    }
}

/// A bar for so many per cent.
fn bar(share: u64) -> String {
    let full = usize::try_from(share.min(100) / 5).unwrap_or(0);
    format!(
        "[{}{}] {share} %  ",
        "#".repeat(full),
        ".".repeat(20_usize.saturating_sub(full))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::Entry;
    use crate::audit::fixture::{configured, facts, limits, time};
    use crate::audit::log::{Payload, Priority, Truncation};
    use crate::audit::trail::Audit;
    use crate::cli::Exit;
    use crate::cli::console::testing::Captured;
    use crate::clock::SystemClock;
    use crate::request::Action;

    /// How many records there are, and how many tell of a decision.
    #[derive(Default)]
    struct Count(u64, u64);

    impl Tally for Count {
        fn note(&mut self, seen: &Recalled) {
            self.merge(Self(1, u64::from(seen.facts.is_some())));
        }

        fn merge(&mut self, other: Self) {
            self.0 = self.0.saturating_add(other.0);
            self.1 = self.1.saturating_add(other.1);
        }
    }

    #[tokio::test]
    async fn every_record_since_then_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = configured(dir.path());
        let clock = SystemClock::shared();
        let files = Arc::new(RealFiles);
        let limits = limits();
        let opened = Audit::open(&config, &limits, files, clock.clone(), Truncation::Refuse);
        let (audit, _) = opened.await.unwrap();
        let facts = facts(Action::Read, &["4"]);
        for number in 0..1_500 {
            let at = time() + Duration::from_secs(number);
            let bytes = Entry::admit(&"gw1".into(), at, &facts).to_bytes().unwrap();
            let [slot] = audit.log().reserve::<1>(Priority::Care).unwrap();
            slot.append(Payload::new(bytes).unwrap()).await.unwrap();
        }
        let disk = Disk {
            directory: &config.directory,
            master: Arc::new(MasterKey::read(&config.master_key).unwrap()),
            last: audit.log().status().sequence,
            since: time() + Duration::from_secs(1_000),
        };
        let mut sum = None;
        let captured = Captured::run(|console| {
            let read = |out: &mut Outlet<'_>| disk.read(out, console);
            sum = Some(dealt(&clock, disk.since, Count::default, read).unwrap());
            Exit::Fine
        });
        let sum = sum.unwrap();
        assert_eq!(sum.1, 500);
        assert!(sum.0 >= 500, "the start of the log is newer");
        assert!(captured.err.is_empty(), "no progress away from a terminal");
        audit.log().shutdown().unwrap();
    }

    #[test]
    fn a_record_that_cannot_be_read_ends_it_with_the_reason() {
        let clock = SystemClock::shared();
        let done = dealt(&clock, time(), Count::default, |out| {
            out.batch.push(Raw::Bytes(b"no entry".to_vec()));
            Ok(())
        });
        let failure = done.err().unwrap().to_string();
        assert!(failure.contains("is not a Chartgate entry"), "{failure}");
    }

    #[test]
    fn the_bar_fills() {
        assert_eq!(bar(0), "[....................] 0 %  ");
        assert_eq!(bar(50), "[##########..........] 50 %  ");
        assert!(bar(u64::MAX).starts_with("[####################]"));
    }
}
