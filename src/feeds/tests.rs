//! Feeds as they come: read, taken over, wrong, too old.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::one::Feed;
use crate::clock::{Clock, ManualClock, SharedClock, SystemClock};
use crate::config::care::{CareFeeds, Download};

fn settings(dir: &Path) -> CareFeeds {
    CareFeeds {
        issuer: "main".to_owned(),
        system: "urn:mrn".to_owned(),
        file: Some(dir.join("care.csv")),
        download: None,
        adt: None,
        refresh: Duration::from_mins(1),
        stale_after: Duration::from_hours(1),
    }
}

fn clock() -> (Arc<ManualClock>, SharedClock) {
    let clock = Arc::new(ManualClock::new(SystemClock::new().now()));
    (Arc::clone(&clock), clock)
}

#[tokio::test]
async fn a_file_is_taken_over_kept_when_it_breaks_and_too_old_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("care.csv");
    let (time, clock) = clock();
    let mut feed = Feed::all(&settings(dir.path())).unwrap().pop().unwrap();
    assert!(!feed.look(&clock).await.unwrap());
    let (name, title) = feed.complaint(clock.now()).unwrap();
    assert!(name == "file" && title.contains("too old"), "{title}");
    assert!(!feed.look(&clock).await.unwrap());
    assert_eq!(feed.complaint(clock.now()), None, "said once");

    std::fs::write(&path, "user,patient\ndr.okafor,4\n").unwrap();
    assert!(feed.look(&clock).await.unwrap());
    assert_eq!(feed.complaint(clock.now()), None);
    let condition = feed.condition(clock.now());
    assert!(
        condition.is_fresh && condition.patients == 1,
        "{condition:?}"
    );
    assert!(!feed.look(&clock).await.unwrap(), "nothing new");

    std::fs::write(&path, "user,patient\ndr.okafor,secret,5\n").unwrap();
    assert!(!feed.look(&clock).await.unwrap());
    let (_, title) = feed.complaint(clock.now()).unwrap();
    assert!(
        title.contains("counts on: line 2") && !title.contains("secret"),
        "{title}"
    );
    assert_eq!(feed.condition(clock.now()).patients, 1);

    time.advance(Duration::from_hours(2));
    assert!(!feed.look(&clock).await.unwrap());
    let (_, title) = feed.complaint(clock.now()).unwrap();
    assert!(
        title.contains("every relation is unknown: line 2"),
        "{title}"
    );
    assert!(!feed.condition(clock.now()).is_fresh);
}

#[tokio::test]
async fn a_document_is_fetched_with_its_token_and_as_old_as_the_server_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/care.csv", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        for (status, head) in [
            ("200 OK", "Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\n"),
            ("200 OK", ""),
            ("503 Busy", ""),
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
            let body = "user,patient\ndr.okafor,4\n";
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let dir = tempfile::tempdir().unwrap();
    let settings = CareFeeds {
        file: None,
        download: Some(Download {
            url: url.parse().unwrap(),
            token: Some(crate::secret::Secret::new("t0ken".to_owned())),
            ca: None,
        }),
        ..settings(dir.path())
    };
    let start: Timestamp = "2026-11-23T10:30:00Z".parse().unwrap();
    let time = Arc::new(ManualClock::new(start));
    let clock: SharedClock = time.clone();
    let mut feed = Feed::all(&settings).unwrap().pop().unwrap();
    assert!(feed.look(&clock).await.unwrap());
    let as_of = feed.condition(clock.now()).as_of.unwrap();
    assert_eq!(start.duration_since(as_of), SignedDuration::from_mins(30));
    assert!(!feed.look(&clock).await.unwrap(), "it says the same");
    assert_eq!(feed.condition(clock.now()).as_of, Some(start));
    assert!(!feed.look(&clock).await.unwrap());
    let condition = feed.condition(clock.now());
    assert!(condition.is_fresh && condition.problem.unwrap().contains("503"));
    for asked in server.await.unwrap() {
        assert!(
            asked.to_lowercase().contains("authorization: bearer t0ken"),
            "{asked}"
        );
    }
}
