//! Messages as HTTP requests: a batch bundle of FHIR, as ATNA has it (ITI-20), or lines.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;

use super::channel::{SendError, Taken};
use crate::audit::export::Format;
use crate::audit::export::message::Message;
use crate::config::sink::HttpReceiver;
use crate::outbound::{HttpClient, HttpError};

/// One receiver by HTTP: whom to trust, what to show, how much it takes at once.
#[derive(Debug)]
pub(super) struct Post {
    receiver: HttpReceiver,
    client: HttpClient,
    authorization: Option<HeaderValue>,
    /// Most messages of a request: fewer once the receiver said that it was too much.
    pub(super) most: usize,
}

impl Post {
    pub(super) fn new(receiver: &HttpReceiver) -> Result<Self, HttpError> {
        let client =
            HttpClient::with_certificate(receiver.ca.as_deref(), receiver.certificate.as_ref())?;
        let authorization = receiver.token.as_ref().map(|token| {
            let token = token.expose();
            // Splunk and Elastic have schemes of their own: `Splunk …`, `ApiKey …`.
            let value = if token.contains(' ') {
                token.clone()
            } else {
                format!("Bearer {token}")
            };
            let mut value = HeaderValue::try_from(value).map_err(|_cause| {
                HttpError::Address("a token that no header can hold".to_owned())
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            receiver: receiver.clone(),
            client,
            authorization: authorization.transpose()?,
            most: usize::MAX,
        })
    }

    /// Posts a body; what was answered, where it is a success.
    pub(super) async fn body(
        &mut self,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Vec<u8>>, SendError> {
        let mut request = Request::post(self.receiver.url.as_str())
            .header(CONTENT_TYPE, kind)
            .header(ACCEPT, kind)
            // Said of an empty body too: some servers answer 411 where it is not.
            .header(CONTENT_LENGTH, body.len())
            .header(USER_AGENT, concat!("chartgate/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(body)
            .map_err(|error| HttpError::Address(error.to_string()))?;
        let answer = self.client.answer(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(SendError::Status {
            status: answer.status().as_u16(),
            wait: wait(&answer),
        })
    }

    /// Whether the receiver said that a request of so many messages was too long, and fewer can be sent.
    pub(super) fn was_too_long(&mut self, error: &SendError, messages: usize) -> bool {
        let too_long = matches!(error, SendError::Status { status, .. } if *status == StatusCode::PAYLOAD_TOO_LARGE.as_u16());
        if too_long && messages > 1 {
            self.most = messages.div_ceil(2);
        }
        too_long && messages > 1
    }
}

/// `Retry-After` in seconds; as a date it is left to the usual pauses.
fn wait(answer: &Response<Vec<u8>>) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[derive(Debug)]
pub(super) struct HttpsChannel {
    post: Post,
    format: Format,
}

impl HttpsChannel {
    pub(super) fn new(receiver: &HttpReceiver, format: Format) -> Result<Self, HttpError> {
        Ok(Self {
            post: Post::new(receiver)?,
            format,
        })
    }

    pub(super) async fn send(&mut self, messages: &[Message]) -> Result<Taken, SendError> {
        let (mut rejected, mut why) = (0_u64, String::new());
        let mut rest = messages;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.post.most));
            let (kind, body) = body(self.format, now);
            match self.post.body(kind, body).await {
                Ok(answer) => {
                    if self.format == Format::Fhir
                        && let Some((count, said)) = refused(answer.body())
                    {
                        rejected = rejected.saturating_add(count);
                        why = said;
                    }
                    rest = later;
                }
                Err(error) if self.post.was_too_long(&error, now.len()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if rejected == 0 {
            Taken::All
        } else {
            Taken::But { rejected, why }
        })
    }
}

fn body(format: Format, messages: &[Message]) -> (&'static str, Vec<u8>) {
    let texts = messages.iter().map(|message| message.text.as_str());
    match format {
        Format::Fhir => {
            let entries: Vec<String> = texts
                .map(|text| {
                    format!("{{\"resource\":{text},\"request\":{{\"method\":\"POST\",\"url\":\"AuditEvent\"}}}}")
                })
                .collect();
            let bundle = format!(
                "{{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{}]}}",
                entries.join(",")
            );
            ("application/fhir+json", bundle.into_bytes())
        }
        Format::Ocsf | Format::Jsonl => ("application/x-ndjson", lines(texts)),
        Format::Cef | Format::Atna | Format::Csv => ("text/plain; charset=utf-8", lines(texts)),
    }
}

fn lines<'m>(texts: impl Iterator<Item = &'m str>) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        body.extend_from_slice(text.as_bytes());
        body.push(b'\n');
    }
    body
}

/// How many of a bundle's entries the server would not take, and the first status of one.
fn refused(answer: &[u8]) -> Option<(u64, String)> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        entry: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        response: Option<Status>,
    }
    #[derive(Deserialize)]
    struct Status {
        status: String,
    }
    // A server that answers with nothing took everything: the status of the whole says so.
    let bundle: Bundle = serde_json::from_slice(answer).ok()?;
    let statuses = bundle.entry.into_iter().filter_map(|entry| entry.response);
    let bad: Vec<String> = statuses
        .map(|response| response.status)
        .filter(|status| !status.starts_with('2'))
        .collect();
    let first: String = bad.first()?.chars().take(100).collect();
    let count = u64::try_from(bad.len()).unwrap_or(u64::MAX);
    Some((count, format!("status {first}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::export::message::messages;
    use crate::audit::fixture as sample;
    use crate::request::Action;

    #[test]
    fn fhir_goes_as_a_batch_and_the_rest_as_lines() {
        let joined = sample::done(Action::Read, &["4", "5"]);
        let (kind, sent) = body(Format::Fhir, &messages(Format::Fhir, &joined));
        let bundle: serde_json::Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(
            (kind, &bundle["type"]),
            ("application/fhir+json", &"batch".into())
        );
        assert_eq!(bundle["entry"].as_array().unwrap().len(), 2);
        assert_eq!(bundle["entry"][1]["resource"]["resourceType"], "AuditEvent");
        assert_eq!(bundle["entry"][1]["request"]["url"], "AuditEvent");
        let (kind, sent) = body(Format::Cef, &messages(Format::Cef, &joined));
        assert_eq!(kind, "text/plain; charset=utf-8");
        assert!(sent.starts_with(b"CEF:0|") && sent.ends_with(b"\n"));
    }

    #[test]
    fn entries_that_a_server_would_not_take_are_counted() {
        let answer = br#"{"resourceType":"Bundle","entry":[{"response":{"status":"201 Created"}},{"response":{"status":"422 Unprocessable"}},{}]}"#;
        assert_eq!(
            refused(answer),
            Some((1, "status 422 Unprocessable".to_owned()))
        );
        assert_eq!(refused(b""), None);
        assert_eq!(refused(b"{\"resourceType\":\"Bundle\"}"), None);
    }
}
