//! The edge as a client meets it: real sockets, real TLS, hostile bytes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::audit::outcome::End;
use crate::clock::SystemClock;
use crate::config;
use crate::emr::profile::RouteTraits;
use crate::request::hygiene::Hygiene;
use crate::request::{BodyError, Received};
use crate::upstream::testing::{Outcomes, emr, guard, limited, upstream};

const HOST: &str = "emr.example";

/// What the tests' service does with a request that could be read.
type Answer = Arc<dyn Fn(Received) -> LocalBoxFuture<'static, Response<AnswerBody>> + Send + Sync>;

struct Testing {
    answer: Answer,
    served: Arc<AtomicUsize>,
}

impl Service for Testing {
    fn serve(
        self: Rc<Self>,
        request: Result<Received, Refused>,
    ) -> LocalBoxFuture<'static, Response<AnswerBody>> {
        self.served.fetch_add(1, Ordering::Relaxed);
        match request {
            Ok(received) => (self.answer)(received),
            Err(refused) => {
                let refusal = refused.refusal();
                Box::pin(async move { text(refusal.status(), refusal.code()) })
            }
        }
    }

    fn drain(&self) {}
}

fn text(status: ::http::StatusCode, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(Bytes::from(text.to_owned()).into());
    *response.status_mut() = status;
    response
}

/// Answers with the method, the target and the names of the headers.
fn mirror() -> Answer {
    Arc::new(|received| {
        let parts = received.parts();
        let names: Vec<_> = parts
            .headers
            .keys()
            .map(::http::HeaderName::as_str)
            .collect();
        let line = format!(
            "{} {} {}",
            parts.method,
            parts.target.as_str(),
            names.join(",")
        );
        Box::pin(async move { text(::http::StatusCode::OK, &line) })
    })
}

/// A running edge with a certificate for [`HOST`].
struct Edge {
    addr: SocketAddr,
    http: Option<SocketAddr>,
    running: Option<Running>,
    shutdown: Shutdown,
    served: Arc<AtomicUsize>,
    roots: RootCertStore,
    _files: tempfile::TempDir,
}

fn settings() -> config::Server {
    config::Server {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        redirect_http: Vec::new(),
        workers: 1,
        trusted_proxies: Vec::new(),
        hsts_max_age: Duration::from_secs(1),
        max_headers: 20,
        max_header_bytes: 16 * 1024,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(10),
        requests_per_connection: 1000,
        max_connections: 100,
        max_connections_per_address: 100,
        drain_timeout: Duration::from_secs(10),
    }
}

impl Edge {
    fn start(server: config::Server, answer: Answer) -> Self {
        let files = tempfile::tempdir().unwrap();
        let made =
            rcgen::generate_simple_self_signed(vec![HOST.to_owned(), "other.example".to_owned()])
                .unwrap();
        let (chain, key) = (files.path().join("c.pem"), files.path().join("c.key"));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let clock = SystemClock::shared();
        let pair = [config::Certificate {
            chain: chain.clone(),
            key,
        }];
        let certificates = Certificates::load(&pair, Arc::clone(&clock)).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&chain).unwrap())
            .unwrap();
        let reception = Reception {
            clock,
            trusted: Vec::new(),
            hygiene: Hygiene::default(),
            knows: Arc::new(|host| host == HOST),
            edition: Arc::new(|| 1.into()),
            body_timeout: server.body_timeout,
        };
        let listeners = Listeners::bind(&server, Inherited::default()).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let setup = Setup {
            server,
            tls: tls::server_config(certificates, None).unwrap(),
            reception,
        };
        let service = move |_| {
            Rc::new(Testing {
                answer: Arc::clone(&answer),
                served: Arc::clone(&counted),
            })
        };
        let running = Running::start(listeners, setup, service).unwrap();
        Self {
            addr: running.https()[0],
            http: running.http().first().copied(),
            shutdown: running.shutdown(),
            running: Some(running),
            served: count,
            roots,
            _files: files,
        }
    }

    fn client(&self, alpn: &[u8]) -> TlsConnector {
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    async fn connect_as(&self, alpn: &[u8], sni: &'static str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let name = ServerName::try_from(sni).unwrap();
        self.client(alpn).connect(name, stream).await.unwrap()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(b"http/1.1", HOST).await
    }

    /// Sends raw bytes and reads until the edge closes the connection.
    async fn exchange(&self, wire: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(wire).await.unwrap();
        read_all(&mut stream).await
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.shutdown.drain();
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut read = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut read)).await;
    // A close without close_notify is still a close.
    let _ = end.expect("the edge did not close the connection");
    String::from_utf8_lossy(&read).into_owned()
}

