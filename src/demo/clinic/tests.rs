//! Drives the sample EMR over a loopback connection, as a browser does.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use super::{Clinic, ClinicOptions, EMR_PASSWORD, ReceivedLog, SESSION_COOKIE};
use crate::demo::{
    testing::{Browser, FixedClock, Running, start},
    users,
};

async fn clinic() -> (Running, ReceivedLog) {
    let clinic = Clinic::new(&ClinicOptions {
        staff: users::staff(),
        clock: FixedClock::new(),
    });
    let received = clinic.received();
    let running = start(|listener, stop| clinic.serve(listener, stop.wait())).await;
    (running, received)
}

async fn sign_in(running: &Running) -> Browser {
    let mut browser = Browser::new(running.address);
    let fields = [("username", "dr.okafor"), ("password", EMR_PASSWORD)];
    let reply = browser.post("/login", &fields).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    browser
}

#[tokio::test]
async fn login_sets_a_bare_cookie_and_redirects_to_plain_http() {
    let (running, _) = clinic().await;
    let mut browser = Browser::new(running.address);
    let home = format!("http://{}/", running.address);

    let reply = browser.get("/chart").await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(reply.location(), format!("{home}login"));

    let wrong = [("username", "dr.okafor"), ("password", "no")];
    let reply = browser.post("/login", &wrong).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.text().contains("Login failed"));
    assert!(browser.cookies.is_empty());

    let right = [("username", "dr.okafor"), ("password", EMR_PASSWORD)];
    let reply = browser.post("/login", &right).await;
    assert_eq!(reply.location(), home);
    let cookie = reply.header("set-cookie");
    assert!(
        cookie.starts_with(SESSION_COOKIE) && cookie.ends_with("; Path=/"),
        "{cookie}"
    );

    let reply = browser.get("/").await;
    assert!(reply.text().contains("Dr. Ngozi Okafor"));
    let session = browser.clone();
    browser.get("/logout").await;
    assert!(browser.cookies.is_empty());
    let mut replayed = session;
    assert_eq!(replayed.get("/").await.status, StatusCode::FOUND);
    running.stop().await;
}

#[tokio::test]
async fn the_selected_patient_sticks_to_the_session_only() {
    let (running, _) = clinic().await;
    let (mut one, mut two) = (sign_in(&running).await, sign_in(&running).await);

    let reply = one.get("/chart").await;
    assert!(reply.location().ends_with("/patients/search"));
    one.get("/patients/select?set_pid=3").await;
    two.get("/patients/select?set_pid=4").await;
    assert!(one.get("/chart").await.text().contains("Castellano, "));
    assert!(two.get("/chart").await.text().contains("Dimitrov, "));
    let unknown = one.get("/patients/select?set_pid=9999").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);

    one.post("/chart/notes", &[("text", "Slept <b>well</b>.")])
        .await;
    let notes = one.get("/chart/notes").await.text();
    assert!(
        notes.contains("Slept &#60;b&#62;well&#60;/b&#62;."),
        "{notes}"
    );
    assert!(!two.get("/chart/notes").await.text().contains("Slept"));
    running.stop().await;
}

