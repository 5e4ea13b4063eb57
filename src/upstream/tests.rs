//! Forwarding against back ends that behave, misbehave, and die.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails, as it should"
)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::testing::{Outcomes, Request, emr, request, upstream};
use super::{Answered, Upstream};
use crate::audit::outcome::End;
use crate::config::{BackendProtocol, ErrorPages, HostHeader};
use crate::emr::classify::Classified;
use crate::refusal::Refusal;
use crate::request::{Action, AnswerBody, Body, BodyError};

/// Runs a test on a worker-like runtime.
fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let both = async {
        tokio::time::timeout(Duration::from_secs(20), test)
            .await
            .unwrap()
    };
    tokio::task::LocalSet::new().block_on(&runtime, both)
}

/// One connection as a back end sees it.
struct Peer {
    stream: TcpStream,
    number: usize,
    rest: Vec<u8>,
}

impl Peer {
    /// The next request's head; `None` at the end of the connection.
    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = self.rest.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.rest).await.ok()?;
        (read > 0).then_some(())
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.rest.len() < length {
            self.more().await.unwrap();
        }
        self.rest.drain(..length).collect()
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn ok(&mut self, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    }
}

/// A notice is put into a page that comes whole and uncompressed.
#[test]
fn a_page_that_gets_a_notice_is_asked_for_whole_and_plain() {
    local(async {
        let (url, _) = back_end(|mut peer| async move {
            while let Some(head) = peer.head().await {
                peer.ok(&head.to_ascii_lowercase()).await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        let fields = |dest: &'static str, mode: &'static str| {
            [
                ("accept-encoding", "gzip, br"),
                ("if-none-match", "\"1\""),
                ("range", "bytes=0-9"),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ]
        };
        for (fields, told, plain) in [
            (fields("document", "navigate"), true, true),
            (fields("iframe", "navigate"), true, true),
            (fields("empty", "cors"), true, false),
            (fields("document", "navigate"), false, false),
        ] {
            let mut asked = request("GET", "/chart", &fields);
            asked.traits.no_store = false;
            if told {
                asked.notices = vec![crate::request::Notice::Lockdown { level: 1 }];
            }
            let outcomes = Outcomes::default();
            let answered = upstream.exchanged(asked.admitted(&outcomes)).await.unwrap();
            let head = text(&upstream, answered).await;
            assert_eq!(head.contains("accept-encoding: identity"), plain, "{head}");
            assert_eq!(head.contains("gzip"), !plain, "{head}");
            for name in ["if-none-match", "range:"] {
                assert_eq!(head.contains(name), !plain, "{name} {head}");
            }
        }
    });
}

/// A copy from before the gateway is not to be confirmed; the conditions of a change are the EMR's affair.
#[test]
fn what_is_about_a_patient_is_asked_for_afresh() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            while let Some(head) = peer.head().await {
                let head = head.to_ascii_lowercase();
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
                    head.len()
                ))
                .await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        let fields = [
            ("if-none-match", "\"1\""),
            ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("if-match", "\"2\""),
            ("range", "bytes=0-9"),
        ];
        for (method, no_store, forwarded) in [("GET", true, 2), ("GET", false, 4), ("PUT", true, 4)]
        {
            let mut asked = request(method, "/chart", &fields);
            asked.traits.no_store = no_store;
            let answered = upstream
                .exchanged(asked.admitted(&Outcomes::default()))
                .await
                .unwrap();
            let head = text(&upstream, answered).await;
            let kept = fields
                .iter()
                .filter(|(name, _)| head.contains(&format!("\n{name}:")));
            assert_eq!(kept.count(), forwarded, "{method} {no_store} {head}");
            assert!(head.contains("\nif-match:"), "{head}");
        }
    });
}

/// A back end that treats each connection with `script`; counts connections.
async fn back_end<F, Fut>(script: F) -> (String, Rc<Cell<usize>>)
where
    F: Fn(Peer) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = counted.get();
            counted.set(number + 1);
            let peer = Peer {
                stream,
                number,
                rest: Vec::new(),
            };
            tokio::task::spawn_local(script(peer));
        }
    });
    (url, count)
}

