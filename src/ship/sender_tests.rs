//! Receivers that answer 500, hang up, stop half-way or stall, and restarts in between: what arrives is the trail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::channel;
use super::super::report::BEHIND;
use super::*;
use crate::audit::follow::Place;
use crate::audit::log::MasterKey;
use crate::config::sink::{HttpReceiver, Patients, SinkFormat, SinkTarget};
use crate::operate::testing::Ground as House;
use crate::outbound::syslog::tests::{Place as SyslogPlace, frame};
use crate::request::Event;
use crate::secret::Secret;

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Reads it and answers so; it has what it answers 200 to.
    Answer(u16),
    /// Hangs up before it read anything.
    Drop,
    /// Reads it, keeps it and hangs up.
    Cut,
    /// Reads it, keeps it and stops in the middle of its answer.
    Half,
    /// Takes no more than three lines at once.
    Small,
    /// Never answers.
    Stall,
}

type Heard = mpsc::UnboundedReceiver<(String, Vec<String>)>;

/// A receiver that does these things one after the other, and then answers 200; and what it has.
async fn receiver(script: Vec<Act>) -> (url::Url, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut script = script.into_iter().peekable();
        let mut stalled = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let small = script.next_if(|act| matches!(act, Act::Small)).is_some();
            let act = if small {
                Act::Small
            } else {
                script.next().unwrap_or(Act::Answer(200))
            };
            if matches!(act, Act::Drop) {
                continue;
            }
            let mut stream = BufReader::new(stream);
            let (mut length, mut shown) = (0, String::new());
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let Some((name, value)) = line.trim().split_once(": ") else {
                    if line.trim().is_empty() {
                        break;
                    }
                    continue;
                };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "authorization" => value.clone_into(&mut shown),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8(body).unwrap();
            let lines: Vec<String> = body.lines().map(str::to_owned).collect();
            let status = match act {
                Act::Answer(status) => status,
                Act::Small if lines.len() > 3 => 413,
                Act::Small | Act::Cut | Act::Half | Act::Drop | Act::Stall => 200,
            };
            if matches!(act, Act::Stall) {
                stalled.push(stream);
                continue;
            }
            if status == 200 {
                drop(told.send((shown, lines)));
            }
            let answer = match act {
                Act::Cut => String::new(),
                Act::Half => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".to_owned(),
                Act::Answer(_) | Act::Small | Act::Drop | Act::Stall => {
                    format!("HTTP/1.1 {status} X\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n")
                }
            };
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (url.parse().unwrap(), heard)
}

pub(in crate::ship) fn sink(target: SinkTarget) -> Sink {
    Sink {
        name: "siem".to_owned(),
        format: SinkFormat::Jsonl,
        target,
        include: vec![Included::Requests, Included::Refusals, Included::Events],
        from: Beginning::Oldest,
        patients: Patients::Clear,
        alarm_after: Duration::from_mins(15),
    }
}

pub(in crate::ship) fn by_https(url: url::Url) -> Sink {
    sink(SinkTarget::Https(HttpReceiver {
        url,
        ca: None::<PathBuf>,
        certificate: None,
        token: Some(Secret::new("shared-token".to_owned())),
    }))
}

pub(in crate::ship) fn sender(house: &House, sink: &Sink) -> Sender {
    let channel = Channel::new(sink).unwrap();
    Sender {
        sink: sink.clone(),
        format: channel::format(sink),
        window: channel.window(),
        channel,
        ground: Ground {
            audit: house.audit.clone(),
            place: Place {
                directory: house.config.directory.clone(),
                master: Arc::new(MasterKey::read(&house.config.master_key).unwrap()),
            },
            store: house.store.clone(),
            clock: house.shared_clock(),
        },
        state: Arc::default(),
        first_wait: Duration::ZERO,
        wait: Duration::ZERO,
        receiver: Receiver::default(),
        minimiser: Minimiser::new(&sink.patients),
        since: house.shared_clock().now(),
        failing: None,
    }
}