#[tokio::test]
async fn every_page_opens_and_head_answers_without_a_body() {
    let (running, _) = clinic().await;
    let mut browser = sign_in(&running).await;
    browser.get("/patients/select?set_pid=1").await;
    for page in [
        "/",
        "/patients/search?q=lind",
        "/chart",
        "/chart/demographics",
        "/chart/notes",
        "/chart/orders",
        "/chart/results",
        "/chart/imaging",
        "/chart/medications",
        "/chart/sensitive",
        "/chart/psychotherapy",
        "/chart/documents",
        "/chart/print",
        "/chart/send",
        "/billing",
        "/schedule",
        "/registration",
        "/admin/users",
        "/admin/audit",
        "/reports/patients.csv",
        "/patients/1/export.csv",
        "/api/patients/1",
        "/static/clinic.css",
        "/static/clinic.js",
    ] {
        let whole = browser.get(page).await;
        assert_eq!(whole.status, StatusCode::OK, "{page}");
        assert!(!whole.body.is_empty(), "{page}");
        let head = browser.send(Method::HEAD, page, &[], "").await;
        assert_eq!(head.status, StatusCode::OK, "{page}");
        assert!(head.body.is_empty(), "{page}");
        let html = whole.text();
        assert!(
            !html.contains("<script>") && !html.contains("style="),
            "{page}"
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn forms_change_the_chart_and_the_office() {
    let (running, _) = clinic().await;
    let mut browser = sign_in(&running).await;
    browser.get("/patients/select?set_pid=2").await;
    for (page, fields, seen) in [
        (
            "/chart/demographics",
            &[("phone", "555-0777")][..],
            "555-0777",
        ),
        (
            "/chart/orders",
            &[("what", "Spirometry at rest")][..],
            "Spirometry at rest",
        ),
        (
            "/chart/results",
            &[("test", "Sodium"), ("value", "141")][..],
            "Sodium",
        ),
        (
            "/chart/medications",
            &[("drug", "Ibuprofen"), ("dose", "400 mg")][..],
            "Ibuprofen",
        ),
        (
            "/billing",
            &[("pid", "2"), ("code", "99499"), ("amount", "1.00")][..],
            "99499",
        ),
        (
            "/schedule",
            &[
                ("pid", "2"),
                ("at", "2027-01-01 08:00"),
                ("reason", "Checkup"),
            ][..],
            "Checkup",
        ),
        (
            "/admin/users",
            &[
                ("username", "temp"),
                ("display", "Temp"),
                ("state", "disabled"),
            ][..],
            "disabled",
        ),
    ] {
        let reply = browser.post(page, fields).await;
        assert_eq!(reply.status, StatusCode::FOUND, "{page}");
        assert!(browser.get(page).await.text().contains(seen), "{page}");
    }
    let orders = browser.get("/chart/orders").await.text();
    let (_, rest) = orders.split_once("/chart/orders/").unwrap();
    let (id, _) = rest.split_once("/sign").unwrap();
    let sign = format!("/chart/orders/{id}/sign");
    assert_eq!(browser.post(&sign, &[]).await.status, StatusCode::FOUND);
    assert!(!browser.get("/chart/orders").await.text().contains(&sign));
    assert_eq!(
        browser.post("/chart/orders/1/sign", &[]).await.status,
        StatusCode::NOT_FOUND
    );

    running.stop().await;
}

#[tokio::test]
async fn patients_can_be_registered_and_deleted() {
    let (running, _) = clinic().await;
    let mut browser = sign_in(&running).await;
    let new = [
        ("family", "Newman"),
        ("given", "Noor"),
        ("born", "1990-02-03"),
    ];
    let reply = browser.post("/registration", &new).await;
    assert!(reply.location().ends_with("/patients/select?set_pid=45"));
    assert!(browser.get("/chart").await.text().contains("Newman, Noor"));
    let bad = [
        ("family", "Newman"),
        ("given", "Noor"),
        ("born", "yesterday"),
    ];
    assert_eq!(
        browser.post("/registration", &bad).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        browser.post("/patients/45/delete", &[]).await.status,
        StatusCode::FOUND
    );
    assert_eq!(
        browser.get("/api/patients/45").await.status,
        StatusCode::NOT_FOUND
    );
    running.stop().await;
}

#[tokio::test]
async fn the_json_interface_writes_notes() {
    let (running, _) = clinic().await;
    let mut browser = sign_in(&running).await;
    let json = ("content-type", "application/json");
    let note = r#"{"patient":{"id":5},"text":"By interface."}"#;
    let reply = browser
        .send(Method::POST, "/api/notes", &[json], note)
        .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let summary = browser.get("/api/patients/5").await.json();
    assert!(summary["problems"].is_array() && summary["notes"].is_null());
    browser.get("/patients/select?set_pid=5").await;
    let notes = browser.get("/chart/notes").await.text();
    assert!(notes.contains("By interface."), "{notes}");
    let nobody = r#"{"patient":{"id":999},"text":"x"}"#;
    let reply = browser
        .send(Method::POST, "/api/notes", &[json], nobody)
        .await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    running.stop().await;
}

#[tokio::test]
async fn a_poll_answers_on_change_and_at_the_end_of_its_wait() {
    let (running, _) = clinic().await;
    let mut browser = sign_in(&running).await;
    let version = browser.get("/api/poll?since=0").await.json()["version"]
        .as_u64()
        .unwrap();
    let unchanged = browser
        .get(&format!("/api/poll?since={version}&wait=1"))
        .await
        .json();
    assert_eq!(unchanged["changed"], false);

    let mut waiting = browser.clone();
    let poll =
        tokio::spawn(async move { waiting.get(&format!("/api/poll?since={version}")).await });
    browser.get("/patients/select?set_pid=1").await;
    browser.post("/chart/notes", &[("text", "Wake up")]).await;
    let news = poll.await.unwrap().json();
    assert_eq!(news["changed"], true);
    running.stop().await;
}

#[tokio::test]
async fn stopping_ends_a_waiting_poll_and_an_open_notification_channel() {
    let (running, received) = clinic().await;
    let browser = sign_in(&running).await;
    let mut socket = open_socket(&running, &browser).await;
    socket.next().await.unwrap().unwrap();
    let mut waiting = browser.clone();
    let poll = tokio::spawn(async move { waiting.get("/api/poll?since=1000").await });
    while !received
        .requests()
        .iter()
        .any(|request| request.target().starts_with("/api/poll"))
    {
        tokio::task::yield_now().await;
    }
    running.stop().await;
    assert_eq!(poll.await.unwrap().json()["changed"], false);
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open_socket(running: &Running, browser: &Browser) -> Socket {
    let mut request = format!("ws://{}/ws/notifications", running.address)
        .into_client_request()
        .unwrap();
    let cookie = format!("{SESSION_COOKIE}={}", browser.cookies[SESSION_COOKIE]);
    request
        .headers_mut()
        .insert("cookie", cookie.parse().unwrap());
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

#[tokio::test]
async fn the_notification_channel_greets_and_repeats() {
    let (running, _) = clinic().await;
    let browser = sign_in(&running).await;
    let mut socket = open_socket(&running, &browser).await;
    let hello = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let hello: serde_json::Value = serde_json::from_str(&hello).unwrap();
    assert_eq!(
        (&hello["type"], &hello["user"]),
        (&"hello".into(), &"dr.okafor".into())
    );
    socket.send(Message::text("ping ¥")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("ping ¥")
    );

    let refused = format!("ws://{}/ws/notifications", running.address);
    assert!(tokio_tungstenite::connect_async(refused).await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn documents_are_served_whole_and_in_ranges() {
    let (running, _) = clinic().await;
    let mut browser = sign_in(&running).await;
    browser.get("/patients/select?set_pid=1").await;
    let whole = browser.get("/chart/documents/11").await;
    assert_eq!(whole.header("content-type"), "application/pdf");
    let part = browser
        .send(
            Method::GET,
            "/chart/documents/11",
            &[("range", "bytes=5-9")],
            "",
        )
        .await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        part.header("content-range"),
        format!("bytes 5-9/{}", whole.body.len())
    );
    assert_eq!(part.body, whole.body.slice(5..10));
    let beyond = browser
        .send(
            Method::GET,
            "/chart/documents/11",
            &[("range", "bytes=99999-")],
            "",
        )
        .await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    // A document of another patient is not reachable through this chart.
    assert_eq!(
        browser.get("/chart/documents/21").await.status,
        StatusCode::NOT_FOUND
    );
    running.stop().await;
}

#[tokio::test]
async fn test_pages_stream_echo_and_fail() {
    let (running, received) = clinic().await;
    let mut browser = Browser::new(running.address);
    let body = "x".repeat(300_000);
    let upload = browser
        .send(Method::POST, "/upload", &[("content-type", "a/b")], &body)
        .await
        .json();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    assert_eq!(upload["length"], 300_000);
    assert_eq!(upload["sha256"], hex::encode(digest));

    let download = browser.get("/download?bytes=40000").await;
    assert_eq!(download.header("content-length"), "40000");
    assert!(download.body.starts_with(b"0123456789abcdef0123"));
    assert_eq!(download.body.len(), 40_000);
    let te = [("te", "trailers"), ("connection", "te")];
    let chunked = browser
        .send(Method::GET, "/download?bytes=100&framing=chunked", &te, "")
        .await;
    assert_eq!(chunked.body.len(), 100);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &chunked.body);
    assert_eq!(
        chunked.trailers.unwrap()["x-content-sha256"],
        hex::encode(digest).as_str()
    );

    let echo = browser
        .send(Method::PUT, "/echo?a=%2e", &[("x-odd", "1")], "body")
        .await
        .json();
    assert_eq!(
        (&echo["method"], &echo["target"]),
        (&"PUT".into(), &"/echo?a=%2e".into())
    );
    assert_eq!(echo["body"], "body");
    assert_eq!(browser.get("/slow?ms=1").await.text(), "done\n");
    let error = browser.get("/error").await;
    assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(error.text().contains("java.sql.SQLException"));

    let requests = received.requests();
    let put = requests
        .iter()
        .find(|request| request.method() == Method::PUT)
        .unwrap();
    assert_eq!(put.target(), "/echo?a=%2e");
    assert_eq!(put.headers()["x-odd"], "1");
    received.clear();
    assert!(received.requests().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_listener_that_others_can_reach_is_refused() {
    let clinic = Clinic::new(&ClinicOptions {
        staff: users::staff(),
        clock: FixedClock::new(),
    });
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = clinic
        .serve(listener, std::future::pending())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn the_clinic_can_be_moved_between_threads() {
    fn moves<T: Send + Sync>() {}
    moves::<Arc<Clinic>>();
}