/// Sends a request that is answered; with the outcomes that go on record.
async fn exchange(upstream: &Upstream, request: Request) -> (Classified<Answered>, Outcomes) {
    let outcomes = Outcomes::default();
    let answered = upstream.exchanged(request.admitted(&outcomes)).await;
    (answered.unwrap(), outcomes)
}

/// The body as the client gets it.
fn body_of(upstream: &Upstream, answered: Classified<Answered>) -> AnswerBody {
    let cleaned = upstream.clean(answered).unwrap();
    cleaned.into_parts().0.into_body()
}

async fn text(upstream: &Upstream, answered: Classified<Answered>) -> String {
    let body = body_of(upstream, answered);
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn get(upstream: &Upstream, target: &str) -> Result<String, Refusal> {
    let outcomes = Outcomes::default();
    match upstream
        .exchanged(request("GET", target, &[]).admitted(&outcomes))
        .await
    {
        Ok(answered) => Ok(text(upstream, answered).await),
        Err(refused) => {
            assert_eq!(
                outcomes.only().refusal.as_deref(),
                Some(refused.refusal().code())
            );
            Err(refused.refusal())
        }
    }
}

fn streaming(frames: Vec<Frame<Bytes>>) -> Body {
    let frames = futures_util::stream::iter(frames.into_iter().map(Ok::<_, BodyError>));
    Body::streaming(StreamBody::new(frames))
}

/// Answers every request with its own head.
async fn mirror(mut peer: Peer) {
    while let Some(head) = peer.head().await {
        peer.ok(&head).await;
    }
}

#[test]
fn the_emr_receives_what_was_decided_and_what_the_gateway_states() {
    local(async {
        let (url, _) = back_end(mirror).await;
        let mut emr = emr(&url);
        emr.identity.basic = Some(crate::config::Basic {
            username: "gateway".to_owned(),
            password: "s3cret".to_owned().into(),
        });
        let upstream = upstream(emr);
        let mut request = request(
            "GET",
            "/chart?pid=4",
            &[
                ("authorization", "Bearer of-the-client"),
                (
                    "cookie",
                    "PHPSESSID=1; __Host-chartgate_session=x;__host-CHARTGATE=y; b=2",
                ),
                ("content-length", "99"),
                ("accept", "text/html"),
            ],
        );
        request.user = "Zoë, 100%".to_owned();
        let outcomes = Outcomes::default();
        let answered = upstream
            .exchanged(request.admitted(&outcomes))
            .await
            .unwrap();
        let id = answered.answer().received().parts().id.to_string();
        let head = text(&upstream, answered).await;
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        assert_eq!(lines.remove(0), "GET /chart?pid=4 HTTP/1.1");
        lines.sort_unstable();
        let id_line = format!("x-request-id: {id}");
        assert_eq!(
            lines,
            [
                "accept: text/html",
                "authorization: Basic Z2F0ZXdheTpzM2NyZXQ=",
                "cookie: PHPSESSID=1; b=2",
                "host: emr.example:8443",
                "x-emr-roles: physician,ward 3%2C nurse",
                "x-emr-user: Zo%C3%AB, 100%25",
                "x-forwarded-for: 192.0.2.9",
                "x-forwarded-host: emr.example:8443",
                "x-forwarded-port: 8443",
                "x-forwarded-proto: https",
                id_line.as_str(),
            ]
        );
        let outcome = outcomes.only();
        assert_eq!((outcome.end, outcome.status), (End::Complete, Some(200)));
    });
}

#[test]
fn a_route_may_pass_the_clients_authorization_but_never_that_of_a_connection() {
    local(async {
        let (url, _) = back_end(mirror).await;
        let mut emr = emr(&url);
        emr.backend.host = HostHeader::Backend;
        let upstream = upstream(emr);
        for (value, passes) in [
            ("Bearer x", true),
            ("NTLM x", false),
            ("negotiate x", false),
        ] {
            let mut request = request("GET", "/", &[("authorization", value)]);
            request.traits.pass_authorization = true;
            let answered = upstream
                .exchanged(request.admitted(&Outcomes::default()))
                .await
                .unwrap();
            let head = text(&upstream, answered).await;
            assert_eq!(head.contains("authorization:"), passes, "{value}");
            assert!(head.contains(&format!("host: {}\r\n", url.trim_start_matches("http://"))));
        }
    });
}

/// The target that policy saw equals the target the back end received, for any bytes (CVE-2026-41059).
#[test]
fn the_back_end_receives_the_target_that_policy_saw() {
    local(async {
        let (url, _) = back_end(mirror).await;
        let upstream = upstream(emr(&url));
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let targets = "/[ -~]{0,40}";
        for _ in 0..300 {
            use proptest::strategy::ValueTree;
            let target = targets.new_tree(&mut runner).unwrap().current();
            if crate::request::Target::parse_str(&target).is_err() {
                continue;
            }
            let head = match get(&upstream, &target).await {
                Ok(head) => head,
                // What cannot be sent exactly is not sent.
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::AmbiguousTarget);
                    continue;
                }
            };
            assert!(
                head.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
                "{target}\n{head}"
            );
        }
    });
}

