//! Drives the provider over loopback connections, as a browser and a client do.

mod flow;
mod logout;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::StatusCode;
use openidconnect::{
    ClientId, ClientSecret, IssuerUrl, Nonce,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::{Client, Issuer, IssuerHandle, IssuerOptions, TotpReplay};
use crate::{
    clock::Clock,
    demo::{
        testing::{Browser, FixedClock, Reply, Running, start_on},
        users::{self, DemoUser},
    },
};

const CALLBACK: &str = "https://gate.example/callback";
const AFTER: &str = "https://gate.example/bye";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const SECRET: &str = "a secret: with + and %";

struct Setup {
    running: Running,
    handle: IssuerHandle,
    clock: Arc<FixedClock>,
    url: String,
}

async fn issuer_with(
    replay: TotpReplay,
    logout: Option<&str>,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Setup {
    let clock = FixedClock::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut client = Client::new("gateway", SECRET)
        .with_redirect_uri(CALLBACK)
        .with_post_logout_redirect_uri(AFTER);
    if let Some(uri) = logout {
        client = client.with_backchannel_logout_uri(uri);
    }
    let issuer = Issuer::new(IssuerOptions {
        issuer_url: url.clone(),
        clients: vec![client, Client::new("other", "other-secret")],
        users: users::staff(),
        clock: clock.clone(),
        totp_replay: replay,
        tls,
    })
    .unwrap();
    let handle = issuer.handle();
    let running = start_on(listener, |listener, stop| {
        issuer.serve(listener, stop.wait())
    });
    Setup {
        running,
        handle,
        clock,
        url,
    }
}

async fn issuer() -> Setup {
    issuer_with(TotpReplay::Accepted, None, None).await
}

fn staff(name: &str) -> DemoUser {
    users::staff()
        .into_iter()
        .find(|user| user.name() == name)
        .unwrap()
}

/// The address of the authorization endpoint with the usual parameters and these in their place.
fn request(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("client_id", "gateway"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("state", "st&te"),
        ("nonce", "once"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    fields.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    fields.extend(changes.iter().filter(|(_, value)| *value != "-"));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    format!("/authorize?{query}")
}

/// A field of the query of a redirect.
fn field(reply: &Reply, name: &str) -> Option<String> {
    let location = url::Url::parse(reply.location()).unwrap();
    location
        .query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn transaction(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text());
    reply
        .location()
        .strip_prefix("/login?transaction=")
        .unwrap()
        .to_owned()
}

impl Setup {
    fn browser(&self) -> Browser {
        Browser::new(self.running.address)
    }

    fn code_of(&self, user: &DemoUser) -> String {
        user.totp_code(self.clock.now()).unwrap()
    }

    /// Signs in as far as the answer that carries a code.
    async fn sign_in(&self, browser: &mut Browser, user: &str, changes: &[(&str, &str)]) -> Reply {
        let transaction = transaction(&browser.get(&request(changes)).await);
        let user = staff(user);
        let fields = [
            ("transaction", transaction.as_str()),
            ("username", user.name()),
            ("password", user.password()),
        ];
        let reply = browser.post("/login", &fields).await;
        if user.totp_secret().is_none() {
            return reply;
        }
        let form = browser.get(reply.location()).await;
        assert!(form.text().contains("Six-digit code"));
        let code = self.code_of(&user);
        browser
            .post(
                "/login/code",
                &[("transaction", &transaction), ("code", &code)],
            )
            .await
    }

    async fn exchange(&self, code: &str, changes: &[(&str, &str)]) -> Reply {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("client_id", "gateway"),
            ("client_secret", SECRET),
        ];
        fields.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        fields.extend(changes.iter().filter(|(_, value)| *value != "-"));
        self.browser().post("/token", &fields).await
    }

    /// A whole login: the ID token.
    async fn id_token(&self, browser: &mut Browser, user: &str) -> String {
        let reply = self.sign_in(browser, user, &[("prompt", "login")]).await;
        let tokens = self.exchange(&field(&reply, "code").unwrap(), &[]).await;
        tokens.json()["id_token"].as_str().unwrap().to_owned()
    }

    /// Verifies an ID token as the gateway does, with the `openidconnect` crate.
    async fn verify(&self, token: &str) -> Result<(), String> {
        let keys: CoreJsonWebKeySet =
            serde_json::from_value(self.browser().get("/jwks").await.json()).unwrap();
        let now = self.clock.now().to_string();
        let verifier = CoreIdTokenVerifier::new_confidential_client(
            ClientId::new("gateway".to_owned()),
            ClientSecret::new(SECRET.to_owned()),
            IssuerUrl::new(self.url.clone()).unwrap(),
            keys,
        )
        .set_allowed_algs([CoreJwsSigningAlgorithm::EcdsaP256Sha256])
        .set_time_fn(move || now.parse().unwrap());
        let token: CoreIdToken = token.parse().map_err(|error| format!("{error}"))?;
        let nonce = Nonce::new("once".to_owned());
        token
            .claims(&verifier, &nonce)
            .map(|_| ())
            .map_err(|error| format!("{error}"))
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn error(reply: &Reply) -> String {
    reply.json()["error"].as_str().unwrap().to_owned()
}
