//! What the archive does not hold, or a sink has yet to get, stays.

use super::runs::first_kept;
use super::*;
use crate::audit::archived::testing::archived;
use crate::audit::shipped::Position;
use crate::config::sink::{Beginning, Patients, Sink, SinkFormat, SinkTarget};
use crate::config::syslog::SyslogServer;
use crate::config::{Archive, ArchiveLock, ArchiveTarget};
use crate::store::{NEVER, Table};

#[tokio::test]
async fn what_the_archive_does_not_hold_stays() {
    let mut runs = FiveRuns::new().await;
    let target = ArchiveTarget::Directory(runs.dir.path().join("archive"));
    let shelf = target.describe();
    runs.config.archive = Some(Archive {
        target,
        lock: ArchiveLock::Retention,
        every: Duration::from_hours(1),
    });
    let (audit, answers) = runs.in_2031().await;
    let shelf = Shelf::new(runs.store.clone(), &shelf);
    for header in headers(&RealFiles, &runs.config.directory).unwrap() {
        if header.number != 2 {
            let known = archived(header.number, header.segment);
            shelf.keep(&known).await.unwrap();
        }
    }
    let removed = ask(&answers, retention(true)).await.unwrap();
    let [_, Piece::Expired(_), Piece::Kept(kept), Piece::Removed(1)] = &removed[..] else {
        panic!("{removed:?}");
    };
    assert_eq!(
        (kept.segment.number, &kept.why, kept.behind),
        (2, &Why::NotArchived, 1)
    );
    audit.log().shutdown().unwrap();
    assert!(is_intact(&runs.config));
}

#[tokio::test]
async fn what_a_sink_has_yet_to_get_stays_until_it_has_it_or_is_no_sink_any_more() {
    let mut runs = FiveRuns::new().await;
    runs.config.sinks = ["siem", "repository", "new"].map(shipped_to).to_vec();
    runs.config.sinks[0].from = Beginning::Oldest;
    let firsts: Vec<u64> = headers(&RealFiles, &runs.config.directory)
        .unwrap()
        .iter()
        .map(|header| header.first)
        .collect();
    let (second, third) = (firsts[1], firsts[2]);
    let store = runs.store.clone();
    let at = async |sink: &str, next: u64, open: Vec<u64>| {
        let position = Position {
            next,
            open,
            ..Position::default()
        };
        let key = crate::audit::shipped::key(sink);
        store
            .keep(Table::Upkeep, &key, &position, NEVER)
            .await
            .unwrap();
    };
    let (audit, answers) = runs.in_2031().await;
    let kept = async || first_kept(&answers).await;
    let not_shipped =
        |to: &[&str]| Why::NotShipped(to.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    at("repository", 10_000, Vec::new()).await;
    // One that begins with the oldest record and was never started wants all of it; one that begins now wants nothing.
    assert_eq!(kept().await, Some((1, not_shipped(&["siem"]))));
    at("siem", second, Vec::new()).await;
    assert_eq!(kept().await, Some((2, not_shipped(&["siem"]))));
    at("repository", 10_000, vec![second]).await;
    assert_eq!(
        kept().await,
        Some((2, not_shipped(&["siem", "repository"])))
    );
    at("repository", 10_000, Vec::new()).await;
    at("siem", third - 1, Vec::new()).await;
    assert_eq!(
        kept().await,
        Some((2, not_shipped(&["siem"]))),
        "not its last record"
    );
    at("siem", third, Vec::new()).await;
    assert_eq!(kept().await, Some((3, not_shipped(&["siem"]))));
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(2)));
    audit.log().shutdown().unwrap();
    drop(answers);
    // Taken out of the configuration, it waits for nothing, whatever the store knows of it.
    runs.config.sinks.clear();
    let (audit, answers) = runs.open("2031-06-02").await;
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    audit.log().shutdown().unwrap();
    assert!(is_intact(&runs.config));
}

fn shipped_to(name: &str) -> Sink {
    let receiver = SyslogServer::at("logs.hospital.example", None, None);
    Sink {
        name: name.to_owned(),
        format: SinkFormat::Jsonl,
        target: SinkTarget::Syslog(receiver.unwrap()),
        include: Vec::new(),
        from: Beginning::Now,
        patients: Patients::Clear,
        alarm_after: Duration::from_mins(15),
    }
}