#[test]
fn connections_are_kept_and_users_on_one_never_cross() {
    local(async {
        let (url, connections) = back_end(mirror).await;
        let mut emr = emr(&url);
        emr.backend.max_connections = 3;
        let upstream = Rc::new(upstream(emr));
        let mut asked = Vec::new();
        for number in 0..200 {
            let upstream = Rc::clone(&upstream);
            asked.push(tokio::task::spawn_local(async move {
                let user = format!("user{number}");
                let mut request = request("GET", &format!("/{number}"), &[]);
                request.user.clone_from(&user);
                let admitted = request.admitted(&Outcomes::default());
                let head = text(&upstream, upstream.exchanged(admitted).await.unwrap()).await;
                assert!(head.starts_with(&format!("GET /{number} ")), "{head}");
                assert!(head.contains(&format!("x-emr-user: {user}\r\n")), "{head}");
            }));
        }
        for one in asked {
            one.await.unwrap();
        }
        assert!(connections.get() <= 3, "{}", connections.get());
    });
}

/// A back end that answers once per connection and dies on the second request, after reading it.
async fn dies_on_second(mut peer: Peer, seen: Rc<RefCell<Vec<String>>>) {
    while let Some(head) = peer.head().await {
        let line = head.lines().next().unwrap().to_owned();
        seen.borrow_mut().push(line);
        if peer.number == 0 && seen.borrow().len() == 2 {
            return;
        }
        peer.ok("fine").await;
    }
}

