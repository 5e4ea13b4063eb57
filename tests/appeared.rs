//! Who appeared in a list: on record with its outcome, and part of every answer to "who saw this patient".

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chartgate::audit::entry::{Entry, Phase};
use chartgate::audit::outcome::{End, Outcome};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::House;
use crate::harness::live::request;
use crate::harness::process::chartgate;

/// The outcome of the newest request for this path.
async fn outcome_of(house: &House, path: &str) -> Outcome {
    let asked = |entry: &&Entry| {
        entry.phase == Phase::Admit && entry.facts.as_ref().is_some_and(|f| f.path == path)
    };
    let trail = house.trail();
    let admission = trail.iter().rfind(asked).unwrap().id;
    house.outcome_of(admission).await.outcome.unwrap()
}

fn ids(outcome: &Outcome) -> Vec<&str> {
    outcome.appeared.iter().map(|p| p.id.as_str()).collect()
}

async fn ask(house: &House, command: &[&str]) -> String {
    let config = house.clinic.facts().config.display().to_string();
    let ended = chartgate(&[command, &["--config", &config]].concat()).await;
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.err);
    ended.out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_puts_whoever_it_shows_on_record_and_reports_say_so() {
    let house = House::open().await;
    let mut doctor = house.at_work("dr.okafor").await;
    let page = doctor.visit(&house.url("/patients/search?q=a")).await;
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    let shown: Vec<&str> = text
        .split("set_pid=")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(shown.len() > 1, "{text}");
    let outcome = outcome_of(&house, "/patients/search").await;
    assert_eq!(ids(&outcome), shown);
    assert_eq!(
        (outcome.appeared_more, &outcome.appeared_unknown),
        (0, &None)
    );
    assert!(outcome.patients.is_empty(), "no chart was opened");
    assert_eq!(outcome.appeared[0].system, "urn:example:riverside:pid");
    // A page of which no rule speaks is not heard.
    doctor.visit(&house.url("/schedule")).await;
    assert_eq!(outcome_of(&house, "/schedule").await.appeared, []);

    let patient = shown[1];
    let command = [
        "audit",
        "query",
        "--patient",
        patient,
        "--action",
        "search",
        "--format",
        "json",
    ];
    let rows = ask(&house, &command).await;
    let rows: Vec<Value> = rows
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let search = rows
        .iter()
        .find(|row| row["path"] == "/patients/search")
        .unwrap();
    assert_eq!(search["user"], "dr.okafor");
    let listed = search["appeared"].as_array().unwrap();
    assert!(listed.contains(&patient.into()) && search.get("patients").is_none());
    let report = ask(&house, &["report", "patient", patient]).await;
    assert!(report.contains("Search in a list"), "{report}");
    let export = ["audit", "export", "--format", "fhir", "--patient", patient];
    let events = ask(&house, &export).await;
    let found = events.lines().any(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        let profile = event["meta"]["profile"][0].as_str().unwrap_or_default();
        let entities = event["entity"].as_array().unwrap();
        let is_it = |entity: &Value| entity["what"]["identifier"]["value"] == patient;
        profile.ends_with("PatientQuery") && entities.iter().any(is_it)
    });
    assert!(found, "{events}");

    let mut him = house.at_work("him.doyle").await;
    let page = him.get(&house.url("/reports/patients.csv")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let exported = outcome_of(&house, "/reports/patients.csv").await;
    assert_eq!(exported.appeared.len(), page.text().lines().count() - 1);
}

/// An EMR that answers as the query asks it to; keeps what it was asked for.
async fn emr(asked: Arc<Mutex<Vec<String>>>, listener: std::net::TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&asked)));
    }
}

async fn answer(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let rows = |count: usize| {
        let rows: Vec<String> = (1..=count).map(|id| format!("{id},x\r\n")).collect();
        rows.concat()
    };
    let (fields, body) = if head.contains("q=stays") {
        let row = |id: u32| format!("<main><td><a href='/patients/select?set_pid={id}'>x</a>");
        (
            "content-type: text/html",
            format!("{}{}<td>12", row(4), row(5)),
        )
    } else if head.contains("q=many") {
        (
            "content-type: text/csv",
            format!("pid,name\r\n{}", rows(10_500)),
        )
    } else if head.contains("q=packed") {
        (
            "content-type: text/csv\r\ncontent-encoding: gzip",
            "\u{1f}not gzip at all".to_owned(),
        )
    } else {
        (
            "content-type: text/csv",
            "number,name\r\n1,x\r\n".to_owned(),
        )
    };
    asked.lock().unwrap().push(head.to_ascii_lowercase());
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
    if head.contains("q=stays") {
        // Until the gateway gives it up.
        let _ended = stream.read_u8().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_heard_whole_is_said_and_held_back_never() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(emr(Arc::clone(&asked), listener));
    let house = House::open_with(move |config| {
        config.emrs[0].backend.url = url.parse().unwrap();
    })
    .await;
    let mut him = house.signed_in("him.doyle").await;
    for (query, more, unknown, named) in [
        ("many", 500, None, 10_000),
        ("packed", 0, Some("compressed"), 0),
        ("other", 0, Some("heading"), 0),
    ] {
        let page = him
            .get(&house.url(&format!("/reports/patients.csv?q={query}")))
            .await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert!(!page.body.is_empty(), "{query}");
        let outcome = outcome_of(&house, "/reports/patients.csv").await;
        assert_eq!(
            (outcome.appeared.len(), outcome.appeared_more),
            (named, more),
            "{query}"
        );
        assert_eq!(outcome.appeared_unknown.as_deref(), unknown, "{query}");
        assert_eq!(outcome.end, End::Complete);
    }
    for head in asked.lock().unwrap().iter() {
        let is_list = head.starts_with("get /reports/");
        assert_eq!(
            head.contains("accept-encoding: identity"),
            is_list,
            "{head}"
        );
    }
    // The longest list is read back like any other record.
    let found = ask(&house, &["audit", "query", "--patient", "9999"]).await;
    assert!(found.contains("10500 in a list"), "{found}");
    let found = ask(&house, &["audit", "query", "--patient", "10001"]).await;
    assert!(!found.contains("in a list"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passed_before_a_hang_up_counts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(emr(Arc::default(), listener));
    let house = House::open_with(move |config| {
        config.emrs[0].backend.url = url.parse().unwrap();
    })
    .await;
    let doctor = house.signed_in("dr.okafor").await;
    let search = request(
        &house,
        &doctor,
        ("/patients/search?q=stays", &house.url("")),
    )
    .body(Empty::<Bytes>::new())
    .unwrap();
    let stream = doctor.connect("localhost").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(search).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let mut seen = Vec::new();
    while !seen.ends_with(b"<td>12") {
        let frame = body.frame().await.unwrap().unwrap();
        seen.extend(frame.into_data().unwrap());
    }
    drop((sender, body));
    connection.abort();
    let outcome = outcome_of(&house, "/patients/search").await;
    assert_eq!(outcome.end, End::Abandoned);
    assert_eq!(ids(&outcome), ["4", "5"]);
}
