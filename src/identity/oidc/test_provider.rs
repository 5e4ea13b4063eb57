//! A small OpenID provider on loopback for unit tests: it signs whatever a test tells it to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use ::http::{Request, Response, StatusCode, header};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::test_refresh::{Renewing, Tokens};
use crate::config::issuer::{ClientAuth, Rotating};
use crate::config::step_up::PhishingResistant;
use crate::config::{Issuer, MfaEvidence, MfaRequire};
use crate::secret::Secret;

pub(in crate::identity) const CLIENT: &str = "gateway";
pub(in crate::identity) const CLIENT_SECRET: &str = "s3cret/with+signs";

/// An ES256 key.
pub(in crate::identity) struct SigningKey {
    id: String,
    key: EncodingKey,
}

impl SigningKey {
    pub(in crate::identity) fn new(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        Self {
            id: id.to_owned(),
            key: EncodingKey::from_ec_der(der.as_ref()),
        }
    }

    /// The same key under another name.
    pub(in crate::identity) fn named(self, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..self
        }
    }

    pub(in crate::identity) fn public(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap())
                .unwrap();
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(in crate::identity) fn sign(&self, claims: &Value) -> String {
        self.sign_as(claims, "JWT")
    }

    pub(in crate::identity) fn sign_as(&self, claims: &Value, typ: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        header.typ = Some(typ.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// How the provider knows its client.
pub(in crate::identity) struct Clients {
    /// `token_endpoint_auth_method`
    pub(in crate::identity) method: &'static str,
    pub(in crate::identity) secrets: Vec<String>,
    pub(in crate::identity) keys: Vec<Value>,
    /// The audiences of assertions that it takes, below its base.
    pub(in crate::identity) audience: &'static str,
    /// What it says to who is not the client.
    pub(in crate::identity) error: &'static str,
    seen: BTreeSet<String>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            method: "client_secret_basic",
            secrets: vec![CLIENT_SECRET.to_owned()],
            keys: Vec::new(),
            audience: "",
            error: "invalid_client",
            seen: BTreeSet::new(),
        }
    }
}

impl Clients {
    /// Whether a request is the client's, by its one method.
    fn knows(
        &mut self,
        base: &str,
        parts: &::http::request::Parts,
        form: &HashMap<String, String>,
    ) -> bool {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = parts.headers.get(header::AUTHORIZATION);
        match self.method {
            "client_secret_basic" => {
                let is_one = |secret: &String| {
                    let pair = STANDARD.encode(format!("{}:{}", encode(CLIENT), encode(secret)));
                    basic.is_some_and(|value| value == &format!("Basic {pair}"))
                };
                let is_pushed = form.contains_key("response_type");
                (is_pushed || !form.contains_key("client_id")) && self.secrets.iter().any(is_one)
            }
            "client_secret_post" => {
                basic.is_none()
                    && form["client_id"] == CLIENT
                    && self.secrets.contains(&form["client_secret"])
            }
            _ => {
                basic.is_none()
                    && !form.contains_key("client_secret")
                    && form["client_id"] == CLIENT
                    && form["client_assertion_type"]
                        == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                    && self.believes(
                        &format!("{base}{}", self.audience),
                        &form["client_assertion"],
                    )
            }
        }
    }

    /// Whether an assertion is signed with a key that is known, for this audience, short-lived, and new.
    pub(in crate::identity) fn believes(&mut self, audience: &str, assertion: &str) -> bool {
        let Ok(head) = jsonwebtoken::decode_header(assertion) else {
            return false;
        };
        let Some(key) = self.keys.iter().find(|key| key["kid"] == json!(head.kid)) else {
            return false;
        };
        let jwk: Jwk = serde_json::from_value(key.clone()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(head.alg);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[CLIENT]);
        // The gateway of a test has a clock of its own.
        validation.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let Ok(token) = jsonwebtoken::decode::<Value>(assertion, &key, &validation) else {
            return false;
        };
        let claims = token.claims;
        let lifetime = claims["exp"]
            .as_i64()
            .unwrap()
            .saturating_sub(claims["iat"].as_i64().unwrap());
        claims["sub"] == CLIENT
            && (1..=60).contains(&lifetime)
            && self.seen.insert(claims["jti"].as_str().unwrap().to_owned())
    }
}

/// Claims for tests that are not about claims.
pub(in crate::identity) fn claims() -> Value {
    json!({"sub": "u1"})
}

struct Granted {
    challenge: String,
    redirect: String,
    answer: Value,
}

#[derive(Default)]
struct State {
    keys: Vec<SigningKey>,
    grants: HashMap<String, Granted>,
    key_reads: usize,
    is_down: bool,
    issuer: Option<String>,
    metadata: Value,
    clients: Clients,
    pushed: HashMap<String, HashMap<String, String>>,
    pages: HashMap<String, Value>,
    bearers: Vec<String>,
    tokens: Tokens,
}

/// The provider. It ends with the test.
#[derive(Clone)]
pub(in crate::identity) struct TestProvider {
    base: String,
    state: Arc<Mutex<State>>,
}

