//! The trail's disk fails while people click: nothing is forwarded that is not on record, nothing recorded is lost, and
//! the gateway goes on by itself when the cause is gone, and says what it was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartgate::audit::entry::Phase;
use chartgate::audit::log::{MasterKey, RealFiles, SigningKey, verify};
use chartgate::audit::open::Ground;
use chartgate::audit::outcome::End;
use chartgate::clock::{Clock, ManualClock, SharedClock, SystemClock};
use chartgate::request::Event;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use crate::harness::disk::{Disk, Fault};
use crate::harness::{Browser, House, Page, without_limits};

/// A clinic whose trail is on a disk that can fail, and somebody at work there.
struct Ward {
    house: House,
    disk: Disk,
    /// What the disk is timed with: it stands still.
    watch: Arc<ManualClock>,
    browser: Browser,
}

impl Ward {
    async fn open() -> Self {
        Self::open_by(SystemClock::shared()).await
    }

    async fn open_by(clock: SharedClock) -> Self {
        let disk = Disk::default();
        let watch = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let ground = Ground {
            files: Arc::new(disk.clone()),
            watch: watch.clone(),
        };
        let house = House::try_open_on(ground, Vec::new(), clock, |config| {
            without_limits(config);
            // Before each checkpoint it looks how full the disk is.
            config.audit.checkpoint_records = 1;
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let browser = house.at_work("dr.okafor").await;
        let mut ward = Self {
            house,
            disk,
            watch,
            browser,
        };
        assert_eq!(ward.click().await.status, StatusCode::OK);
        ward
    }

    async fn click(&mut self) -> Page {
        let url = self.house.url("/schedule");
        self.browser.get(&url).await
    }

    /// A click that the disk holds up.
    async fn held(&self) -> JoinHandle<Page> {
        self.disk.begin(Fault::Hangs);
        let mut browser = self.browser.clone();
        let url = self.house.url("/schedule");
        let waiting = tokio::spawn(async move { browser.get(&url).await });
        self.disk.wait_until_held().await;
        waiting
    }

    /// A click that is answered, and nothing but refused.
    async fn refused(&mut self) {
        let page = self.click().await;
        assert_eq!(
            page.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            page.text()
        );
        assert_eq!(page.refusal(), Some("CG-6001"));
    }

    /// Clicks until there is an answer of the EMR again.
    async fn until_it_goes_on(&mut self) {
        loop {
            let page = self.click().await;
            if page.status == StatusCode::OK {
                return;
            }
            assert_eq!(page.refusal(), Some("CG-6001"), "{}", page.text());
            tokio::task::yield_now().await;
        }
    }

    /// What `/readyz` says of the trail, and whether the gateway is to be given requests.
    async fn ready(&self) -> (StatusCode, String) {
        let admin = self.house.clinic.facts().admin.clone().unwrap();
        let page = self.house.browser().get(&format!("{admin}/readyz")).await;
        let report = page.json();
        let checks = report["checks"].as_array().unwrap();
        let trail = checks.iter().find(|check| check["name"] == "trail");
        (
            page.status,
            trail.unwrap()["detail"].as_str().unwrap().to_owned(),
        )
    }

    /// The particulars of this event, once it is there.
    async fn told(&self, event: Event) -> std::collections::BTreeMap<String, String> {
        loop {
            if let Some(detail) = self.house.particulars(event).pop() {
                return detail;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Everything that the EMR received is on record, and the trail is whole.
    fn check(&self) {
        let admissions = self.house.trail().into_iter();
        let admitted: BTreeSet<String> = admissions
            .filter(|entry| entry.phase == Phase::Admit)
            .map(|entry| entry.facts.unwrap().request)
            .collect();
        for request in self.house.clinic.received().requests() {
            let id = request.headers()["x-request-id"].to_str().unwrap();
            assert!(
                admitted.contains(id),
                "{} is not on record",
                request.target()
            );
        }
        let audit = &self.house.clinic.config().audit;
        let key = SigningKey::read(&audit.signing_key).unwrap();
        let master = MasterKey::read(&audit.master_key).unwrap();
        let witness = std::fs::read_to_string(audit.witnesses[0].file().unwrap()).unwrap();
        let report = verify(
            &RealFiles,
            &audit.directory,
            key.verifier(),
            &[("witness", &witness)],
            Some(&master),
        );
        let report = report.unwrap();
        assert!(report.is_intact(), "{report:?}");
    }

    /// Stops in order, and the trail is still whole.
    async fn stop(self) {
        let audit = self.house.clinic.config().audit.clone();
        self.house.clinic.stop().await.unwrap();
        let key = SigningKey::read(&audit.signing_key).unwrap();
        let report = verify(&RealFiles, &audit.directory, key.verifier(), &[], None).unwrap();
        assert!(report.is_intact(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn little_space_is_on_record_at_once_and_care_goes_on() {
    let mut ward = Ward::open().await;
    ward.disk.begin(Fault::Scarce);
    assert_eq!(ward.click().await.status, StatusCode::OK);
    let degraded = ward.told(Event::AuditDegraded).await;
    assert_eq!(degraded["what"], "low space");
    assert!(
        degraded["why"].starts_with("1 MiB are free"),
        "{degraded:?}"
    );
    let (status, detail) = ward.ready().await;
    assert_eq!(status, StatusCode::OK);
    assert!(detail.contains("only care is admitted"), "{detail}");
    assert_eq!(ward.click().await.status, StatusCode::OK, "care goes on");

    ward.disk.repair();
    assert_eq!(ward.click().await.status, StatusCode::OK);
    assert_eq!(ward.told(Event::AuditRestored).await["what"], "low space");
    ward.check();
    ward.stop().await;
}

/// The disk fails in this way, and is repaired.
async fn outage(fault: Fault, why: &str) {
    let mut ward = Ward::open().await;
    let reached = ward.house.reached();
    ward.disk.begin(fault);
    for _ in 0..5 {
        ward.refused().await;
    }
    assert_eq!(ward.house.reached(), reached, "nothing is forwarded");
    let (status, detail) = ward.ready().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(detail.contains(why), "{detail}");

    ward.disk.repair();
    ward.until_it_goes_on().await;
    assert_eq!(ward.ready().await.0, StatusCode::OK);
    let degraded = ward.told(Event::AuditDegraded).await;
    assert_eq!(degraded["what"], "failed");
    assert!(degraded["why"].contains(why), "{degraded:?}");
    let restored = ward.told(Event::AuditRestored).await;
    assert!(
        restored["refused"].parse::<u64>().unwrap() >= 5,
        "{restored:?}"
    );
    assert_eq!(ward.house.particulars(Event::Recovered).len(), 1);
    assert_eq!(
        ward.disk.resynced(),
        0,
        "a sync that failed is not tried again"
    );
    ward.check();
    ward.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_until_there_is_space() {
    outage(Fault::Full, "No space left on device").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_mounted_read_only_refuses_until_it_is_not() {
    outage(Fault::ReadOnly, "Read-only file system").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_write_refuses_until_it_does() {
    outage(Fault::WriteFails, "Input/output error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_believed_and_not_tried_again() {
    outage(Fault::SyncFails, "Input/output error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_is_waited_for_and_nothing_overtakes_it() {
    let mut ward = Ward::open().await;
    let reached = ward.house.reached();
    let waiting = ward.held().await;
    let patience = ward.house.clinic.config().audit.stall_after;
    ward.watch
        .advance(patience.saturating_sub(Duration::from_secs(1)));
    assert_eq!(ward.ready().await.0, StatusCode::OK);
    assert_eq!(ward.house.reached(), reached, "not before it is durable");
    assert!(!waiting.is_finished());
    ward.disk.repair();
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    assert_eq!(ward.click().await.status, StatusCode::OK);
    assert!(ward.house.particulars(Event::AuditDegraded).is_empty());
    ward.check();
    ward.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_noticed_and_refuses_until_it_answers() {
    let mut ward = Ward::open().await;
    let reached = ward.house.reached();
    let waiting = ward.held().await;
    ward.watch
        .advance(ward.house.clinic.config().audit.stall_after);
    let page = waiting.await.unwrap();
    assert_eq!(page.refusal(), Some("CG-6001"), "{}", page.text());
    for _ in 0..5 {
        ward.refused().await;
    }
    assert_eq!(ward.house.reached(), reached, "nothing is forwarded");
    let (status, detail) = ward.ready().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(detail.contains("has not answered for"), "{detail}");

    ward.watch.advance(Duration::from_secs(7));
    ward.disk.repair();
    ward.until_it_goes_on().await;
    assert_eq!(ward.ready().await.0, StatusCode::OK);
    let degraded = ward.told(Event::AuditDegraded).await;
    assert_eq!(degraded["what"], "stalled");
    let restored = ward.told(Event::AuditRestored).await;
    assert_eq!(restored["for"], "7.0s");
    assert!(
        restored["refused"].parse::<u64>().unwrap() >= 5,
        "{restored:?}"
    );
    // What was in doubt is on record as what it became.
    let trail = ward.house.trail();
    for admission in trail.iter().filter(|entry| entry.phase == Phase::Admit) {
        let request = &admission.facts.as_ref().unwrap().request;
        let received = ward.house.clinic.received().requests();
        let arrived = received
            .iter()
            .any(|received| received.headers()["x-request-id"] == request.as_str());
        if !arrived {
            let outcome = ward.house.outcome_of(admission.id).await.outcome.unwrap();
            assert_eq!(outcome.end, End::Abandoned);
            assert_eq!(outcome.refusal.as_deref(), Some("CG-6001"));
        }
    }
    ward.check();
    ward.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_disk_hangs_can_be_stopped() {
    let ward = Ward::open().await;
    let waiting = ward.held().await;
    ward.watch
        .advance(ward.house.clinic.config().audit.stall_after);
    assert_eq!(waiting.await.unwrap().refusal(), Some("CG-6001"));
    ward.check();
    let said = ward.house.clinic.stop().await.unwrap_err().to_string();
    assert!(said.contains("has not answered for"), "{said}");
    ward.disk.repair();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_the_trail_is_not_opened_and_the_message_names_the_file() {
    for key in ["master.key", "signing.key"] {
        let opened = House::try_open(SystemClock::shared(), move |config| {
            let path = config.audit.directory.with_file_name(key);
            match key {
                "master.key" => config.audit.master_key = path.into(),
                _ => config.audit.signing_key = path,
            }
        });
        let Err(error) = opened.await else {
            panic!("it started without {key}")
        };
        let said = error.to_string();
        assert!(said.contains(&format!("data/{key}")), "{said}");
    }
}

/// The machine's clock, which somebody sets.
#[derive(Debug)]
struct Settable {
    clock: SystemClock,
    ahead: Mutex<SignedDuration>,
}

impl Clock for Settable {
    fn now(&self) -> Timestamp {
        let ahead = *self.ahead.lock().unwrap();
        self.clock.now().checked_add(ahead).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_loses_no_record_and_no_request() {
    let clock = Arc::new(Settable {
        clock: SystemClock::new(),
        ahead: Mutex::new(SignedDuration::ZERO),
    });
    let mut ward = Ward::open_by(clock.clone()).await;
    for hours in [30 * 24, -30 * 24, 0] {
        *clock.ahead.lock().unwrap() = SignedDuration::from_hours(hours);
        // Whoever was signed in may have to do so again; nothing else changes for anybody.
        ward.browser = ward.house.at_work("nurse.lind").await;
        assert_eq!(ward.click().await.status, StatusCode::OK, "{hours}");
        assert_eq!(ward.ready().await.0, StatusCode::OK, "{hours}");
    }
    let trail = ward.house.trail();
    let back = trail.windows(2).filter(|pair| pair[1].time < pair[0].time);
    assert!(back.count() >= 1, "the jump back is in the trail as it was");
    ward.check();
    ward.stop().await;
}