async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        assert!(
            stream.read_buf(&mut read).await.unwrap() > 0,
            "{}",
            read.escape_ascii()
        );
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn statuses(wire: &str) -> Vec<&str> {
    wire.split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer.get(..3).unwrap())
        .collect()
}

/// Requests with two readings, each with another request hidden in one of them, and the code of a refusal on
/// record; no code where hyper itself refuses.
fn smuggling_attempts() -> Vec<(String, &'static str)> {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: emr.example\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: emr.example\r\n";
    vec![
        (
            format!(
                "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            "CG-1006",
        ),
        (
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            "CG-1006",
        ),
        (
            format!("{post}Content-Length: 0\r\nContent-Length: 0\r\n\r\n{smuggled}"),
            "CG-1006",
        ),
        (
            format!("{post}Content-Length: 0\r\nContent-Length: 40\r\n\r\n{smuggled}"),
            "",
        ),
        (format!("{post}Content-Length: +0\r\n\r\n{smuggled}"), ""),
        (format!("{post}Content-Length: 0, 0\r\n\r\n{smuggled}"), ""),
        (
            format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}"),
            "",
        ),
        (
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
            "",
        ),
        (
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{smuggled}"),
            "CG-1006",
        ),
        (
            format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
            "",
        ),
        (
            format!("{post}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{smuggled}"),
            "",
        ),
        (
            format!(
                "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            "CG-1006",
        ),
        (format!("{post}X: a\r\n folded\r\n\r\n{smuggled}"), ""),
        (
            format!("GET / HTTP/1.1\nHost: emr.example\n\n{smuggled}"),
            "CG-1006",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: emr.example\nX: y\r\n\r\n{smuggled}"),
            "CG-1006",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: emr.example\r\nX: a\rb\r\n\r\n{smuggled}"),
            "",
        ),
        (
            format!(
                "POST / HTTP/1.0\r\nHost: emr.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            "",
        ),
        (
            format!("GET /#/../admin HTTP/1.1\r\nHost: emr.example\r\n\r\n{smuggled}"),
            "CG-1001",
        ),
    ]
}

#[tokio::test]
async fn smuggling_attempts_are_one_refusal_and_the_end_of_the_connection() {
    let edge = Edge::start(settings(), mirror());
    for (attack, code) in smuggling_attempts() {
        let before = edge.served();
        let answer = edge.exchange(attack.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{attack}\n{answer}");
        assert!(!answer.contains("/smuggled"), "{attack}\n{answer}");
        assert!(answer.contains(code), "{attack}\n{answer}");
        let on_record = usize::from(!code.is_empty());
        assert_eq!(edge.served() - before, on_record, "{attack}");
    }
}

#[tokio::test]
async fn a_flaw_in_a_later_request_is_seen_on_a_connection_that_was_good() {
    let edge = Edge::start(settings(), mirror());
    let mut stream = edge.connect().await;
    stream
        .write_all(b"POST /a HTTP/1.1\r\nHost: emr.example\r\nContent-Length: 3\r\n\r\na\nb")
        .await
        .unwrap();
    read_until(&mut stream, "POST /a").await;
    stream
        .write_all(b"GET /b HTTP/1.1\nHost: emr.example\n\n")
        .await
        .unwrap();
    assert_eq!(statuses(&read_all(&mut stream).await), ["400"]);
}

#[tokio::test]
async fn the_host_is_one_and_is_the_one_of_the_connection() {
    let edge = Edge::start(settings(), mirror());
    for (head, status, code) in [
        ("GET / HTTP/1.1\r\n", "400", "CG-1002"),
        (
            "GET / HTTP/1.1\r\nHost: emr.example\r\nHost: emr.example\r\n",
            "400",
            "CG-1002",
        ),
        (
            "GET / HTTP/1.1\r\nHost: emr.example, evil.example\r\n",
            "400",
            "CG-1002",
        ),
        (
            "GET https://evil.example/ HTTP/1.1\r\nHost: emr.example\r\n",
            "400",
            "CG-1002",
        ),
        (
            "GET / HTTP/1.1\r\nHost: other.example\r\n",
            "421",
            "CG-1003",
        ),
        (
            "CONNECT emr.example:443 HTTP/1.1\r\nHost: emr.example:443\r\n",
            "405",
            "CG-1005",
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: emr.example\r\n",
            "405",
            "CG-1005",
        ),
        (
            "GET /a/..;/b HTTP/1.1\r\nHost: emr.example\r\n",
            "400",
            "CG-1001",
        ),
        (
            "POST / HTTP/1.1\r\nHost: emr.example\r\nExpect: the-impossible\r\n",
            "417",
            "CG-1016",
        ),
        (
            "GET https://EMR.example:443/a HTTP/1.1\r\nHost: emr.example.\r\n",
            "200",
            "GET /a",
        ),
    ] {
        let answer = edge
            .exchange(format!("{head}Connection: close\r\n\r\n").as_bytes())
            .await;
        assert_eq!(statuses(&answer), [status], "{head}\n{answer}");
        assert!(answer.contains(code), "{head}\n{answer}");
    }
    let mut coalesced = edge.connect_as(b"http/1.1", "other.example").await;
    coalesced
        .write_all(b"GET / HTTP/1.1\r\nHost: emr.example\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(read_all(&mut coalesced).await.contains("CG-1003"));
}

#[tokio::test]
async fn heads_beyond_the_limits_do_not_reach_the_service() {
    let edge = Edge::start(settings(), mirror());
    let many = "X: y\r\n".repeat(40);
    let long = format!("X: {}\r\n", "y".repeat(20 * 1024));
    for fields in [many, long] {
        let head = format!("GET / HTTP/1.1\r\nHost: emr.example\r\n{fields}\r\n");
        assert_eq!(statuses(&edge.exchange(head.as_bytes()).await), ["431"]);
    }
    assert_eq!(edge.served(), 0);
}

#[tokio::test]
async fn what_stalls_is_closed() {
    let mut server = settings();
    server.header_timeout = Duration::from_millis(250);
    server.body_timeout = Duration::from_millis(100);
    server.handshake_timeout = Duration::from_secs(1);
    let reading: Answer = Arc::new(|mut received| {
        Box::pin(async move {
            match received
                .body_mut()
                .read(1024, Duration::from_secs(10))
                .await
            {
                Err(error @ BodyError::Timeout) => {
                    text(error.refusal().status(), error.refusal().code())
                }
                other => text(::http::StatusCode::OK, &format!("{other:?}")),
            }
        })
    });
    let edge = Edge::start(server, reading);
    assert_eq!(edge.exchange(b"").await, "", "a silent client");
    assert_eq!(
        edge.exchange(b"GET / HT").await,
        "",
        "a slow head (slowloris)"
    );
    let body = b"POST / HTTP/1.1\r\nHost: emr.example\r\nContent-Length: 9\r\n\r\nhalf";
    assert!(edge.exchange(body).await.contains("CG-1009"), "a slow body");
    let mut silent = TcpStream::connect(edge.addr).await.unwrap();
    assert_eq!(read_all(&mut silent).await, "", "a silent handshake");
    let mut http2 = edge.connect_as(b"h2", HOST).await;
    assert!(
        !read_all(&mut http2).await.contains("HTTP"),
        "a silent HTTP/2 client"
    );
}

#[tokio::test]
async fn a_client_hello_may_arrive_in_any_pieces() {
    let edge = Edge::start(settings(), mirror());
    let mut size = 0;
    for cut in (1..8).chain((8..2000).step_by(211)) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = edge.client(b"http/1.1");
        let client = tokio::spawn(async move {
            let name = ServerName::try_from(HOST).unwrap();
            let mut stream = connector.connect(name, near).await.unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: emr.example\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            read_all(&mut stream).await
        });
        let socket = TcpStream::connect(edge.addr).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (mut from_edge, mut to_edge) = socket.into_split();
        let (mut from_client, mut to_client) = tokio::io::split(far);
        let mut hello = vec![0; 4096];
        let length = from_client.read(&mut hello).await.unwrap();
        hello.truncate(length);
        size = size.max(length);
        let (first, second) = hello.split_at(cut.min(length));
        to_edge.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        to_edge.write_all(second).await.unwrap();
        let copying = tokio::spawn(async move {
            let up = tokio::io::copy(&mut from_client, &mut to_edge);
            let down = async {
                let copied = tokio::io::copy(&mut from_edge, &mut to_client).await;
                to_client.shutdown().await?;
                copied
            };
            let _ = tokio::join!(up, down);
        });
        assert!(client.await.unwrap().contains("GET /"), "cut at {cut}");
        copying.abort();
    }
    assert!(size > 1000, "the hello holds a post-quantum key share");
}

#[tokio::test]
async fn the_handshake_prefers_the_post_quantum_group_and_refuses_unknown_names() {
    let edge = Edge::start(settings(), mirror());
    let stream = edge.connect().await;
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    let tcp = TcpStream::connect(edge.addr).await.unwrap();
    let unknown = ServerName::try_from("unknown.example").unwrap();
    assert!(
        edge.client(b"http/1.1")
            .connect(unknown, tcp)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_connection_serves_so_many_requests_and_an_address_has_so_many_connections() {
    let mut server = settings();
    server.requests_per_connection = 2;
    server.max_connections_per_address = 2;
    let edge = Edge::start(server, mirror());
    let get = "GET / HTTP/1.1\r\nHost: emr.example\r\n\r\n";
    let answer = edge.exchange(get.repeat(3).as_bytes()).await;
    assert_eq!(statuses(&answer), ["200", "200"], "{answer}");
    assert!(answer.contains("connection: close"));
    while edge.running.as_ref().unwrap().connections() > 0 {
        tokio::task::yield_now().await;
    }
    let held = (edge.connect().await, edge.connect().await);
    let mut third = TcpStream::connect(edge.addr).await.unwrap();
    assert_eq!(read_all(&mut third).await, "");
    drop(held);
}

#[tokio::test]
async fn http2_is_served_with_one_cookie_and_no_hop_by_hop_field() {
    let edge = Edge::start(
        settings(),
        Arc::new(|received| {
            let parts = received.parts();
            let cookie = parts
                .headers
                .get("cookie")
                .map(|c| c.to_str().unwrap().to_owned());
            let line = format!("{} {} {:?}", parts.host, parts.target.as_str(), cookie);
            Box::pin(async move { text(::http::StatusCode::OK, &line) })
        }),
    );
    let stream = edge.connect_as(b"h2", HOST).await;
    let hang_up = socket2::SockRef::from(stream.get_ref().0)
        .try_clone()
        .unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let get = |host: &str, path: &str| {
        Request::get(format!("https://{host}{path}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let response = sender.send_request(get(HOST, "/x?y")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "emr.example /x?y Some(\"a=1; b=2\")");
    let misdirected = sender
        .send_request(get("other.example", "/"))
        .await
        .unwrap();
    assert_eq!(misdirected.status(), 421);
    let mut connect = Request::new(Empty::new());
    *connect.method_mut() = ::http::Method::CONNECT;
    *connect.uri_mut() = "emr.example:443".parse().unwrap();
    let refused = sender.send_request(connect).await.unwrap();
    assert_eq!(refused.status(), 405);
    hang_up.shutdown(std::net::Shutdown::Both).unwrap();
    while edge.running.as_ref().unwrap().connections() > 0 {
        tokio::task::yield_now().await;
    }
    drop((sender, connection));
}

#[tokio::test]
async fn an_http2_client_that_does_not_read_is_dropped() {
    let mut server = settings();
    server.body_timeout = Duration::from_millis(80);
    let endless: Answer = Arc::new(|_| {
        let frames = futures_util::stream::repeat_with(|| {
            Ok::<_, BodyError>(http_body::Frame::data(Bytes::from_static(&[0; 16 * 1024])))
        });
        let body = AnswerBody::streaming(http_body_util::StreamBody::new(frames));
        Box::pin(async move { Response::new(body) })
    });
    let edge = Edge::start(server, endless);
    let io = hyper_util::rt::TokioIo::new(edge.connect_as(b"h2", HOST).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://emr.example/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    // The body is held and not read; the edge ends the connection.
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    assert!(ended.is_ok());
    drop(response);
}

/// Tells that it was dropped.
struct Noticed(Arc<AtomicUsize>);
impl Drop for Noticed {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_http1_client_that_does_not_read_is_dropped() {
    let mut server = settings();
    server.body_timeout = Duration::from_millis(80);
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let endless: Answer = Arc::new(move |_| {
        let noticed = Noticed(Arc::clone(&count));
        let frames = futures_util::stream::repeat_with(move || {
            let _held = &noticed;
            Ok::<_, BodyError>(http_body::Frame::data(Bytes::from_static(&[0; 16 * 1024])))
        });
        let body = AnswerBody::streaming(http_body_util::StreamBody::new(frames));
        Box::pin(async move { Response::new(body) })
    });
    let edge = Edge::start(server, endless);
    let mut stream = edge.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: emr.example\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "200 OK").await;
    let ends = async {
        while dropped.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ends)
        .await
        .unwrap();
}

#[tokio::test]
async fn plain_http_only_redirects() {
    let mut server = settings();
    server.redirect_http = vec!["127.0.0.1:0".parse().unwrap()];
    let edge = Edge::start(server, mirror());
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(edge.http.unwrap()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    };
    let answer = ask("GET /a?b HTTP/1.1\r\nHost: emr.example:80\r\n\r\n").await;
    assert_eq!(statuses(&answer), ["308"]);
    let port = edge.addr.port();
    assert!(
        answer.contains(&format!("location: https://emr.example:{port}/a?b\r\n")),
        "{answer}"
    );
    assert_eq!(
        statuses(&ask("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await),
        ["400"]
    );
    assert_eq!(edge.served(), 0);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut edge = Edge::start(
        settings(),
        Arc::new(move |_| {
            let gate = Arc::clone(&held);
            Box::pin(async move {
                let _ = gate.acquire().await;
                text(::http::StatusCode::OK, "finished")
            })
        }),
    );
    let mut idle = edge.connect().await;
    let mut busy = edge.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nHost: emr.example\r\n\r\n")
        .await
        .unwrap();
    while edge.served() == 0 {
        tokio::task::yield_now().await;
    }
    edge.shutdown.drain();
    assert_eq!(
        read_all(&mut idle).await,
        "",
        "an idle connection is closed"
    );
    while TcpStream::connect(edge.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    let answer = read_all(&mut busy).await;
    assert!(answer.contains("finished"), "{answer}");
    let running = edge.running.take().unwrap();
    tokio::task::spawn_blocking(|| running.join())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn workers_share_one_port() {
    let mut server = settings();
    server.workers = 3;
    let edge = Edge::start(server, mirror());
    for _ in 0..12 {
        let answer = edge
            .exchange(b"GET / HTTP/1.1\r\nHost: emr.example\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(statuses(&answer), ["200"]);
    }
}

/// The whole way: the edge in front of an EMR at `url`, with every stage between them saying yes.
fn forwarding(url: &str, outcomes: &Outcomes) -> Answer {
    thread_local! {
        static WAY: std::cell::OnceCell<Rc<crate::upstream::Upstream>> = const { std::cell::OnceCell::new() };
    }
    let (url, outcomes) = (url.to_owned(), outcomes.clone());
    Arc::new(move |received| {
        let way = WAY.with(|way| Rc::clone(way.get_or_init(|| Rc::new(upstream(emr(&url))))));
        let traits = RouteTraits {
            websocket: received.parts().target.path() == "/ws",
            pass_authorization: false,
            body_limit: 1024,
            no_store: true,
        };
        let guard = guard(&outcomes);
        Box::pin(async move {
            let admitted = crate::audit::admit::Admitted::for_test(
                limited(received, "u", crate::request::Action::Read, traits),
                guard,
            );
            let delivered = match way.exchanged(admitted).await {
                Ok(answered) => way.clean(answered),
                Err(refused) => Err(refused),
            };
            match delivered {
                Ok(cleaned) => cleaned.into_parts().0,
                Err(refused) => text(refused.refusal().status(), refused.refusal().code()),
            }
        })
    })
}

#[tokio::test]
async fn web_sockets_pass_where_the_profile_opens_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let back_end = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let outcomes = Outcomes::default();
    let edge = Edge::start(settings(), forwarding(&url, &outcomes));
    let refused =
        tokio_tungstenite::client_async("wss://emr.example/elsewhere", edge.connect().await).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else {
        panic!("opened where it must not");
    };
    assert_eq!(answer.body().as_deref(), Some(&b"CG-1013"[..]));
    let (mut socket, answer) =
        tokio_tungstenite::client_async("wss://emr.example/ws", edge.connect().await)
            .await
            .unwrap();
    assert_eq!(answer.status(), 101);
    for text in ["one", "two"] {
        socket.send(text.into()).await.unwrap();
        assert_eq!(
            socket.next().await.unwrap().unwrap().into_text().unwrap(),
            text
        );
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    back_end.await.unwrap();
    while outcomes.count() < 2 {
        tokio::task::yield_now().await;
    }
    let outcome = outcomes.last().unwrap();
    assert_eq!((outcome.end, outcome.status), (End::Complete, Some(101)));
    assert!(outcome.bytes_in > 6 && outcome.bytes_out > 6, "{outcome:?}");
}

/// An upgrade that the EMR does not take is no tunnel (RUSTSEC-2026-0033).
#[tokio::test]
async fn a_premature_upgrade_smuggles_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let back_end = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_until(&mut stream, "\r\n\r\n").await;
            count.fetch_add(head.matches("HTTP/1.1\r\n").count(), Ordering::Relaxed);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
                .await
                .unwrap();
        }
    });
    let outcomes = Outcomes::default();
    let edge = Edge::start(settings(), forwarding(&url, &outcomes));
    let answer = edge
        .exchange(
            b"GET /ws HTTP/1.1\r\nHost: emr.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
              GET /admin HTTP/1.1\r\nHost: emr.example\r\nConnection: close\r\n\r\n",
        )
        .await;
    // The second request is a request of its own: received, decided and recorded like any other.
    assert_eq!(statuses(&answer), ["200", "200"], "{answer}");
    assert_eq!(
        (
            edge.served(),
            outcomes.count(),
            seen.load(Ordering::Relaxed)
        ),
        (2, 2, 2)
    );
    back_end.abort();
}

#[tokio::test]
async fn continue_is_said_only_once_the_request_is_forwarded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let back_end = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_until(&mut stream, "note").await;
        stream
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        request
    });
    let outcomes = Outcomes::default();
    let edge = Edge::start(settings(), forwarding(&url, &outcomes));
    let mut stream = edge.connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: emr.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"note").await.unwrap();
    assert_eq!(statuses(&read_all(&mut stream).await), ["201"]);
    let request = back_end.await.unwrap();
    assert!(
        request.contains("content-length: 4\r\n") && !request.contains("expect"),
        "{request}"
    );
    // A body over the limit is refused without asking for it.
    let answer = edge
        .exchange(b"POST / HTTP/1.1\r\nHost: emr.example\r\nContent-Length: 4000\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(statuses(&answer), ["413"], "{answer}");
}

/// Naming an injected header in `Connection` does not delete it (CVE-2024-45410).
#[tokio::test]
async fn connection_cannot_delete_what_the_gateway_states() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let back_end = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        head
    });
    let outcomes = Outcomes::default();
    let edge = Edge::start(settings(), forwarding(&url, &outcomes));
    let stated = [
        "x-emr-user",
        "x-emr-roles",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-request-id",
        "host",
    ];
    let attack = format!(
        "GET / HTTP/1.1\r\nHost: emr.example\r\nX-Emr-User: root\r\nx_forwarded_for: 1.1.1.1\r\nConnection: close, {}\r\n\r\n",
        stated.join(", ").to_uppercase()
    );
    assert_eq!(statuses(&edge.exchange(attack.as_bytes()).await), ["204"]);
    let head = back_end.await.unwrap();
    for name in stated {
        assert_eq!(
            head.matches(&format!("\r\n{name}: ")).count(),
            1,
            "{name}\n{head}"
        );
    }
    assert!(
        !head.contains("root") && !head.contains("1.1.1.1"),
        "{head}"
    );
}