#[test]
fn a_stale_connection_costs_a_get_one_retry_and_a_post_none() {
    for (method, action, expected, requests) in [
        ("GET", Action::Read, Ok("fine".to_owned()), 3),
        // An old EMR that changes charts on GET may have done so before the connection died.
        ("GET", Action::Delete, Err(Refusal::UpstreamProtocol), 2),
        ("POST", Action::Read, Err(Refusal::UpstreamProtocol), 2),
        ("DELETE", Action::Delete, Err(Refusal::UpstreamProtocol), 2),
    ] {
        local(async {
            let seen = Rc::new(RefCell::new(Vec::new()));
            let record = Rc::clone(&seen);
            let (url, _) = back_end(move |peer| dies_on_second(peer, Rc::clone(&record))).await;
            let upstream = upstream(emr(&url));
            assert_eq!(get(&upstream, "/").await.unwrap(), "fine");
            let outcomes = Outcomes::default();
            let mut second = request(method, "/b", &[]);
            second.action = action;
            let answer = upstream.exchanged(second.admitted(&outcomes)).await;
            let answer = match answer {
                Ok(answered) => Ok(text(&upstream, answered).await),
                Err(refused) => Err(refused.refusal()),
            };
            assert_eq!(answer, expected, "{method} {action:?}");
            assert_eq!(seen.borrow().len(), requests, "{method} {action:?}");
        });
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_nobody_anything() {
    local(async {
        let (url, connections) = back_end(|mut peer: Peer| async move {
            peer.head().await;
            peer.ok("fine").await;
        })
        .await;
        let upstream = upstream(emr(&url));
        for _ in 0..3 {
            let outcomes = Outcomes::default();
            let admitted = request("POST", "/", &[]).admitted(&outcomes);
            let answered = upstream.exchanged(admitted).await.unwrap();
            assert_eq!(text(&upstream, answered).await, "fine");
        }
        assert_eq!(connections.get(), 3);
    });
}

#[test]
fn answers_that_are_not_http_are_withheld_and_their_connections_closed() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200",
        "",
    ] {
        local(async {
            let (url, connections) = back_end(move |mut peer: Peer| async move {
                peer.head().await;
                peer.send(garbage).await;
            })
            .await;
            let upstream = upstream(emr(&url));
            assert_eq!(
                get(&upstream, "/").await,
                Err(Refusal::UpstreamProtocol),
                "{garbage:?}"
            );
            assert_eq!(
                connections.get(),
                1,
                "no retry on a new connection: {garbage:?}"
            );
        });
    }
}

#[test]
fn bytes_after_an_answer_never_reach_the_next_user() {
    for evil in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        local(async {
            let (url, _) = back_end(move |mut peer: Peer| async move {
                while peer.head().await.is_some() {
                    let answer = if peer.number == 0 {
                        evil
                    } else {
                        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
                    };
                    peer.send(answer).await;
                }
            })
            .await;
            let upstream = upstream(emr(&url));
            let first = get(&upstream, "/a").await;
            assert!(
                matches!(
                    first.as_deref(),
                    Ok("ok" | "") | Err(Refusal::UpstreamProtocol)
                ),
                "{first:?}"
            );
            assert_eq!(get(&upstream, "/b").await.unwrap(), "good", "{evil}");
        });
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_upstream_failure_on_record() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        local(async {
            let (url, _) = back_end(move |mut peer: Peer| async move {
                peer.head().await;
                peer.send(cut).await;
            })
            .await;
            let upstream = upstream(emr(&url));
            let (answered, outcomes) = exchange(&upstream, request("GET", "/", &[])).await;
            let body = body_of(&upstream, answered);
            assert!(body.collect().await.is_err());
            let outcome = outcomes.only();
            assert_eq!(
                (outcome.end, outcome.bytes_out),
                (End::UpstreamFailed, 4),
                "{cut}"
            );
        });
    }
}

#[test]
fn a_client_that_leaves_takes_the_connection_with_it() {
    local(async {
        let (url, connections) = back_end(|mut peer: Peer| async move {
            while peer.head().await.is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    .await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        for expected in 1..=2 {
            let (answered, outcomes) = exchange(&upstream, request("GET", "/", &[])).await;
            drop(upstream.clean(answered).unwrap());
            assert_eq!(outcomes.only().end, End::Abandoned);
            assert_eq!(connections.get(), expected);
        }
    });
}

#[test]
fn a_silent_emr_times_out_and_a_slow_upload_does_not_count_as_silence() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            peer.head().await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut settings = emr(&url);
        settings.backend.response_timeout = Duration::from_millis(40);
        let upstream = upstream(settings);
        assert_eq!(get(&upstream, "/").await, Err(Refusal::UpstreamTimeout));
    });
}

#[test]
fn an_answer_that_stalls_ends() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut settings = emr(&url);
        settings.backend.response_timeout = Duration::from_millis(40);
        let upstream = upstream(settings);
        let (answered, outcomes) = exchange(&upstream, request("GET", "/", &[])).await;
        let body = body_of(&upstream, answered);
        assert!(matches!(body.collect().await, Err(BodyError::Timeout)));
        assert_eq!(outcomes.only().end, End::UpstreamFailed);
    });
}

