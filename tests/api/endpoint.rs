//! An introspection endpoint that knows the tokens of a test.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// Serves `answers`, by token; what is not among them is not active.
pub(super) async fn endpoint(answers: BTreeMap<&'static str, Value>) -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            let service =
                hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let answers = Arc::clone(&answers);
                    async move {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let form: BTreeMap<String, String> =
                            form_urlencoded::parse(&body).into_owned().collect();
                        let inactive = json!({ "active": false });
                        let answer = answers.get(form["token"].as_str()).unwrap_or(&inactive);
                        let body = Full::new(Bytes::from(answer.to_string()));
                        Ok::<_, std::convert::Infallible>(Response::new(body))
                    }
                });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url.parse().unwrap()
}
