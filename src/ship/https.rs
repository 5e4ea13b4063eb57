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

/// How much of a refusal is read, in bytes.
const MOST_SAID: usize = 300;

/// One receiver by HTTP: whom to trust, what to show.
#[derive(Debug)]
pub(super) struct Post {
    receiver: HttpReceiver,
    client: HttpClient,
    authorization: Option<HeaderValue>,
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
            said: words(answer.body()),
        })
    }
}

/// The beginning of what was said, in one line.
pub(super) fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said.get(..MOST_SAID).unwrap_or(said)).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(char::is_control, "")
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
        let (kind, body) = body(self.format, messages);
        let answer = self.post.body(kind, body).await?;
        if self.format != Format::Fhir {
            return Ok(Taken::All);
        }
        let refused = refused(answer.body(), messages.len());
        Ok(if refused.is_empty() {
            Taken::All
        } else {
            Taken::But(refused)
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

/// Which of a bundle's entries the server would not take, by their places, and its status for each.
fn refused(answer: &[u8], sent: usize) -> Vec<(usize, u16)> {
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
    let Ok(bundle) = serde_json::from_slice::<Bundle>(answer) else {
        return Vec::new();
    };
    let statuses = bundle.entry.into_iter().take(sent).enumerate();
    let statuses = statuses.filter_map(|(at, entry)| Some((at, code(&entry.response?.status))));
    statuses
        .filter(|(_, status)| !(200..300).contains(status))
        .collect()
}

/// The number that a status begins with (`422 Unprocessable Entity`); one that has none says that the server is not well.
fn code(status: &str) -> u16 {
    let number = status.split_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or(StatusCode::BAD_GATEWAY.as_u16())
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
    fn entries_that_a_server_would_not_take_are_found() {
        let answer = br#"{"resourceType":"Bundle","entry":[{"response":{"status":"201 Created"}},{"response":{"status":"422 Unprocessable"}},{}]}"#;
        assert_eq!(refused(answer, 3), [(1, 422)]);
        assert_eq!(refused(b"", 3), []);
        assert_eq!(refused(b"{\"resourceType\":\"Bundle\"}", 3), []);
        let unwell = br#"{"entry":[{"response":{"status":"oops"}},{"response":{"status":"503"}}]}"#;
        assert_eq!(refused(unwell, 1), [(0, 502)]);
    }

    #[test]
    fn words_are_one_short_line() {
        assert_eq!(
            words(b"{ \"error\":\r\n\t\"no \x07\" }"),
            "{ \"error\": \"no \" }"
        );
        assert_eq!(words(&[b'x'; 1000]).len(), MOST_SAID);
    }
}