#[test]
fn a_dead_emr_is_unreachable_and_then_left_alone() {
    local(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let mut settings = emr(&url);
        (
            settings.backend.breaker_failures,
            settings.backend.breaker_pause,
        ) = (2, Duration::from_mins(3));
        let upstream = upstream(settings);
        for _ in 0..2 {
            assert_eq!(get(&upstream, "/").await, Err(Refusal::UpstreamUnreachable));
        }
        let outcomes = Outcomes::default();
        let refused = upstream
            .exchanged(request("GET", "/", &[]).admitted(&outcomes))
            .await
            .unwrap_err();
        assert_eq!(refused.refusal(), Refusal::UpstreamPaused);
        assert!(refused.retry().unwrap() > Duration::from_mins(2));
        let outcome = outcomes.only();
        assert_eq!((outcome.end, outcome.status), (End::UpstreamFailed, None));
    });
}

#[test]
fn more_requests_than_connections_wait_and_then_are_told_to() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            peer.head().await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut settings = emr(&url);
        settings.backend.max_connections = 1;
        settings.backend.connect_timeout = Duration::from_millis(40);
        let upstream = Rc::new(upstream(settings));
        let holder = Rc::clone(&upstream);
        let held = tokio::task::spawn_local(async move { get(&holder, "/").await });
        tokio::task::yield_now().await;
        assert_eq!(get(&upstream, "/").await, Err(Refusal::Busy));
        held.abort();
    });
}

#[test]
fn empty_answers_ranges_and_lengths_pass() {
    local(async {
        let (url, connections) = back_end(|mut peer: Peer| async move {
            while let Some(head) = peer.head().await {
                let answer = match head.split(' ').nth(1).unwrap() {
                    "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                    "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                    "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
                    _ => {
                        assert!(head.contains("range: bytes=2-3\r\n"), "{head}");
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/9\r\nContent-Length: 2\r\n\r\nab"
                    }
                };
                peer.send(answer).await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        for (method, target, status, body) in [
            ("HEAD", "/head", 200, ""),
            ("GET", "/204", 204, ""),
            ("GET", "/304", 304, ""),
            ("GET", "/range", 206, "ab"),
        ] {
            let outcomes = Outcomes::default();
            let admitted = request(method, target, &[("range", "bytes=2-3")]).admitted(&outcomes);
            let answered = upstream.exchanged(admitted).await.unwrap();
            assert_eq!(answered.answer().status(), status);
            let response = upstream.clean(answered).unwrap().into_parts().0;
            assert_eq!(
                method == "HEAD",
                response
                    .headers()
                    .get("content-length")
                    .is_some_and(|v| v == "1000")
            );
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                body
            );
            assert_eq!(outcomes.only().end, End::Complete, "{target}");
        }
        assert_eq!(connections.get(), 1);
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways_and_posts_without_body_say_so() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            let head = peer.head().await.unwrap();
            assert!(head.contains("content-length: 0\r\n"), "{head}");
            peer.ok("").await;
            let head = peer.head().await.unwrap();
            assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
            assert!(head.contains("te: trailers\r\n") && head.contains("connection: te\r\n"), "{head}");
            let wire = b"4\r\nnote\r\n0\r\nx-checksum: 7\r\n\r\n";
            let body = peer.body(wire.len()).await;
            assert_eq!(body, wire, "{}", body.escape_ascii());
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 9\r\nset-cookie: a=b\r\n\r\n").await;
            peer.head().await;
        })
        .await;
        let upstream = upstream(emr(&url));
        let admitted = request("POST", "/", &[]).admitted(&Outcomes::default());
        text(&upstream, upstream.exchanged(admitted).await.unwrap()).await;
        let mut posted = request(
            "POST",
            "/",
            &[("te", "trailers"), ("trailer", "x-checksum")],
        );
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-checksum", "7".parse().unwrap());
        trailers.insert("x-forwarded-user", "root".parse().unwrap());
        posted.body = streaming(vec![
            Frame::data(Bytes::from_static(b"note")),
            Frame::trailers(trailers),
        ]);
        let (answered, outcomes) = exchange(&upstream, posted).await;
        let response = upstream.clean(answered).unwrap().into_parts().0;
        let collected = response.into_body().collect().await.unwrap();
        let trailers = collected.trailers().unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-sum"], "9");
        let outcome = outcomes.only();
        assert_eq!((outcome.bytes_in, outcome.bytes_out), (4, 2));
    });
}