pub(in crate::ship) async fn happens(house: &House, number: usize) {
    let detail = BTreeMap::from([("number".to_owned(), number.to_string())]);
    house
        .audit
        .event(Event::PageShown, None, detail)
        .await
        .unwrap();
}

pub(in crate::ship) fn id(line: &str) -> String {
    let record: Value = serde_json::from_str(line).unwrap();
    record["entry"]["id"].as_str().unwrap().to_owned()
}

/// Each record at its first arrival.
fn arrivals(heard: &mut Heard) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok((_, batch)) = heard.try_recv() {
        lines.extend(batch);
    }
    let mut seen = BTreeSet::new();
    let ids = lines.iter().map(|line| id(line));
    ids.filter(|id| seen.insert(id.clone())).collect()
}

pub(in crate::ship) fn on_trail(house: &House) -> Vec<String> {
    house
        .trail()
        .iter()
        .map(|entry| entry.id.to_string())
        .collect()
}

/// Sends what is there, going back where the receiver may have lost something.
pub(in crate::ship) async fn catch_up(sender: &mut Sender, stream: &mut Stream) {
    let (_end, mut ending) = watch::channel(false);
    loop {
        match sender.turn(stream, &mut ending).await {
            Fate::Sent => {}
            Fate::Back => *stream = sender.again(stream),
            Fate::Idle => return,
            Fate::Left => panic!("nobody ended it"),
        }
    }
}

