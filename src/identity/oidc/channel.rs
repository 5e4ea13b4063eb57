//! Requests that the gateway makes as a client: it proves itself in the way that is configured (OIDC Core §9, RFC 8705),
//! and where the provider does not know what it shows, with what it showed before.
//!
//! *Owns*: the client's secrets and keys.
//! *Never*: two proofs in one request (RFC 6749 §2.3); an assertion that is valid for longer than a minute.

use ::http::{HeaderValue, Request, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Header;
use serde::{Deserialize, Serialize};
use url::Url;

use super::exchange::ExchangeError;
use crate::clock::SharedClock;
use crate::config::Issuer;
use crate::config::client_key::ClientKey;
use crate::config::issuer::{AssertionAudience, ClientAuth};
use crate::identity::token::Token;
use crate::outbound::{HttpClient, HttpError};
use crate::secret::Secret;

/// How long an assertion is valid, in seconds.
const LIFETIME: i64 = 60;
const CLIENT_ID: &str = "client_id";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const FORM: &str = "application/x-www-form-urlencoded";

/// The pairs of a form.
pub(super) type Form = Vec<(String, Secret<String>)>;

/// One way to prove who the gateway is.
enum Proof<'c> {
    Basic(&'c Secret<String>),
    Post(&'c Secret<String>),
    Key(&'c ClientKey, AssertionAudience),
    /// The connection shows a certificate.
    Tls,
}

/// Who hears an assertion.
#[derive(Debug, Clone)]
pub(super) struct Audience {
    pub(super) issuer: String,
    /// The address of the token endpoint, as published.
    pub(super) token_endpoint: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: i64,
    exp: i64,
}

/// The gateway as a client of one provider.
#[derive(Debug)]
pub(super) struct Channel {
    http: HttpClient,
    issuer: String,
    client_id: String,
    auth: ClientAuth,
    clock: SharedClock,
}

impl Channel {
    pub(super) fn new(settings: &Issuer, http: HttpClient, clock: SharedClock) -> Self {
        Self {
            http,
            issuer: settings.name.clone(),
            client_id: settings.client_id.clone(),
            auth: settings.client_auth.clone(),
            clock,
        }
    }

    /// Sends a form as the client. What the provider does not accept is tried with the previous secret or key, where
    /// there is one: a request that failed for its proof was not carried out, so it may be repeated.
    pub(super) async fn post(
        &self,
        url: &Url,
        audience: &Audience,
        form: &Form,
    ) -> Result<Response<Vec<u8>>, ExchangeError> {
        let proofs = self.proofs();
        let last = proofs.len().saturating_sub(1);
        let mut answered = None;
        for (index, proof) in proofs.iter().enumerate() {
            let request = self.request(url, audience, form, proof)?;
            let sent = self.http.send(request).await;
            let answer = sent.map_err(ExchangeError::Unreachable)?;
            let is_unknown = is_client_refused(&answer);
            if index > 0 && !is_unknown {
                tracing::warn!(
                    issuer = self.issuer,
                    "the provider knows the previous client secret or key only, not the current one"
                );
                metrics::counter!("chartgate_issuer_previous_credential_total", "issuer" => self.issuer.clone())
                    .increment(1);
            }
            if !is_unknown || index == last {
                return Ok(answer);
            }
            answered = Some(answer);
        }
        answered.ok_or(ExchangeError::Proof)
    }

    /// Newest first; never empty.
    fn proofs(&self) -> Vec<Proof<'_>> {
        match &self.auth {
            ClientAuth::SecretBasic(secrets) => secrets.newest_first().map(Proof::Basic).collect(),
            ClientAuth::SecretPost(secrets) => secrets.newest_first().map(Proof::Post).collect(),
            ClientAuth::PrivateKeyJwt { keys, audience } => keys
                .newest_first()
                .map(|key| Proof::Key(key, *audience))
                .collect(),
            ClientAuth::Tls(_) => vec![Proof::Tls],
        }
    }

    fn request(
        &self,
        url: &Url,
        audience: &Audience,
        form: &Form,
        proof: &Proof<'_>,
    ) -> Result<Request<Vec<u8>>, ExchangeError> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form {
            body.append_pair(name, value.expose());
        }
        let mut authorization = None;
        match proof {
            Proof::Basic(secret) => authorization = Some(self.basic(secret)?),
            Proof::Post(secret) => {
                self.name(&mut body, form);
                body.append_pair("client_secret", secret.expose());
            }
            Proof::Key(key, kind) => {
                let aud = match kind {
                    AssertionAudience::Issuer => &audience.issuer,
                    AssertionAudience::TokenEndpoint => &audience.token_endpoint,
                };
                self.name(&mut body, form);
                body.append_pair("client_assertion_type", ASSERTION);
                body.append_pair("client_assertion", self.assertion(key, aud)?.expose());
            }
            Proof::Tls => self.name(&mut body, form),
        }
        let mut request = Request::post(url.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, FORM)
            .body(body.finish().into_bytes())
            .map_err(|source| ExchangeError::Unreachable(HttpError::Address(source.to_string())))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Says whose the proof is, where the form does not.
    fn name(&self, body: &mut form_urlencoded::Serializer<'_, String>, form: &Form) {
        if !form.iter().any(|(name, _)| name == CLIENT_ID) {
            body.append_pair(CLIENT_ID, &self.client_id);
        }
    }

    /// RFC 6749 §2.3.1: both halves are form-encoded first.
    fn basic(&self, secret: &Secret<String>) -> Result<HeaderValue, ExchangeError> {
        let encode = |text: &str| {
            let encoded = form_urlencoded::byte_serialize(text.as_bytes());
            Secret::new(encoded.collect::<String>())
        };
        let pair = Secret::new(format!(
            "{}:{}",
            encode(&self.client_id).expose(),
            encode(secret.expose()).expose()
        ));
        let line = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
        let mut value = HeaderValue::from_str(line.expose())
            .ok()
            .ok_or(ExchangeError::Proof)?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn assertion(&self, key: &ClientKey, aud: &str) -> Result<Secret<String>, ExchangeError> {
        let now = self.clock.now().as_second();
        let id = Token::generate().ok().ok_or(ExchangeError::Proof)?.expose();
        let claims = Claims {
            iss: &self.client_id,
            sub: &self.client_id,
            aud,
            jti: id.expose(),
            iat: now,
            exp: now.saturating_add(LIFETIME),
        };
        let mut header = Header::new(key.algorithm());
        header.kid = Some(key.id().to_owned());
        header.x5t_s256 = key.certificate().map(str::to_owned);
        jsonwebtoken::encode(&header, &claims, key.private())
            .map(Secret::new)
            .ok()
            .ok_or(ExchangeError::Proof)
    }
}

/// An error of the token endpoint (RFC 6749 §5.2).
#[derive(Deserialize)]
pub(super) struct Fault {
    pub(super) error: String,
}

impl Fault {
    /// The error that an answer states, fit for a log.
    pub(super) fn of(answer: &Response<Vec<u8>>) -> Option<Self> {
        let fault: Self = serde_json::from_slice(answer.body()).ok()?;
        let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
        let error = fault.error.chars().filter(|c| is_plain(*c)).take(64);
        Some(Self {
            error: error.collect(),
        })
    }
}

/// Whether the provider does not believe that the gateway is its client. (Some say `unauthorized_client` then.)
fn is_client_refused(answer: &Response<Vec<u8>>) -> bool {
    answer.status().is_client_error()
        && Fault::of(answer).is_some_and(|fault| {
            ["invalid_client", "unauthorized_client"].contains(&fault.error.as_str())
        })
}