static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];

/// 64 MiB in pieces, counting how many were asked for.
fn large(asked: &Rc<Cell<usize>>) -> impl futures_util::Stream<Item = Bytes> + use<> {
    let asked = Rc::clone(asked);
    futures_util::stream::iter((0..1024).map(move |_| {
        asked.set(asked.get() + 1);
        Bytes::from_static(&PIECE)
    }))
}

const LARGE: usize = 64 * 1024 * 1024;
/// Far above what sockets buffer, far below the whole.
const BOUND: usize = 24 * 1024 * 1024;

#[test]
fn a_large_upload_is_streamed_at_the_pace_of_the_emr() {
    local(async {
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let produced = std::sync::Arc::clone(&asked);
        let frames = futures_util::stream::iter((0..1024).map(move |_| {
            produced.fetch_add(64 * 1024, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, BodyError>(Frame::data(Bytes::from_static(&PIECE)))
        }));
        let (url, _) = back_end(move |mut peer: Peer| {
            let asked = std::sync::Arc::clone(&asked);
            async move {
                peer.head().await;
                // Until the producer stalls, nothing is read.
                let mut last = usize::MAX;
                loop {
                    let now = asked.load(std::sync::atomic::Ordering::Relaxed);
                    if now == last {
                        break;
                    }
                    last = now;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                assert!(
                    last < BOUND,
                    "{last} bytes were taken from the client ahead of the EMR"
                );
                let mut total = peer.rest.len();
                let mut buffer = vec![0; 256 * 1024];
                while total < LARGE {
                    total += peer.stream.read(&mut buffer).await.unwrap();
                }
                peer.ok("done").await;
                peer.head().await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        let mut posted = request("POST", "/upload", &[]);
        posted.traits.body_limit = u64::try_from(2 * LARGE).unwrap();
        posted.body = Body::streaming(StreamBody::new(frames));
        let (answered, outcomes) = exchange(&upstream, posted).await;
        assert_eq!(text(&upstream, answered).await, "done");
        assert_eq!(outcomes.only().bytes_in, u64::try_from(LARGE).unwrap());
    });
}

#[test]
fn a_large_download_is_streamed_at_the_pace_of_the_client() {
    local(async {
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let (url, _) = back_end(move |mut peer: Peer| {
            let count = Rc::clone(&count);
            async move {
                use futures_util::StreamExt;
                peer.head().await;
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
                ))
                .await;
                let mut pieces = large(&count);
                while let Some(piece) = pieces.next().await {
                    peer.send(piece).await;
                }
                peer.head().await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        let (answered, outcomes) = exchange(&upstream, request("GET", "/", &[])).await;
        let mut body = body_of(&upstream, answered);
        let mut last = usize::MAX;
        while asked.get() != last {
            last = asked.get();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(
            last * 64 * 1024 < BOUND,
            "{last} pieces were read ahead of the client"
        );
        let (mut total, mut frames) = (0, 0);
        while let Some(frame) = body.frame().await {
            total += frame.unwrap().into_data().unwrap().len();
            frames += 1;
        }
        assert_eq!(total, LARGE);
        assert!(
            total / frames > 16 * 1024,
            "pieces of {} bytes",
            total / frames
        );
        assert_eq!(outcomes.only().bytes_out, u64::try_from(LARGE).unwrap());
    });
}

#[test]
fn a_body_over_the_routes_limit_is_refused_before_or_while_it_is_sent() {
    local(async {
        let (url, connections) = back_end(|mut peer: Peer| async move {
            peer.head().await;
            while peer.more().await.is_some() {}
        })
        .await;
        let upstream = upstream(emr(&url));
        let send = async |body: Body| {
            let mut posted = request("POST", "/", &[]);
            posted.traits.body_limit = 7;
            posted.body = body;
            let outcomes = Outcomes::default();
            let refused = upstream
                .exchanged(posted.admitted(&outcomes))
                .await
                .unwrap_err();
            assert_eq!(outcomes.only().end, End::Abandoned);
            refused.refusal()
        };
        assert_eq!(
            send(Body::Buffered(Some(Bytes::from_static(b"12345678")))).await,
            Refusal::BodyTooLarge
        );
        assert_eq!(connections.get(), 0);
        let data = || Frame::data(Bytes::from_static(b"1234"));
        assert_eq!(
            send(streaming(vec![data(), data()])).await,
            Refusal::BodyTooLarge
        );
    });
}

/// A request with a body that the back end does not expect leaves no connection behind (RUSTSEC-2025-0037).
#[test]
fn an_undrained_body_is_never_the_next_request() {
    local(async {
        let (url, connections) = back_end(|mut peer: Peer| async move {
            // Ignores bodies: what follows a head is read as the next request, and its answer is kept until somebody
            // else's request arrives on the connection.
            while let Some(head) = peer.head().await {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                if path == "/evil" {
                    peer.head().await;
                }
                peer.ok(&path).await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        let mut smuggling = request("GET", "/innocent", &[]);
        smuggling.body = Body::Buffered(Some(Bytes::from_static(
            b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
        )));
        let answered = upstream
            .exchanged(smuggling.admitted(&Outcomes::default()))
            .await
            .unwrap();
        assert_eq!(text(&upstream, answered).await, "/innocent");
        assert_eq!(get(&upstream, "/next").await.unwrap(), "/next");
        assert_eq!(connections.get(), 2);
    });
}

#[test]
fn an_answer_before_the_end_of_the_upload_leaves_no_connection_behind() {
    local(async {
        let (url, connections) = back_end(|mut peer: Peer| async move {
            while peer.head().await.is_some() {
                peer.ok("early").await;
            }
        })
        .await;
        let upstream = upstream(emr(&url));
        let mut posted = request("POST", "/", &[]);
        posted.body = Body::streaming(StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, BodyError>,
        >()));
        let answered = upstream
            .exchanged(posted.admitted(&Outcomes::default()))
            .await
            .unwrap();
        assert_eq!(text(&upstream, answered).await, "early");
        assert_eq!(get(&upstream, "/next").await.unwrap(), "early");
        assert_eq!(connections.get(), 2);
    });
}

#[test]
fn an_answers_head_is_cleaned_and_protected() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            let host = format!("http://{}", peer.stream.local_addr().unwrap());
            peer.head().await;
            peer.send(format!(
                "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nServer: Apache/2.2\r\nX-Powered-By: PHP/5\r\n\
                 Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nAlt-Svc: h3\r\n\
                 Location: {host}/next?a=%2F\r\nCache-Control: public\r\nPragma: x\r\n\
                 Set-Cookie: PHPSESSID=1; path=/\r\nSet-Cookie: s=2; Secure; SameSite=Strict\r\n\
                 Set-Cookie: __Host-chartgate_session=stolen; Secure; Path=/\r\nVary: Accept\r\n\
                 Strict-Transport-Security: max-age=0\r\nReferrer-Policy: unsafe-url\r\n\r\n"
            ))
            .await;
        })
        .await;
        let upstream = upstream(emr(&url));
        let answered = upstream
            .exchanged(request("GET", "/", &[]).admitted(&Outcomes::default()))
            .await
            .unwrap();
        let response = upstream.clean(answered).unwrap().into_parts().0;
        let mut fields: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| *name != "x-request-id")
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "cache-control: no-store",
                "content-length: 0",
                "content-security-policy: frame-ancestors 'self'",
                "cross-origin-opener-policy: same-origin-allow-popups",
                "cross-origin-resource-policy: same-origin",
                "location: https://emr.example:8443/next?a=%2F",
                "permissions-policy: camera=(self), microphone=(self), geolocation=(self), payment=(), browsing-topics=()",
                "referrer-policy: same-origin",
                "set-cookie: PHPSESSID=1; path=/; Secure; HttpOnly; SameSite=Lax",
                "set-cookie: s=2; Secure; SameSite=Strict; HttpOnly",
                "strict-transport-security: max-age=600",
                "vary: Accept",
                "vary: Cookie",
                "x-content-type-options: nosniff",
                "x-frame-options: SAMEORIGIN",
            ]
        );
    });
}

#[test]
fn error_pages_are_hidden_where_configured() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            while peer.head().await.is_some() {
                peer.send("HTTP/1.1 500 Oops\r\nContent-Length: 11\r\n\r\nstack trace")
                    .await;
            }
        })
        .await;
        let mut settings = emr(&url);
        settings.error_pages = ErrorPages::Hide;
        let upstream = upstream(settings);
        let (answered, outcomes) = exchange(&upstream, request("GET", "/", &[])).await;
        let refused = upstream.clean(answered).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::UpstreamError);
        let outcome = outcomes.only();
        assert_eq!(
            (outcome.end, outcome.status),
            (End::UpstreamFailed, Some(500))
        );
        assert_eq!(outcome.refusal.as_deref(), Some("CG-5005"));
    });
}

