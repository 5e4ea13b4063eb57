//! Receivers that will not take some records, and ones that will not take any: what is given up, and what is not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::protobuf::Wire;
use super::super::report::REFUSED;
use super::super::sender::tests::{
    by_https, catch_up, happens, id, on_trail, sender, sink, started,
};
use super::super::sender::{Fate, Stream};
use crate::config::sink::{HttpReceiver, SinkFormat, SinkTarget};
use crate::operate::testing::Ground as House;
use crate::request::Event;

/// The lines of each request that was answered with 200.
type Taken = Arc<Mutex<Vec<Vec<String>>>>;

/// A receiver that answers what `answer` says to the lines of each request; to status 0 it hangs up.
async fn receiver(
    mut answer: impl FnMut(&[String]) -> (u16, Vec<u8>) + Send + 'static,
) -> (url::Url, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let taken = Taken::default();
    let keeps = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8_lossy(&body);
            let lines: Vec<String> = body.lines().map(str::to_owned).collect();
            let (status, said) = answer(&lines);
            if status == 200 {
                keeps.lock().unwrap().push(lines);
            }
            if status != 0 {
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
                    said.len()
                );
                let whole = [head.as_bytes(), &said].concat();
                drop(stream.write_all(&whole).await);
            }
        }
    });
    (url.parse().unwrap(), taken)
}

fn by_number(lines: &[String], is_bad: impl Fn(usize) -> bool) -> bool {
    lines.iter().any(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = record["entry"]["detail"]["number"].as_str();
        number.is_some_and(|number| is_bad(number.parse().unwrap()))
    })
}

/// Each record at its first arrival.
fn arrivals(taken: &Taken) -> Vec<String> {
    let taken = taken.lock().unwrap();
    let ids = taken.iter().flatten().map(|line| id(line));
    let mut seen = BTreeSet::new();
    ids.filter(|id| seen.insert(id.clone())).collect()
}

/// The trail without the records of these numbers.
fn trail_without(house: &House, is_bad: impl Fn(usize) -> bool) -> Vec<String> {
    let good = |number: &String| !is_bad(number.parse().unwrap());
    let entries = house.trail();
    let entries = entries
        .iter()
        .filter(|entry| entry.detail.get("number").is_none_or(good));
    entries.map(|entry| entry.id.to_string()).collect()
}

/// The records that events say were refused.
fn on_record(house: &House) -> Vec<u64> {
    let mut records = Vec::new();
    for detail in house.recorded(Event::SinkRefused) {
        for range in detail["records"].split(", ") {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            records.extend(first.parse::<u64>().unwrap()..=last.parse().unwrap());
        }
    }
    records
}

async fn turn(sender: &mut super::super::sender::Sender, stream: &mut Stream) -> Fate {
    let (_end, mut ending) = watch::channel(false);
    sender.turn(stream, &mut ending).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whichever records a receiver refuses, and whatever else goes wrong: it gets all others in their order, and exactly
    /// those that it refused are on record.
    #[test]
    fn only_what_is_refused_is_passed_over(
        many in 1_usize..60,
        bad in prop::collection::btree_set(0_usize..60, 0..8),
        status in prop::sample::select(vec![400_u16, 413, 422]),
        trouble in prop::collection::vec(prop::sample::select(vec![0_u16, 401, 404, 429, 500, 503, 200, 200]), 0..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let poison = bad.clone();
            let mut trouble = trouble.into_iter();
            let (url, taken) = receiver(move |lines| {
                if let Some(status) = trouble.next() && status != 200 {
                    return (status, Vec::new());
                }
                (if by_number(lines, |number| poison.contains(&number)) { status } else { 200 }, Vec::new())
            }).await;
            for number in 0..many {
                happens(&house, number).await;
            }
            // A good one: a receiver that took nothing yet gives nothing up.
            happens(&house, 1_000).await;
            let mut sender = sender(&house, &by_https(url));
            let mut stream = started(&sender).await;
            catch_up(&mut sender, &mut stream).await;
            assert_eq!(arrivals(&taken), trail_without(&house, |number| bad.contains(&number)));
            let refused: Vec<usize> = bad.range(..many).copied().collect();
            let ids: BTreeSet<String> = on_trail(&house).into_iter().collect();
            assert_eq!(ids.len(), arrivals(&taken).len().saturating_add(refused.len()));
            assert_eq!(on_record(&house).len(), refused.len());
            assert_eq!(sender.state.condition().refused.count, refused.len() as u64);
            // Started anew it neither sends them again nor forgets them.
            let mut again = self::sender(&house, &sender.sink);
            let mut stream = started(&again).await;
            let before = arrivals(&taken).len();
            catch_up(&mut again, &mut stream).await;
            assert_eq!(arrivals(&taken).len(), before);
            assert_eq!(again.state.condition().refused.count, refused.len() as u64);
        });
    }
}