impl TestProvider {
    pub(in crate::identity) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            keys: vec![SigningKey::new("k1")],
            metadata: json!({}),
            clients: Clients::default(),
            ..State::default()
        };
        let provider = Self {
            base,
            state: Arc::new(Mutex::new(state)),
        };
        let served = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| served.answer(request));
                    let io = TokioIo::new(stream);
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .await,
                    );
                });
            }
        });
        provider
    }

    /// The configuration of a gateway that uses this provider.
    pub(in crate::identity) fn issuer(&self) -> Issuer {
        let mfa = MfaEvidence {
            acr: Vec::new(),
            amr: vec![vec!["mfa".to_owned()]],
            require: MfaRequire::Any,
            phishing_resistant: PhishingResistant::default(),
        };
        Issuer {
            client_auth: ClientAuth::SecretBasic(Rotating {
                current: Secret::new(CLIENT_SECRET.to_owned()),
                previous: None,
            }),
            scopes: vec!["profile".to_owned()],
            algorithms: vec!["ES256".to_owned()],
            request_acr: vec!["urn:mfa".to_owned()],
            ..Issuer::for_test(&self.base, mfa)
        }
    }

    pub(in crate::identity) fn url(&self) -> &str {
        &self.base
    }

    /// From now on, sign with a new key and publish only that one.
    pub(in crate::identity) fn rotate(&self, id: &str) {
        self.state.lock().unwrap().keys = vec![SigningKey::new(id)];
    }

    /// How often the key set was read.
    pub(in crate::identity) fn key_reads(&self) -> usize {
        self.state.lock().unwrap().key_reads
    }

    /// Answers 503 to everything, or works again.
    pub(in crate::identity) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Names another issuer in its discovery document.
    pub(in crate::identity) fn pretend(&self, issuer: &str) {
        self.state.lock().unwrap().issuer = Some(issuer.to_owned());
    }

    /// Adds members to the discovery document.
    pub(in crate::identity) fn publish(&self, members: Value) {
        self.state.lock().unwrap().metadata = members;
    }

    /// Changes how the client is known.
    pub(in crate::identity) fn clients(&self, change: impl FnOnce(&mut Clients)) {
        change(&mut self.state.lock().unwrap().clients);
    }

    /// Takes pushed authorization requests from now on.
    pub(in crate::identity) fn take_pushed(&self, is_demanded: bool) {
        self.publish(json!({
            "pushed_authorization_request_endpoint": format!("{}/par", self.base),
            "require_pushed_authorization_requests": is_demanded,
        }));
    }

    /// The authorization request that the browser was sent with at `url`: in the address, or pushed.
    pub(in crate::identity) fn asked(&self, url: &url::Url) -> HashMap<String, String> {
        let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
        match asked.get("request_uri") {
            None => asked,
            Some(uri) => {
                assert_eq!(asked.len(), 2, "{asked:?}");
                let mut pushed = self.state.lock().unwrap().pushed.remove(uri).unwrap();
                pushed.insert("client_id".to_owned(), asked["client_id"].clone());
                pushed
            }
        }
    }

    /// Answers `page` at this path and query to who has a token.
    pub(in crate::identity) fn give(&self, path: &str, page: Value) {
        self.state
            .lock()
            .unwrap()
            .pages
            .insert(path.to_owned(), page);
    }

    /// The values of `Authorization` with which pages were asked for.
    pub(in crate::identity) fn bearers(&self) -> Vec<String> {
        self.state.lock().unwrap().bearers.clone()
    }

    /// How it renews tokens, to be looked at or changed.
    pub(in crate::identity) fn renewing<T>(&self, act: impl FnOnce(&mut Renewing) -> T) -> T {
        act(&mut self.state.lock().unwrap().tokens.renewing)
    }

    /// Somebody uses a refresh token, and its answer is lost.
    pub(in crate::identity) fn spend(&self, token: &str) {
        assert!(self.state.lock().unwrap().tokens.rotate(token).is_some());
    }

    pub(in crate::identity) fn sign(&self, claims: &Value, typ: &str) -> String {
        self.state.lock().unwrap().keys[0].sign_as(claims, typ)
    }

    /// The claims of a user who signed in with two factors at `now`.
    pub(in crate::identity) fn id_claims(&self, nonce: &str, now: i64) -> Value {
        json!({
            "iss": self.base, "aud": CLIENT, "sub": "u1", "nonce": nonce,
            "iat": now, "exp": now.saturating_add(300), "auth_time": now, "amr": ["pwd", "otp", "mfa"],
            "preferred_username": "dr.adams", "groups": ["emr-physicians"], "sid": "op-session-1",
        })
    }

    /// The user signed in: a code for the authorization request at `url`, which buys an ID token with `claims`.
    pub(in crate::identity) fn grant(&self, url: &url::Url, claims: &Value) -> String {
        let token = self.sign(claims, "JWT");
        let refresh = self.state.lock().unwrap().tokens.begin(claims);
        self.grant_answer(
            url,
            json!({
                "access_token": "at", "token_type": "Bearer", "id_token": token,
                "refresh_token": refresh,
            }),
        )
    }

    /// As [`Self::grant`], with the whole answer of the token endpoint.
    pub(in crate::identity) fn grant_answer(&self, url: &url::Url, answer: Value) -> String {
        self.grant_asked(&self.asked(url), answer)
    }

    /// As [`Self::grant_answer`], for a request that was looked at already.
    pub(in crate::identity) fn grant_asked(
        &self,
        asked: &HashMap<String, String>,
        answer: Value,
    ) -> String {
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["client_id"], CLIENT);
        assert_eq!(asked["response_type"], "code");
        assert!(asked["scope"].split(' ').any(|s| s == "openid"));
        let code = hex::encode(crate::identity::token::Token::generate().unwrap().bytes());
        let granted = Granted {
            challenge: asked["code_challenge"].clone(),
            redirect: asked["redirect_uri"].clone(),
            answer,
        };
        self.state
            .lock()
            .unwrap()
            .grants
            .insert(code.clone(), granted);
        code
    }

    async fn answer(
        &self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let delay = self.renewing(|renewing| renewing.delay);
        let (status, answer) = self.route(&parts, &body);
        if parts.uri.path() == "/token" {
            tokio::time::sleep(delay).await;
        }
        Ok(Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(answer.to_string())))
            .unwrap())
    }

    fn route(&self, parts: &::http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let mut state = self.state.lock().unwrap();
        if state.is_down {
            return (StatusCode::SERVICE_UNAVAILABLE, json!({}));
        }
        let base = &self.base;
        match parts.uri.path() {
            "/.well-known/openid-configuration" => (StatusCode::OK, document(&state, base)),
            "/jwks" => {
                state.key_reads = state.key_reads.saturating_add(1);
                let keys: Vec<_> = state.keys.iter().map(SigningKey::public).collect();
                (StatusCode::OK, json!({ "keys": keys }))
            }
            "/token" => {
                let form: HashMap<String, String> =
                    form_urlencoded::parse(body).into_owned().collect();
                if !state.clients.knows(base, parts, &form) {
                    let error = state.clients.error;
                    return (StatusCode::UNAUTHORIZED, json!({ "error": error }));
                }
                if form["grant_type"] == "refresh_token" {
                    return match state.tokens.rotate(&form["refresh_token"]) {
                        None => (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"})),
                        Some((claims, refresh)) => {
                            let mut answer = json!({
                                "access_token": "at2", "token_type": "Bearer", "refresh_token": refresh,
                            });
                            if let Some(claims) = claims {
                                answer["id_token"] = json!(state.keys[0].sign(&claims));
                            }
                            (StatusCode::OK, answer)
                        }
                    };
                }
                let granted = state.grants.remove(&form["code"]);
                granted
                    .filter(|granted| is_entitled(&form, granted))
                    .map_or_else(
                        || (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"})),
                        |granted| (StatusCode::OK, granted.answer),
                    )
            }
            "/par" => {
                let form: HashMap<String, String> =
                    form_urlencoded::parse(body).into_owned().collect();
                // RFC 9126 §2.1: a parameter of the request, however the client proves itself.
                if form.get("client_id").map(String::as_str) != Some(CLIENT) {
                    return (StatusCode::BAD_REQUEST, json!({"error": "invalid_request"}));
                }
                if !state.clients.knows(base, parts, &form) {
                    let error = state.clients.error;
                    return (StatusCode::UNAUTHORIZED, json!({ "error": error }));
                }
                let uri = format!("urn:ietf:params:oauth:request_uri:{}", state.pushed.len());
                state.pushed.insert(uri.clone(), form);
                (
                    StatusCode::CREATED,
                    json!({"request_uri": uri, "expires_in": 60}),
                )
            }
            _ if state
                .pages
                .contains_key(parts.uri.path_and_query().unwrap().as_str()) =>
            {
                let bearer = parts.headers[header::AUTHORIZATION].to_str().unwrap();
                state.bearers.push(bearer.to_owned());
                let page = &state.pages[parts.uri.path_and_query().unwrap().as_str()];
                (StatusCode::OK, page.clone())
            }
            "/userinfo" => {
                assert_eq!(parts.headers[header::AUTHORIZATION], "Bearer at2");
                (StatusCode::OK, state.tokens.renewing.user_info.clone())
            }
            _ => (StatusCode::NOT_FOUND, json!({})),
        }
    }
}

fn document(state: &State, base: &str) -> Value {
    let mut document = json!({
        "issuer": state.issuer.as_deref().unwrap_or(base),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/jwks"),
        "end_session_endpoint": format!("{base}/end"),
        "id_token_signing_alg_values_supported": ["none", "ES256"],
        "op_tos_uri": "",
    });
    for (name, value) in state.metadata.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn is_entitled(form: &HashMap<String, String>, granted: &Granted) -> bool {
    let verifier = form["code_verifier"].as_bytes();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier);
    URL_SAFE_NO_PAD.encode(hash) == granted.challenge
        && form["redirect_uri"] == granted.redirect
        && form["grant_type"] == "authorization_code"
}