pub(in crate::ship) async fn started(sender: &Sender) -> Stream {
    sender.stream(sender.begin().await.unwrap())
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        Just(Act::Answer(200)),
        Just(Act::Answer(500)),
        Just(Act::Answer(429)),
        Just(Act::Answer(401)),
        Just(Act::Answer(404)),
        Just(Act::Drop),
        Just(Act::Cut),
        Just(Act::Half),
        Just(Act::Small),
    ];
    prop::collection::vec(act, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the receiver does, and however often the gateway starts anew: what arrived is the trail, in order.
    #[test]
    fn what_arrives_is_the_trail(script in acts(), rounds in prop::collection::vec((0_usize..12, prop::bool::ANY), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (arrived, expected) = runtime.block_on(async {
            let house = House::new().await;
            let (url, mut heard) = receiver(script).await;
            let sink = by_https(url);
            let mut sender = sender(&house, &sink);
            let mut stream = started(&sender).await;
            for (number, restarts) in rounds {
                for number in 0..number {
                    happens(&house, number).await;
                }
                catch_up(&mut sender, &mut stream).await;
                if restarts {
                    sender = self::sender(&house, &sink);
                    stream = started(&sender).await;
                }
            }
            catch_up(&mut sender, &mut stream).await;
            (arrivals(&mut heard), on_trail(&house))
        });
        prop_assert_eq!(arrived, expected);
    }
}

#[tokio::test]
async fn a_token_is_shown_and_a_restart_sends_nothing_again() {
    let house = House::new().await;
    let (url, mut heard) = receiver(Vec::new()).await;
    let sink = by_https(url);
    happens(&house, 1).await;
    let mut first = sender(&house, &sink);
    let mut stream = started(&first).await;
    catch_up(&mut first, &mut stream).await;
    let (shown, lines) = heard.recv().await.unwrap();
    assert_eq!(
        (shown.as_str(), lines.len()),
        ("Bearer shared-token", on_trail(&house).len())
    );
    let mut second = sender(&house, &sink);
    let mut stream = started(&second).await;
    catch_up(&mut second, &mut stream).await;
    assert!(heard.try_recv().is_err());
    assert_eq!(second.state.condition().behind, 0);
}

#[tokio::test]
async fn a_new_sink_begins_now_and_gets_the_kinds_that_it_wants() {
    let house = House::new().await;
    let (url, mut heard) = receiver(Vec::new()).await;
    let now = Sink {
        from: Beginning::Now,
        ..by_https(url.clone())
    };
    happens(&house, 1).await;
    let mut sender_now = sender(&house, &now);
    let mut stream = started(&sender_now).await;
    happens(&house, 2).await;
    catch_up(&mut sender_now, &mut stream).await;
    assert_eq!(
        arrivals(&mut heard),
        on_trail(&house).split_off(on_trail(&house).len() - 1)
    );
    let refusals = Sink {
        name: "refusals".to_owned(),
        include: vec![Included::Refusals],
        ..by_https(url)
    };
    let mut picky = sender(&house, &refusals);
    let mut stream = started(&picky).await;
    catch_up(&mut picky, &mut stream).await;
    assert!(heard.try_recv().is_err());
    assert_eq!(stream.saved.next, on_trail(&house).len() as u64 + 1);
}

#[tokio::test]
async fn a_sink_that_does_not_have_to_know_patients_gets_none() {
    let house = House::new().await;
    let about = BTreeMap::from([
        ("patient".to_owned(), "4711-MARK".to_owned()),
        ("reason".to_owned(), "fell, 4711-MARK".to_owned()),
        ("user".to_owned(), "dr.okafor".to_owned()),
    ]);
    let told = house.audit.event(Event::BreakGlass, None, about).await;
    told.unwrap();
    let key = Patients::Pseudonym(Secret::new("k".repeat(Patients::SHORTEST)));
    for (patients, knows) in [
        (Patients::Clear, true),
        (key, false),
        (Patients::Omit, false),
    ] {
        for format in [SinkFormat::Jsonl, SinkFormat::Ocsf] {
            let (url, mut heard) = receiver(Vec::new()).await;
            let sink = Sink {
                name: format!("siem-{knows}"),
                format,
                patients: patients.clone(),
                ..by_https(url)
            };
            let mut sender = sender(&house, &sink);
            let mut stream = sender.stream(Position::default());
            catch_up(&mut sender, &mut stream).await;
            let (_, lines) = heard.recv().await.unwrap();
            let sent = lines.join("\n");
            assert!(sent.contains("dr.okafor"), "{sent}");
            assert_eq!(sent.contains("4711-MARK"), knows, "{sent}");
        }
    }
}

#[tokio::test]
async fn a_receiver_that_stalls_holds_nobody_up() {
    let house = House::new().await;
    let (url, _heard) = receiver(vec![Act::Stall]).await;
    happens(&house, 1).await;
    let (end, ending) = watch::channel(false);
    let running = tokio::spawn(sender(&house, &by_https(url)).run(ending));
    for number in 0..50 {
        happens(&house, number).await;
    }
    end.send(true).unwrap();
    running.await.unwrap();
    let (url, mut heard) = receiver(Vec::new()).await;
    let mut next = sender(&house, &by_https(url));
    let mut stream = started(&next).await;
    catch_up(&mut next, &mut stream).await;
    assert_eq!(arrivals(&mut heard), on_trail(&house));
}

#[tokio::test]
async fn a_sink_that_is_behind_raises_one_alarm_and_says_when_it_has_everything() {
    let house = House::new().await;
    let (url, mut heard) = receiver(vec![Act::Answer(500); 3]).await;
    let mut late = sender(&house, &by_https(url));
    let mut stream = started(&late).await;
    happens(&house, 1).await;
    house.clock.advance(Duration::from_mins(16));
    catch_up(&mut late, &mut stream).await;
    catch_up(&mut late, &mut stream).await;
    let behind = house.recorded(Event::SinkBehind);
    assert_eq!(behind.len(), 1);
    assert_eq!(behind[0]["sink"], "siem");
    assert!(behind[0]["problem"].contains("500"));
    let alarms = house.recorded(Event::Alarm);
    assert_eq!((alarms.len(), alarms[0]["rule"].as_str()), (1, BEHIND));
    assert_eq!(house.recorded(Event::SinkCaughtUp).len(), 1);
    assert_eq!(arrivals(&mut heard), on_trail(&house));
    assert_eq!(late.state.condition().problem, None);
}

#[tokio::test]
async fn a_sink_that_cannot_read_the_trail_raises_the_alarm_as_well() {
    let house = House::new().await;
    let (url, mut heard) = receiver(Vec::new()).await;
    let mut blind = sender(&house, &by_https(url));
    let another = Arc::new(MasterKey::generate().unwrap());
    let key = std::mem::replace(&mut blind.ground.place.master, another);
    let mut stream = started(&blind).await;
    happens(&house, 1).await;
    catch_up(&mut blind, &mut stream).await;
    assert!(house.recorded(Event::SinkBehind).is_empty());
    house.clock.advance(Duration::from_mins(16));
    catch_up(&mut blind, &mut stream).await;
    catch_up(&mut blind, &mut stream).await;
    let behind = house.recorded(Event::SinkBehind);
    assert_eq!((behind.len(), behind[0]["sink"].as_str()), (1, "siem"));
    assert!(behind[0]["problem"].contains("key"), "{behind:?}");
    let alarms = house.recorded(Event::Alarm);
    assert_eq!((alarms.len(), alarms[0]["rule"].as_str()), (1, BEHIND));

    blind.ground.place.master = key;
    stream = blind.again(&stream);
    catch_up(&mut blind, &mut stream).await;
    assert_eq!(house.recorded(Event::SinkCaughtUp).len(), 1);
    assert_eq!(blind.failing, None);
    catch_up(&mut blind, &mut stream).await;
    assert_eq!(arrivals(&mut heard), on_trail(&house));
}

#[tokio::test]
async fn what_waited_before_the_start_is_no_alarm_while_it_gets_there() {
    let house = House::new().await;
    happens(&house, 1).await;
    house.clock.advance(Duration::from_hours(30));
    let (url, _heard) = receiver(Vec::new()).await;
    let mut first = sender(&house, &by_https(url));
    let mut stream = started(&first).await;
    catch_up(&mut first, &mut stream).await;
    assert!(house.recorded(Event::SinkBehind).is_empty());
}

/// Hands over the messages of each connection: the first hangs up after `most`, the others stay to the end.
async fn syslog_receiver(
    place: SyslogPlace,
    most: usize,
    told: mpsc::UnboundedSender<(usize, String)>,
) {
    for connection in 0_usize.. {
        let Ok(mut peer) = place.accept().await else {
            continue;
        };
        let mut left = if connection == 0 { most } else { usize::MAX };
        while left > 0 {
            let Some(line) = frame(&mut peer).await else {
                break;
            };
            left -= 1;
            drop(told.send((connection, line.splitn(8, ' ').nth(7).unwrap().to_owned())));
        }
    }
}

#[tokio::test]
async fn what_a_broken_syslog_connection_lost_is_written_again() {
    let house = House::new().await;
    let place = SyslogPlace::new().await;
    let sink = sink(SinkTarget::Syslog(place.server()));
    for number in 0..20 {
        happens(&house, number).await;
    }
    let expected = on_trail(&house);
    let (told, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(syslog_receiver(place, 3, told));
    let (end, ending) = watch::channel(false);
    let running = tokio::spawn(sender(&house, &sink).run(ending));
    let mut connections: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    while connections
        .values()
        .last()
        .is_none_or(|ids| ids.len() < expected.len())
    {
        let (connection, line) = heard.recv().await.unwrap();
        connections.entry(connection).or_default().push(id(&line));
    }
    assert!(connections.len() > 1);
    assert_eq!(connections[&0], expected[..3]);
    assert_eq!(connections.values().last().unwrap(), &expected);
    // Within the window nothing can be relied on, but for an end in good order: the receiver read to the end.
    end.send(true).unwrap();
    running.await.unwrap();
    let next = sender(&house, &sink).begin().await.unwrap().next;
    assert_eq!(next, expected.len() as u64 + 1);
}