#[tokio::test]
async fn a_refused_record_is_on_record_with_one_alarm_a_day() {
    let house = House::new().await;
    let said = b"mapper_parsing_exception:\n [x]".to_vec();
    let (url, taken) = receiver(move |lines| {
        let is_bad = by_number(lines, |number| number >= 100);
        (if is_bad { 422 } else { 200 }, said.clone())
    })
    .await;
    let mut sender = sender(&house, &by_https(url));
    let mut stream = started(&sender).await;
    for number in [1, 100, 2, 101, 102, 3] {
        happens(&house, number).await;
    }
    catch_up(&mut sender, &mut stream).await;
    let events = house.recorded(Event::SinkRefused);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (events[0]["sink"].as_str(), events[0]["refused"].as_str()),
        ("siem", "3")
    );
    assert_eq!(events[0]["answer"], "status 422");
    assert_eq!(events[0]["said"], "mapper_parsing_exception: [x]");
    let ids: BTreeSet<&str> = events[0]["ids"].split(',').collect();
    let all = on_trail(&house);
    assert!(ids.len() == 3 && ids.iter().all(|id| all.contains(&(*id).to_owned())));
    let newest = sender.state.condition().refused.newest.unwrap();
    assert_eq!(on_record(&house).last(), Some(&newest.record));
    let alarms = || {
        let alarms = house.recorded(Event::Alarm);
        assert!(
            alarms
                .iter()
                .all(|alarm| alarm["rule"] == REFUSED && !alarm.contains_key("said"))
        );
        alarms.len()
    };
    assert_eq!(alarms(), 1);
    for (hours, expected) in [(1, 1), (24, 2)] {
        house.clock.advance(std::time::Duration::from_hours(hours));
        happens(&house, 104).await;
        happens(&house, 4).await;
        catch_up(&mut sender, &mut stream).await;
        assert_eq!(alarms(), expected);
    }
    assert_eq!(sender.state.condition().refused.count, 5);
    assert_eq!(
        arrivals(&taken),
        trail_without(&house, |number| number >= 100)
    );
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_waits_and_nothing_is_given_up() {
    for status in [400, 413, 422] {
        let house = House::new().await;
        let now = Arc::new(AtomicU16::new(status));
        let says = Arc::clone(&now);
        let (url, taken) = receiver(move |_| (says.load(Ordering::Relaxed), Vec::new())).await;
        let mut sender = sender(&house, &by_https(url));
        let mut stream = started(&sender).await;
        // One that never took anything, and one that did.
        for round in 0..2 {
            for number in 0..40 {
                happens(&house, number).await;
            }
            let before = stream.position();
            for _ in 0..3 {
                let fate = turn(&mut sender, &mut stream).await;
                assert_eq!(fate, Fate::Back, "{status}, round {round}");
                stream = sender.again(&stream);
            }
            assert_eq!(stream.position(), before);
            let problem = sender.state.condition().problem.unwrap();
            assert!(problem.contains("everything"), "{problem}");
            now.store(200, Ordering::Relaxed);
            catch_up(&mut sender, &mut stream).await;
            now.store(status, Ordering::Relaxed);
        }
        assert!(house.recorded(Event::SinkRefused).is_empty());
        assert_eq!(arrivals(&taken), on_trail(&house));
    }
}

#[tokio::test]
async fn a_lone_poison_waits_for_company_where_nothing_was_taken_yet() {
    let house = House::new().await;
    let (url, taken) = receiver(|lines| {
        let is_good = by_number(lines, |number| number == 1);
        let is_bad = by_number(lines, |number| number != 1);
        (if is_bad || !is_good { 400 } else { 200 }, Vec::new())
    })
    .await;
    let sink = by_https(url);
    let mut sender = sender(&house, &sink);
    let mut stream = started(&sender).await;
    happens(&house, 7).await;
    assert_eq!(turn(&mut sender, &mut stream).await, Fate::Back);
    stream = sender.again(&stream);
    assert!(house.recorded(Event::SinkRefused).is_empty());
    happens(&house, 1).await;
    assert_eq!(turn(&mut sender, &mut stream).await, Fate::Sent);
    assert!(!on_record(&house).is_empty());
    assert_eq!(arrivals(&taken).len(), 1);
}

