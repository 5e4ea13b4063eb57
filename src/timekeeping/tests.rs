//! The room against time servers in this process, with clocks that tests set.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::net::UdpSocket;

use super::*;
use crate::audit::entry::Entry;
use crate::audit::fixture;
use crate::audit::log::{MasterKey, Reader, RealFiles, Sequences, Truncation};
use crate::clock::Clock;
use crate::config::timekeeping::TimeServer;

/// A wall clock that can be set, and a monotonic one that goes on.
#[derive(Debug)]
struct Clocks(Mutex<(Timestamp, Duration)>);

impl Clocks {
    fn new() -> Arc<Self> {
        let start = "2026-03-01T10:00:00Z".parse().unwrap();
        Arc::new(Self(Mutex::new((start, Duration::ZERO))))
    }

    /// Time goes by, and the wall clock jumps.
    fn pass(&self, span: Duration, jump: SignedDuration) {
        let mut both = self.0.lock().unwrap();
        both.0 = both.0 + span + jump;
        both.1 += span;
    }
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// How a server answers.
#[derive(Clone, Copy)]
enum Manner {
    Off(SignedDuration),
    Kiss([u8; 4]),
    /// Answers that nobody asked for come first.
    Crowded,
}

/// Serves until the test ends; counts the questions.
async fn server(clock: Arc<Clocks>, manner: Manner) -> (TimeServer, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut packet = [0; 64];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let question = &packet[..length];
            let answer = |off| sntp::tests::answer(question, clock.now(), off).to_vec();
            let answers = match manner {
                Manner::Off(off) => vec![answer(off)],
                Manner::Kiss(code) => {
                    let mut packet = answer(SignedDuration::ZERO);
                    packet[1] = 0;
                    packet[12..16].copy_from_slice(&code);
                    vec![packet]
                }
                Manner::Crowded => {
                    let mut forged = answer(SignedDuration::from_hours(1));
                    forged[24..32].fill(9);
                    let own = answer(SignedDuration::from_millis(5));
                    vec![forged, b"short".to_vec(), own]
                }
            };
            for answer in answers {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    let server = TimeServer {
        host: "127.0.0.1".to_owned(),
        port,
    };
    (server, asked)
}

struct Kit {
    home: tempfile::TempDir,
    audit: Audit,
    clock: Arc<Clocks>,
    room: Timekeeping,
}

impl Kit {
    async fn new(clock: Arc<Clocks>, servers: Vec<TimeServer>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = fixture::configured(home.path());
        let (audit, _) = Audit::open(
            &config,
            &fixture::limits(),
            Arc::new(RealFiles),
            clock.clone(),
            Truncation::Refuse,
        )
        .await
        .unwrap();
        let section = Section {
            servers,
            poll: Duration::from_secs(64),
            most_offset: Duration::from_secs(1),
        };
        Self {
            room: Timekeeping::open(&section, audit.clone(), clock.clone()),
            home,
            audit,
            clock,
        }
    }

    /// Events and their particulars, the start aside.
    fn events(&self) -> Vec<(Event, BTreeMap<String, String>)> {
        let config = fixture::configured(self.home.path());
        let master = Arc::new(MasterKey::read(&config.master_key).unwrap());
        let files = Arc::new(RealFiles);
        let mut reader = Reader::new(files, &config.directory, master, Sequences::ALL);
        let mut events = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            let entry = Entry::from_bytes(&record.payload).unwrap();
            events.push((entry.event.unwrap(), entry.detail));
        }
        events.remove(0);
        events
    }

    fn rules(&self) -> Vec<String> {
        let alarms = self.events().into_iter();
        alarms
            .filter(|(event, _)| *event == Event::Alarm)
            .map(|(_, detail)| detail["rule"].clone())
            .collect()
    }
}

const fn off(millis: i64) -> Manner {
    Manner::Off(SignedDuration::from_millis(millis))
}

fn said(standing: &Standing) -> &str {
    let (Standing::Fine(said) | Standing::Look(said)) = standing;
    said
}

#[tokio::test]
async fn what_time_servers_say_stands_on_the_checkpoints() {
    let clock = Clocks::new();
    let (one, _) = server(clock.clone(), off(4)).await;
    let (liar, _) = server(clock.clone(), off(-3_600_000)).await;
    let (two, _) = server(clock.clone(), Manner::Crowded).await;
    let kit = Kit::new(clock, vec![one, liar, two]).await;
    assert!(said(&kit.room.standing()).contains("not asked yet"));
    kit.room.poll().await;
    // The middle of -1 h, 4 ms and 5 ms.
    let Kept::Ntp(compared) = kit.room.state().kept.clone() else {
        panic!("{:?}", kit.room.state().kept);
    };
    assert_eq!((compared.answered, compared.asked), (3, 3));
    assert_eq!(
        SignedDuration::from_micros(4_000).as_micros(),
        (compared.median.offset + SignedDuration::from_nanos(500)).as_micros()
    );
    assert!(said(&kit.room.standing()).contains("s apart"));
    kit.audit
        .event(Event::AuditRead, None, BTreeMap::new())
        .await
        .unwrap();
    kit.audit.log().shutdown().unwrap();
    let notes = std::fs::read_to_string(kit.home.path().join("witness")).unwrap();
    let mut lines = notes.lines();
    let line = lines.rfind(|line| line.starts_with("clock ")).unwrap();
    assert!(line.starts_with("clock ntp stratum=2 offset=+"), "{line}");
    assert!(
        line.ends_with("answers=3/3 at=2026-03-01T10:00:00Z"),
        "{line}"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_one_alarm_until_it_is_right() {
    let clock = Clocks::new();
    let (right, _) = server(clock.clone(), off(0)).await;
    let (far, _) = server(clock.clone(), off(3_600_000)).await;
    let kit = Kit::new(clock.clone(), vec![right]).await;
    kit.room.poll().await;
    assert!(matches!(kit.room.standing(), Standing::Fine(_)));
    assert_eq!(kit.rules(), Vec::<String>::new());
    let mut section = kit.room.inner.section.clone();
    section.servers = vec![far];
    let moved = Timekeeping::open(&section, kit.audit.clone(), clock.clone());
    moved.poll().await;
    moved.poll().await;
    assert_eq!(kit.rules(), ["clock-offset"]);
    assert!(matches!(moved.standing(), Standing::Look(said) if said.contains("off by more")));
    let (_, detail) = kit.events().pop().unwrap();
    assert!(detail["title"].contains("+3600.000 s off"), "{detail:?}");
}

#[tokio::test]
async fn a_jump_is_on_record_with_its_alarm() {
    let kit = Kit::new(Clocks::new(), Vec::new()).await;
    let second = Duration::from_secs(1);
    kit.room.look().await;
    kit.clock.pass(second, SignedDuration::from_millis(900));
    kit.room.look().await;
    assert_eq!(kit.events(), []);
    kit.clock.pass(second, SignedDuration::from_hours(-1));
    kit.room.look().await;
    kit.clock.pass(second, SignedDuration::ZERO);
    kit.room.look().await;
    let (kinds, details): (Vec<_>, Vec<_>) = kit.events().into_iter().unzip();
    assert_eq!(kinds, [Event::ClockStepped, Event::Alarm]);
    assert_eq!(details[0]["by"], "-3600.000 s");
    assert_eq!(details[0]["before"], "2026-03-01T10:00:02.9Z");
    assert_eq!(details[0]["after"], "2026-03-01T09:00:02.9Z");
    assert_eq!(details[1]["rule"], "clock-stepped");
    assert!(said(&kit.room.standing()).contains("jumped by -3600.000 s"));
}

#[tokio::test]
async fn a_jump_that_cannot_be_recorded_waits() {
    let kit = Kit::new(Clocks::new(), Vec::new()).await;
    kit.room.look().await;
    kit.audit.log().shutdown().unwrap();
    for _ in 0..40 {
        let jump = SignedDuration::from_hours(2);
        kit.clock.pass(Duration::from_secs(1), jump);
        kit.room.look().await;
    }
    assert_eq!(kit.room.state().waiting.len(), MOST_WAITING);
}

#[tokio::test]
async fn who_wants_to_be_left_alone_is() {
    let clock = Clocks::new();
    let (denies, first) = server(clock.clone(), Manner::Kiss(*b"DENY")).await;
    let (slows, second) = server(clock.clone(), Manner::Kiss(*b"RATE")).await;
    let kit = Kit::new(clock, vec![denies, slows]).await;
    for _ in 0..=LEFT_OUT {
        kit.room.poll().await;
    }
    let count = |asked: &AtomicUsize| asked.load(Ordering::SeqCst);
    assert_eq!((count(&first), count(&second)), (1, 1));
    let kept = kit.room.state().kept.to_string();
    assert_eq!(kept, "ntp silent answers=0/2");
    kit.room.poll().await;
    assert_eq!((count(&first), count(&second)), (1, 2));
}
