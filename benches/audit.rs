//! What a durable record costs: `cargo bench --bench audit`.
//!
//! Tasks on a runtime for each core append records of 655 bytes to a trail on this disk and wait until each is durable,
//! as admissions do: 1, 64 and 512 of them at once. It prints records per second, CPU time per record (all threads of
//! the process: tasks, writer, kernel), how many records went with one sync, and the time that a record waits. Beside
//! them stands what one sync of the same disk takes by itself. Then it verifies what was written, with the public key
//! and with the master key, and says what the process took of memory.
//!
//! `SECONDS` (3) changes how long each round lasts, `DIRECTORY` where the trail lies, `ALLOCATE` how many MiB are
//! reserved in a segment at a time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures with the clock of the machine, prints, and fails by panicking"
)]

use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chartgate::audit::log::{
    Limits, Log, LogOptions, MasterKey, Observer, Payload, Priority, RealFiles, Recovered,
    SigningKey, Truncation, VerifierKey, verify,
};
use chartgate::clock::SystemClock;

/// Tasks that append at once.
const WRITERS: &[usize] = &[1, 64, 512];
/// Bytes of a record: the median of admissions.
const PAYLOAD: usize = 655;
/// How often a raw sync is timed.
const SYNCS: usize = 400;

fn set(name: &str, usual: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap())
}

#[derive(Debug)]
struct Silent;

impl Observer for Silent {
    fn failed(&mut self, reason: &str) {
        println!("the disk failed: {reason}");
    }

    fn recovered(&mut self, _: &Recovered) -> Vec<Payload> {
        Vec::new()
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// A line of `/proc/self/status`, in MiB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|found| found.starts_with(line));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    kilobytes.parse::<u64>().unwrap() / 1024
}

/// The value below which so many of a hundred are.
fn part(sorted: &[Duration], percent: usize) -> Duration {
    let index = sorted.len() * percent / 100;
    sorted[index.min(sorted.len() - 1)]
}

/// The median of one `fdatasync` behind a write of one record into space that is there.
fn raw_sync(directory: &Path) -> Duration {
    let mut file = std::fs::File::create(directory.join("raw")).unwrap();
    file.write_all(&vec![0; 4 * 1024 * 1024]).unwrap();
    file.sync_all().unwrap();
    file.rewind().unwrap();
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[7; PAYLOAD + 70]).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    part(&times, 50)
}

/// What one round came to.
struct Round {
    records: u64,
    took: Duration,
    cpu: Duration,
    batches: u64,
    waited: Vec<Duration>,
}

fn round(log: &Log, writers: usize, lasts: Duration) -> Round {
    let cores = std::thread::available_parallelism()
        .unwrap()
        .get()
        .min(writers);
    let (before, began, batches) = (cpu(), Instant::now(), log.status().batches);
    let workers: Vec<_> = (0..cores)
        .map(|worker| {
            let log = log.for_worker();
            let tasks = writers / cores + usize::from(worker < writers % cores);
            std::thread::spawn(move || work(&log, tasks, began + lasts))
        })
        .collect();
    let mut waited: Vec<Duration> = Vec::new();
    for worker in workers {
        waited.extend(worker.join().expect("a worker"));
    }
    waited.sort();
    Round {
        records: waited.len() as u64,
        took: began.elapsed(),
        cpu: cpu().saturating_sub(before),
        batches: log.status().batches - batches,
        waited,
    }
}

/// One worker: a current-thread runtime with a courier, as the gateway's are.
fn work(log: &Log, tasks: usize, until: Instant) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::task::spawn_local(log.courier().run());
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let log = log.clone();
                tokio::task::spawn_local(async move {
                    let mut waited = Vec::new();
                    loop {
                        let began = Instant::now();
                        if began >= until {
                            return waited;
                        }
                        let payload = Payload::new(vec![b'x'; PAYLOAD]).unwrap();
                        let [slot] = log.reserve::<1>(Priority::Care).unwrap();
                        slot.append(payload).await.unwrap();
                        waited.push(began.elapsed());
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    })
}

fn verified(directory: &Path, key: &VerifierKey, master: Option<&MasterKey>) {
    let began = Instant::now();
    let before = memory("VmRSS:");
    let report = verify(&RealFiles, directory, key, &[], master).unwrap();
    assert!(report.is_intact(), "{:?}", report.problems);
    let took = began.elapsed().as_secs_f64();
    println!(
        "| {} | {} | {:.0} | {} |",
        if master.is_some() {
            "master key: every record opened"
        } else {
            "public key"
        },
        report.records,
        report.records as f64 / took,
        memory("VmRSS:").saturating_sub(before),
    );
}

fn main() {
    let lasts = Duration::from_secs(set("SECONDS", 3));
    let place = match std::env::var_os("DIRECTORY") {
        Some(directory) => tempfile::tempdir_in(directory).unwrap(),
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
    };
    let trail = place.path().join("trail");
    let signer = SigningKey::generate("chartgate-bench").unwrap();
    let key = signer.verifier().clone();
    let master = Arc::new(MasterKey::generate().unwrap());
    let options = LogOptions {
        directory: trail.clone(),
        node: "bench".to_owned(),
        master: Arc::clone(&master),
        signer,
        witnesses: Vec::new(),
        observer: Box::new(Silent),
        limits: Limits {
            allocate_bytes: set("ALLOCATE", Limits::default().allocate_bytes >> 20) << 20,
            ..Limits::default()
        },
        watch: SystemClock::shared(),
        truncation: Truncation::Refuse,
    };
    let files = Arc::new(RealFiles);
    let (log, _) = Log::open(options, files, SystemClock::shared()).unwrap();
    println!(
        "One sync of this disk (median): {:?}\n",
        raw_sync(place.path())
    );
    println!("| writers | records/s | CPU µs/record | records/sync | p50 | p99 |");
    println!("|--:|--:|--:|--:|--:|--:|");
    for writers in WRITERS {
        let _warm = round(&log, *writers, Duration::from_millis(300));
        let round = round(&log, *writers, lasts);
        println!(
            "| {writers} | {:.0} | {:.2} | {:.0} | {:?} | {:?} |",
            round.records as f64 / round.took.as_secs_f64(),
            round.cpu.as_secs_f64() * 1e6 / round.records as f64,
            round.records as f64 / round.batches as f64,
            part(&round.waited, 50),
            part(&round.waited, 99),
        );
    }
    println!(
        "\nMemory of the process with 512 writers: {} MiB at most",
        memory("VmHWM:")
    );
    log.shutdown().unwrap();
    drop(log);
    println!("\n| verified with | records | records/s | MiB more |");
    println!("|---|--:|--:|--:|");
    verified(&trail, &key, None);
    verified(&trail, &key, Some(&master));
}