#[tokio::test]
async fn what_is_on_record_about_a_refusal_does_not_go_round_for_ever() {
    let house = House::new().await;
    let (url, _taken) = receiver(|lines| {
        let is_bad = by_number(lines, |number| number == 7);
        let is_own = lines.iter().any(|line| line.contains("sink_refused"));
        (if is_bad || is_own { 400 } else { 200 }, Vec::new())
    })
    .await;
    let mut sender = sender(&house, &by_https(url));
    let mut stream = started(&sender).await;
    for number in [1, 7, 2] {
        happens(&house, number).await;
    }
    catch_up(&mut sender, &mut stream).await;
    assert_eq!(house.recorded(Event::SinkRefused).len(), 1);
    assert_eq!(sender.state.condition().refused.count, 2);
}

#[tokio::test]
async fn one_record_that_is_too_long_does_not_make_all_later_requests_small() {
    let house = House::new().await;
    let (url, taken) = receiver(|lines| {
        (
            if by_number(lines, |number| number == 30) {
                413
            } else {
                200
            },
            Vec::new(),
        )
    })
    .await;
    let mut sender = sender(&house, &by_https(url));
    let mut stream = started(&sender).await;
    for number in 0..60 {
        happens(&house, number).await;
    }
    catch_up(&mut sender, &mut stream).await;
    for number in 100..300 {
        happens(&house, number).await;
    }
    catch_up(&mut sender, &mut stream).await;
    assert!(sender.receiver.most >= 20, "{}", sender.receiver.most);
    assert_eq!(
        arrivals(&taken),
        trail_without(&house, |number| number == 30)
    );
}

#[tokio::test]
async fn a_partial_success_is_never_sent_again_and_is_on_record() {
    let house = House::new().await;
    let asked = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&asked);
    let (url, _taken) = receiver(move |_| {
        let mut asked = counts.lock().unwrap();
        *asked += 1;
        let mut wire = Wire::default();
        if *asked == 1 {
            wire.message(1, |partial| {
                partial.number(1, 2);
                partial.text(2, "too old");
            });
        }
        (200, wire.into_bytes())
    })
    .await;
    let otlp = SinkTarget::Otlp(HttpReceiver {
        url,
        ca: None,
        certificate: None,
        token: None,
    });
    let mut otlp = sink(otlp);
    otlp.format = SinkFormat::Ocsf;
    let mut sender = sender(&house, &otlp);
    let mut stream = started(&sender).await;
    for number in 0..5 {
        happens(&house, number).await;
    }
    assert_eq!(turn(&mut sender, &mut stream).await, Fate::Sent);
    assert_eq!(*asked.lock().unwrap(), 1);
    let events = house.recorded(Event::SinkRefused);
    assert_eq!((events.len(), events[0]["refused"].as_str()), (1, "2"));
    assert_eq!(events[0]["answer"], "partial success");
    assert_eq!(events[0]["said"], "too old");
    // Among these: it does not say which.
    assert!(on_record(&house).len() >= 5);
    catch_up(&mut sender, &mut stream).await;
    assert_eq!(sender.state.condition().refused.count, 2);
}

#[tokio::test]
async fn of_a_fhir_batch_only_the_entries_that_failed_are_sent_again() {
    let house = House::new().await;
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sizes);
    let (url, _taken) = receiver(move |lines| {
        let bundle: serde_json::Value = serde_json::from_str(&lines.join("\n")).unwrap();
        let entries = bundle["entry"].as_array().unwrap();
        let mut sizes = kept.lock().unwrap();
        let first = sizes.is_empty();
        sizes.push(entries.len());
        let status = |at: usize| match (first, at) {
            (true, 1) => "503 Service Unavailable",
            (true, 2) => "422 Unprocessable Entity",
            // What was refused at first is sent on its own later.
            (false, 0) if sizes.len() % 2 == 0 && sizes.len() > 2 => "422 Unprocessable Entity",
            (true | false, _) => "201 Created",
        };
        let answers: Vec<serde_json::Value> = (0..entries.len())
            .map(|at| serde_json::json!({ "response": { "status": status(at) } }))
            .collect();
        (
            200,
            serde_json::json!({ "entry": answers })
                .to_string()
                .into_bytes(),
        )
    })
    .await;
    let mut fhir = by_https(url);
    fhir.format = SinkFormat::Fhir;
    for number in 0..4 {
        happens(&house, number).await;
    }
    let mut sender = sender(&house, &fhir);
    let mut stream = started(&sender).await;
    assert_eq!(turn(&mut sender, &mut stream).await, Fate::Sent);
    // The whole; the entry of 503; the receiver proves itself; the entry of 422, and both again.
    assert_eq!(sizes.lock().unwrap()[1..], [1, 1, 1, 1, 1]);
    assert_eq!(
        house.recorded(Event::SinkRefused)[0]["answer"],
        "status 422"
    );
    assert_eq!(sender.state.condition().refused.count, 1);
}
