//! `/healthz`, `/readyz` and `/metrics`, in plain HTTP on a listener of their own.
//!
//! *Never*: anything else; a method but GET and HEAD; a connection that lasts.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::health::{Health, Report};
use crate::telemetry::metrics::Metrics;

/// A probe is one short request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Probes and scrapers at once.
const CONNECTIONS: usize = 64;

/// The admin listener.
#[derive(Debug)]
pub struct AdminHttp {
    listener: TcpListener,
    answers: Arc<Answers>,
}

#[derive(Debug)]
struct Answers {
    health: Arc<dyn Health>,
    metrics: Metrics,
}

impl AdminHttp {
    /// Opens the listener.
    ///
    /// # Errors
    /// The system's reason why the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        health: Arc<dyn Health>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let answers = Arc::new(Answers { health, metrics });
        Ok(Self { listener, answers })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's reason why there is none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `end` is ready.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Beyond the bound a connection is closed at once; a scraper tries again.
                    let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                        continue;
                    };
                    let answers = Arc::clone(&self.answers);
                    tokio::spawn(async move {
                        connection(stream, answers).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = answers.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(DEADLINE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(DEADLINE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin request broke off"),
        Err(_) => tracing::debug!("an admin request took too long"),
    }
}

impl Answers {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD\n".to_owned(),
            );
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => ready(&Report::of(self.health.checks())),
            "/metrics" => {
                let mut rendered = text(StatusCode::OK, self.metrics.render());
                let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                rendered.headers_mut().insert(CONTENT_TYPE, version);
                rendered
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics\n".to_owned(),
            ),
        }
    }
}

fn ready(report: &Report) -> Response<Full<Bytes>> {
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let Ok(json) = serde_json::to_string(report) else {
        return text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the report cannot be written\n".to_owned(),
        );
    };
    let mut response = text(status, json);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::admin::health::{Check, Status, Weight};

    #[derive(Debug, Default)]
    struct Parts {
        trail_down: AtomicBool,
    }

    impl Health for Parts {
        fn checks(&self) -> Vec<Check> {
            let down = self.trail_down.load(Ordering::Relaxed);
            let check = |name: &str, status, weight| Check {
                name: name.to_owned(),
                status,
                weight,
                detail: String::new(),
            };
            let trail = if down { Status::Red } else { Status::Green };
            vec![
                check("trail", trail, Weight::Critical),
                check("witness", Status::Red, Weight::Advisory),
                check("certificate", Status::Amber, Weight::Critical),
            ]
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: admin\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_are_answered_and_nothing_else() {
        let parts = Arc::new(Parts::default());
        let (metrics, recorder) = Metrics::local().unwrap();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("chartgate_refusals_total").increment(1);
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let health: Arc<dyn Health> = Arc::clone(&parts) as Arc<dyn Health>;
        let admin = AdminHttp::bind(any, health, metrics).await.unwrap();
        let address = admin.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(admin.serve(async { stopped.await.unwrap() }));

        assert!(
            ask(address, "GET /healthz")
                .await
                .starts_with("HTTP/1.1 200")
        );
        let ready = ask(address, "GET /readyz").await;
        assert!(
            ready.starts_with("HTTP/1.1 200") && ready.contains("\"ready\":true"),
            "{ready}"
        );
        parts.trail_down.store(true, Ordering::Relaxed);
        let red = ask(address, "GET /readyz").await;
        assert!(
            red.starts_with("HTTP/1.1 503")
                && red.contains("\"name\":\"trail\",\"status\":\"red\""),
            "{red}"
        );
        let head = ask(address, "HEAD /readyz").await;
        assert!(
            head.starts_with("HTTP/1.1 503") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        assert!(
            ask(address, "GET /metrics")
                .await
                .contains("chartgate_refusals_total 1")
        );
        assert!(
            ask(address, "POST /healthz")
                .await
                .starts_with("HTTP/1.1 405")
        );
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));

        stop.send(()).unwrap();
        server.await.unwrap();
    }
}
