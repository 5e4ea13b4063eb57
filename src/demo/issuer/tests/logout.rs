//! Tests of logout, in the browser and behind its back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Form, Router, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::StatusCode;
use serde_json::Value;

use super::{super::TotpReplay, AFTER, claims, issuer_with, request, transaction};
use crate::demo::testing::start;

#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<String>>>);

#[derive(serde::Deserialize)]
struct LogoutForm {
    logout_token: String,
}

fn receiver(inbox: Inbox) -> Router {
    async fn take(State(inbox): State<Inbox>, Form(form): Form<LogoutForm>) {
        inbox.0.lock().unwrap().push(form.logout_token);
    }
    Router::new()
        .route("/backchannel", post(take))
        .with_state(inbox)
}

#[tokio::test]
async fn logout_ends_the_session_tells_the_client_and_sends_the_browser_back() {
    let inbox = Inbox::default();
    let router = receiver(inbox.clone());
    let closing = tokio::sync::watch::Sender::new(false);
    let told =
        start(|listener, stop| crate::demo::listen::serve(router, listener, stop.wait(), closing))
            .await;
    let uri = format!("http://{}/backchannel", told.address);
    let setup = issuer_with(TotpReplay::Accepted, Some(&uri), None).await;
    let mut browser = setup.browser();
    let token = setup.id_token(&mut browser, "dr.okafor").await;

    let logout = |changes: &[(&str, &str)]| {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("id_token_hint", token.as_str()), ("state", "s s")])
            .extend_pairs(changes)
            .finish();
        format!("/logout?{query}")
    };
    // Without a token the person is asked first.
    let asked = browser.get("/logout").await;
    assert!(asked.text().contains("Sign out?"));
    assert!(inbox.0.lock().unwrap().is_empty());

    // The token may have expired by then.
    setup.clock.advance(Duration::from_hours(1));
    let back = browser
        .get(&logout(&[("post_logout_redirect_uri", AFTER)]))
        .await;
    assert_eq!(back.location(), format!("{AFTER}?state=s+s"));
    let tokens = inbox.0.lock().unwrap().clone();
    assert_eq!(tokens.len(), 1);
    let header = tokens[0].split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&"logout+jwt".into(), &"ES256".into())
    );
    let (logout_claims, id_claims) = (claims(&tokens[0]), claims(&token));
    for name in ["iss", "aud", "sub", "sid"] {
        assert_eq!(logout_claims[name], id_claims[name], "{name}");
    }
    assert!(
        logout_claims["events"]["http://schemas.openid.net/event/backchannel-logout"].is_object()
    );
    assert!(logout_claims["jti"].is_string() && logout_claims.get("nonce").is_none());
    transaction(&browser.get(&request(&[])).await);

    // An address that is not registered is never followed.
    let elsewhere = browser
        .get(&logout(&[(
            "post_logout_redirect_uri",
            "https://evil.example/",
        )]))
        .await;
    assert_eq!(
        (elsewhere.status, elsewhere.location()),
        (StatusCode::OK, "")
    );

    setup.id_token(&mut browser, "dr.okafor").await;
    browser.post("/logout/confirm", &[]).await;
    assert_eq!(inbox.0.lock().unwrap().len(), 2);
    setup.id_token(&mut browser, "dr.okafor").await;
    setup.id_token(&mut browser, "nurse.lind").await;
    assert_eq!(inbox.0.lock().unwrap().len(), 3);
    setup.handle.end_sessions_of("nurse.lind").await;
    assert_eq!(inbox.0.lock().unwrap().len(), 4);
    setup.running.stop().await;
    told.stop().await;
}

#[tokio::test]
async fn a_client_over_tls_is_told_when_its_certificate_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!(
        "https://localhost:{}/backchannel",
        listener.local_addr().unwrap().port()
    );
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let inbox = Inbox::default();
    let router = receiver(inbox.clone());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router);
        let io = hyper_util::rt::TokioIo::new(stream);
        hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
    });
    let setup = issuer_with(TotpReplay::Accepted, Some(&uri), Some(Arc::new(client))).await;
    setup.id_token(&mut setup.browser(), "dr.okafor").await;
    setup.handle.end_sessions_of("dr.okafor").await;
    assert_eq!(inbox.0.lock().unwrap().len(), 1);
    setup.running.stop().await;
}