#[test]
fn an_unending_answer_is_cut_with_its_session() {
    local(async {
        let (url, _) = back_end(|mut peer: Peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
            std::future::pending::<()>().await;
        })
        .await;
        let upstream = upstream(emr(&url));
        let outcomes = Outcomes::default();
        let mut live = request("GET", "/events", &[]);
        live.traits.websocket = true;
        let answered = upstream.exchanged(live.admitted(&outcomes)).await.unwrap();
        let mut body = body_of(&upstream, answered);
        body.frame().await.unwrap().unwrap();
        let streams = upstream.backends.streams();
        let open = streams.list();
        assert_eq!((open.len(), open[0].bytes_out()), (1, 2));
        streams.cut(&open[0].session);
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(outcomes.only().end, End::Cut);
        drop(body);
        assert!(streams.list().is_empty());
    });
}

#[test]
fn http2_back_ends_share_one_connection() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Rc::new(Cell::new(0));
        let count = Rc::clone(&connections);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                let service = hyper::service::service_fn(
                    |request: http::Request<hyper::body::Incoming>| async move {
                        let user = request.headers()["x-emr-user"].to_str().unwrap();
                        let text = format!(
                            "{} {user} {:?}",
                            request.uri(),
                            request.headers().get("host")
                        );
                        Ok::<_, std::convert::Infallible>(http::Response::new(
                            http_body_util::Full::new(Bytes::from(text)),
                        ))
                    },
                );
                let io = hyper_util::rt::TokioIo::new(stream);
                let serve =
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                tokio::task::spawn_local(async move { serve.serve_connection(io, service).await });
            }
        });
        let mut settings = emr(&url);
        settings.backend.protocol = BackendProtocol::Http2;
        let upstream = Rc::new(upstream(settings));
        let mut asked = Vec::new();
        for number in 0..20 {
            let upstream = Rc::clone(&upstream);
            asked.push(tokio::task::spawn_local(async move {
                get(&upstream, &format!("/{number}?x")).await
            }));
        }
        for (number, one) in asked.into_iter().enumerate() {
            let text = one.await.unwrap().unwrap();
            assert_eq!(
                text,
                format!("http://emr.example:8443/{number}?x dr.house None")
            );
        }
        assert_eq!(connections.get(), 1);
    });
}
