//! What browsers and imaging software do with HTTP beyond pages, through the whole path.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::live::upgrade;
use crate::harness::practice::eventually;
use crate::harness::{Browser, House, Wire};

const MIB: usize = 1 << 20;

/// A physician with the chart of patient 4 open.
async fn with_a_chart(house: &House) -> Browser {
    let mut browser = house.at_work("dr.okafor").await;
    let page = browser
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    browser
}

/// A request as the browser's scripts would make it, to be finished by the caller.
fn request(house: &House, browser: &Browser, method: &str, path: &str) -> http::request::Builder {
    let authority = house.authority();
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", &authority)
        .header("origin", format!("https://{authority}"))
        .header("sec-fetch-site", "same-origin")
        .header("cookie", browser.cookie_header(&authority).unwrap())
}

/// The same as the bytes of a request head, without the empty line.
fn head(house: &House, browser: &Browser, method: &str, path: &str) -> String {
    let request = request(house, browser, method, path).body(()).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        write!(head, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    head
}

async fn send<B>(browser: &Browser, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let stream = browser.connect("localhost").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_streams_and_arrives_as_it_was_sent() {
    let house = House::open().await;
    let browser = with_a_chart(&house).await;
    let mut context = digest::Context::new(&digest::SHA256);
    let pieces: Vec<Bytes> = (0..512_u32)
        .map(|n| Bytes::from(n.to_be_bytes().repeat(64 * 1024 / 4)))
        .inspect(|piece| context.update(piece))
        .collect();
    let sum = hex::encode(context.finish());
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let upload = request(&house, &browser, "POST", "/upload")
        .header("content-type", "application/dicom")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    let answer = send(&browser, upload).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let got: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(got["length"], 32 * MIB);
    assert_eq!(got["sha256"], sum);
    assert_eq!(got["content_type"], "application/dicom");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_streams_and_brings_its_trailer() {
    let house = House::open().await;
    let browser = house.signed_in("dr.okafor").await;
    let path = format!("/download?bytes={}&framing=chunked", 64 * MIB);
    let download = request(&house, &browser, "GET", &path)
        .header("te", "trailers")
        .header("connection", "te")
        .body(Empty::new())
        .unwrap();
    let answer = send(&browser, download).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let (mut length, mut trailers) = (0, None);
    let mut context = digest::Context::new(&digest::SHA256);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => {
                length += data.len();
                context.update(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    assert_eq!(length, 64 * MIB);
    assert_eq!(
        trailers.expect("the trailer came along")["x-content-sha256"],
        hex::encode(context.finish())
    );
    let path = format!("/download?bytes={MIB}");
    let plain = request(&house, &browser, "GET", &path)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = send(&browser, plain).await;
    assert_eq!(answer.headers()["content-length"], MIB.to_string());
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes().len(),
        MIB
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trailers_of_a_request_arrive() {
    let house = House::open().await;
    let browser = with_a_chart(&house).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello"))),
        Ok(Frame::trailers(trailers)),
    ];
    let upload = request(&house, &browser, "POST", "/upload")
        .header("trailer", "x-checksum")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    let answer = send(&browser, upload).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let got: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(got["length"], 5);
    assert_eq!(got["trailers"], serde_json::json!([["x-checksum", "abc"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_gets_it_or_the_refusal() {
    let house = House::open().await;
    let browser = with_a_chart(&house).await;
    let fields = "expect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";

    let stream = browser.connect("localhost").await.unwrap();
    let mut stream = BufReader::new(stream);
    let head = head(&house, &browser, "POST", "/upload");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(fields.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.trim_start().starts_with("HTTP/1.1 200 "), "{rest}");
    assert!(rest.contains("\"length\":5"), "{rest}");

    // Nobody's body is asked for where the answer is no.
    let before = house.reached().len();
    let head = self::head(&house, &browser, "POST", "/admin/unmapped");
    let mut stream = BufReader::new(browser.connect("localhost").await.unwrap());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(fields.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 403 "), "{line}");
    assert_eq!(house.reached().len(), before);
}

// A socket that is closed over unread bytes is reset, and the reset may overtake the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_still_sending_is_told_why_it_is_refused() {
    let house = House::open().await;
    let host = house.authority();
    let piece_of_it = vec![b'x'; 100_000];
    for (head, status) in [
        (
            "POST /chart HTTP/1.1\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 2000000",
            401,
        ),
        ("POST /%2e%2e/ HTTP/1.1\r\nContent-Length: 2000000", 400),
        (
            "POST / HTTP/1.1\r\nContent-Length: 2000000\r\nContent-Length: 2000000",
            400,
        ),
    ] {
        let mut wire = Wire::open(&house).await;
        let head = format!("{head}\r\nHost: {host}\r\n\r\n");
        wire.send(head.as_bytes()).await;
        for piece in 1..=20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let sent = wire.try_send(&piece_of_it).await;
            assert!(sent.is_ok(), "{head} was reset at piece {piece}");
        }
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, status, "{head}");
        assert!(answer.refusal().is_some(), "{head}");
    }
    assert!(house.reached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_ranges_work_on_a_document() {
    let house = House::open().await;
    let mut browser = with_a_chart(&house).await;
    let list = browser.get(&house.url("/chart/documents")).await.text();
    let (_, rest) = list
        .split_once("/chart/documents/")
        .expect("patient 4 has a document");
    let id = rest.split('"').next().unwrap();
    let url = house.url(&format!("/chart/documents/{id}"));
    let whole = browser.get(&url).await;
    assert_eq!(whole.status, StatusCode::OK);

    let head = browser
        .send(Method::HEAD, &url, None, HeaderMap::new())
        .await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.body.is_empty());
    assert_eq!(
        head.header("content-length"),
        Some(whole.body.len().to_string().as_str())
    );

    let mut range = HeaderMap::new();
    range.insert("range", "bytes=10-29".parse().unwrap());
    let part = browser.send(Method::GET, &url, None, range).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, whole.body.slice(10..30));
    assert_eq!(
        part.header("content-range"),
        Some(format!("bytes 10-29/{}", whole.body.len()).as_str())
    );
    let mut beyond = HeaderMap::new();
    beyond.insert("range", "bytes=99999999-".parse().unwrap());
    let none = browser.send(Method::GET, &url, None, beyond).await;
    assert_eq!(none.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_waits_until_there_is_news() {
    let house = House::open().await;
    let mut browser = with_a_chart(&house).await;
    browser.scripted = true;
    let now = browser.get(&house.url("/api/poll?wait=0")).await.json();
    let target = format!("/api/poll?since={}&wait=20000", now["version"]);
    let (mut waiting, url) = (browser.clone(), house.url(&target));
    let poll = tokio::spawn(async move { waiting.get(&url).await });
    eventually("the poll at the EMR", async || {
        house
            .reached()
            .contains(&format!("GET {target}"))
            .then_some(())
    })
    .await;
    assert!(!poll.is_finished());
    let note = serde_json::json!({ "patient": { "id": 4 }, "text": "Something new." });
    let page = browser.post_json(&house.url("/api/notes"), &note).await;
    assert!(page.status.is_success(), "{}", page.text());
    let news = poll.await.unwrap().json();
    assert_eq!(news["changed"], true, "{news}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_talks_until_the_user_signs_out() {
    let house = House::open().await;
    let mut browser = house.at_work("dr.okafor").await;
    let foreign = browser.connect("localhost").await.unwrap();
    let refused =
        tokio_tungstenite::client_async(upgrade(&house, &browser, "https://evil.example"), foreign)
            .await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(refused)) = refused else {
        panic!("another site's WebSocket was let through")
    };
    assert_eq!(refused.headers()["x-chartgate-refusal"], "CG-1012");

    let stream = browser.connect("localhost").await.unwrap();
    let own = upgrade(&house, &browser, &house.url(""));
    let (mut socket, _) = tokio_tungstenite::client_async(own, stream).await.unwrap();
    let hello = socket.next().await.unwrap().unwrap();
    let hello: serde_json::Value = serde_json::from_str(hello.to_text().unwrap()).unwrap();
    assert_eq!(hello["user"], "dr.okafor", "{hello}");
    for text in ["ping", "ünïcode"] {
        socket.send(Message::text(text)).await.unwrap();
        let echo = socket.next().await.unwrap().unwrap();
        assert_eq!(echo.to_text().unwrap(), text);
    }

    let page = browser
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    assert!(page.status.is_redirection(), "{}", page.text());
    let end = tokio::time::timeout(Duration::from_secs(20), socket.next())
        .await
        .expect("the channel is cut with its session");
    assert!(
        !matches!(end, Some(Ok(Message::Text(_) | Message::Binary(_)))),
        "{end:?}"
    );
    let admission = house
        .trail()
        .into_iter()
        .find(|entry| {
            entry.phase == chartgate::audit::entry::Phase::Admit
                && entry.facts.as_ref().unwrap().path == "/ws/notifications"
        })
        .unwrap();
    let outcome = house.outcome_of(admission.id).await.outcome.unwrap();
    assert_eq!(outcome.end, chartgate::audit::outcome::End::Cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_tells_nothing_about_people_without_the_keys() {
    let house = House::open().await;
    let mut browser = with_a_chart(&house).await;
    let page = browser
        .get(&house.url("/patients/search?q=Zauberwort"))
        .await;
    assert_eq!(page.status, StatusCode::OK);
    let session = browser.cookies[&(house.authority(), "__Host-chartgate".to_owned())].clone();
    let clear = [
        "dr.okafor",
        "Okafor",
        "Zauberwort",
        "/patients/search",
        &session,
    ];
    let mut places = vec![
        house.data_dir().join("data"),
        house.data_dir().join("witness"),
    ];
    let mut read = 0;
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(
                std::fs::read_dir(place)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if place.is_file() {
            let bytes = std::fs::read(&place).unwrap();
            read += bytes.len();
            for words in clear {
                let found = holds(&bytes, words.as_bytes());
                assert!(!found, "{words} is in {}", place.display());
            }
        }
    }
    assert!(read > 4096, "trail and store were looked at");
}

fn holds(bytes: &[u8], words: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == words[0] && bytes[at..].starts_with(words))
}
