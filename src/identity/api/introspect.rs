//! Tokens that only their authorization server can read: it is asked (RFC 7662), and its answers are kept for
//! seconds.
//!
//! *Owns*: the answers, by hash of the token; bounded in number and time, and never used beyond a token's end.
//! *Never*: a token as a key; two questions about one token at once; an answer for another client's question.
//! *On failure*: [`ApiError::Unavailable`]; the endpoint is then left in peace for a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, header};
use moka::sync::Cache;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::claims::{Expected, Form, Granted, granted};
use super::{ApiError, REST};
use crate::clock::SharedClock;
use crate::config::api::{Api, ApiClaims, IntrospectionApi};
use crate::outbound::HttpClient;
use crate::request::principal::CredentialKind;
use crate::secret::Secret;
use crate::telemetry::metrics as names;

const KIND: Option<CredentialKind> = Some(CredentialKind::Introspected);

/// Asks one introspection endpoint.
#[derive(Debug)]
pub(super) struct Introspection {
    settings: IntrospectionApi,
    basic: Secret<String>,
    audience: String,
    claims: ApiClaims,
    leeway: Duration,
    http: HttpClient,
    clock: SharedClock,
    answers: Cache<[u8; 32], Arc<Slot>>,
    // Whoever replaces a stale answer does so alone.
    turn: Mutex<()>,
    // When the endpoint last failed, in milliseconds of monotonic time; `u64::MAX` where it did not.
    failed: AtomicU64,
}

/// One answer, once it is there.
#[derive(Debug, Default)]
struct Slot(OnceCell<Answer>);

#[derive(Debug)]
struct Answer {
    at: Duration,
    /// What the token grants, or why nothing.
    verdict: Result<Granted, &'static str>,
}

impl Introspection {
    pub(super) fn new(
        settings: &IntrospectionApi,
        api: &Api,
        leeway: Duration,
        clock: &SharedClock,
    ) -> Result<Self, String> {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        // RFC 6749 §2.3.1: each half is form-encoded first.
        let pair = Secret::new(format!(
            "{}:{}",
            encode(&settings.client_id),
            encode(settings.client_secret.expose())
        ));
        Ok(Self {
            basic: Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))),
            settings: settings.clone(),
            audience: api.audience.clone(),
            claims: api.claims.clone(),
            leeway,
            http: HttpClient::new(api.ca.as_deref()).map_err(|error| error.to_string())?,
            clock: clock.clone(),
            answers: Cache::new(settings.cache_entries),
            turn: Mutex::default(),
            failed: AtomicU64::new(u64::MAX),
        })
    }

    /// Judges a token. However many requests carry it at once, the endpoint is asked once.
    pub(super) async fn judge(&self, token: &str) -> Result<Granted, ApiError> {
        let mut key = [0; 32];
        for (to, from) in key
            .iter_mut()
            .zip(digest(&SHA256, token.as_bytes()).as_ref())
        {
            *to = *from;
        }
        let slot = self.slot(key);
        let answer = slot.0.get_or_try_init(|| self.ask(token)).await?;
        let granted = answer.verdict.clone();
        let granted = granted.map_err(|why| ApiError::Refused(KIND, why))?;
        if granted.expires <= self.clock.now() {
            return Err(ApiError::Refused(KIND, "the token has expired"));
        }
        Ok(granted)
    }

    /// Where the answer about a token is, or will be.
    fn slot(&self, key: [u8; 32]) -> Arc<Slot> {
        let now = self.clock.monotonic();
        let ttl = self.settings.cache_ttl;
        let is_fresh = |slot: &Slot| {
            let answer = slot.0.get();
            answer.is_none_or(|answer| now.saturating_sub(answer.at) < ttl)
        };
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = self.answers.get(&key)
            && is_fresh(&slot)
        {
            return slot;
        }
        let slot = Arc::new(Slot::default());
        self.answers.insert(key, Arc::clone(&slot));
        slot
    }

    async fn ask(&self, token: &str) -> Result<Answer, ApiError> {
        let failed = Duration::from_millis(self.failed.load(Ordering::Relaxed));
        let asked = self.clock.monotonic();
        if asked.checked_sub(failed).is_some_and(|since| since < REST) {
            return Err(ApiError::Unavailable(
                KIND,
                "the endpoint failed a moment ago",
            ));
        }
        let answer = tokio::time::timeout(self.settings.timeout, Box::pin(self.exchange(token)));
        let problem = match answer.await {
            Ok(Ok(claims)) => {
                let verdict = self.verdict(&claims);
                let result = if verdict.is_ok() {
                    "active"
                } else {
                    "inactive"
                };
                metrics::counter!(names::API_INTROSPECTIONS, "result" => result).increment(1);
                // From when it was asked: what ends while the answer is on its way ends in time all the same.
                return Ok(Answer { at: asked, verdict });
            }
            Ok(Err(problem)) => problem,
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        metrics::counter!(names::API_INTROSPECTIONS, "result" => "failed").increment(1);
        tracing::warn!(endpoint = %self.settings.endpoint, problem, "a token cannot be introspected");
        let now = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.failed.store(now, Ordering::Relaxed);
        Err(ApiError::Unavailable(
            KIND,
            "the introspection endpoint does not answer",
        ))
    }

    async fn exchange(&self, token: &str) -> Result<Value, String> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = Request::post(self.settings.endpoint.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::CONTENT_LENGTH, form.len())
            .header(header::AUTHORIZATION, self.basic.expose().as_str())
            .body(form.into_bytes())
            .map_err(|error| error.to_string())?;
        let answer = self
            .http
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!(
                "the endpoint answered with status {}",
                answer.status()
            ));
        }
        serde_json::from_slice(answer.body())
            .ok()
            .ok_or_else(|| "the answer is no JSON".to_owned())
    }

    fn verdict(&self, claims: &Value) -> Result<Granted, &'static str> {
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err("the token is not active");
        }
        let named = claims.get("iss").and_then(Value::as_str);
        let fits = match (&self.settings.issuer, claims.get("iss")) {
            (_, None) | (None, Some(_)) => true,
            (Some(issuer), Some(_)) => {
                named.is_some_and(|named| Url::parse(named).is_ok_and(|named| named == *issuer))
            }
        };
        if !fits {
            return Err("the token is from another issuer");
        }
        let expected = Expected {
            audience: &self.audience,
            claims: &self.claims,
            now: self.clock.now(),
            leeway: self.leeway,
            form: Form::Introspected,
        };
        granted(claims, &expected)
    }
}
