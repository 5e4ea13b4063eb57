//! A witness behind HTTPS: `POST` of a note, `GET` of the newest (docs/witnesses.md).
//!
//! *Never*: follows a redirect, sends its token in clear, or takes an answer for more than it proves: where the witness
//! has a key, only its cosignature is a yes, and only a newer note that this log signed is a no.
//! *On failure*: certificates are read anew before the next attempt; they may have been renewed.

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, Response, StatusCode};

use super::wire::Wire;
use crate::audit::log::{Checkpoint, CosignerKey, VerifierKey, Witness, WitnessError};
use crate::config::witness::HttpsWitness as Configured;
use crate::outbound::HttpClient;

/// The type of a note on the wire.
const TEXT: &str = "text/plain; charset=utf-8";
/// Nobody answers with more than a note and a few lines.
const LONGEST: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct HttpsWitness {
    config: Configured,
    name: String,
    key: VerifierKey,
    ready: Option<Ready>,
    wire: Wire,
}

/// What its files hold.
#[derive(Debug)]
struct Ready {
    client: HttpClient,
    cosigner: Option<CosignerKey>,
}

fn other(error: impl std::fmt::Display) -> WitnessError {
    WitnessError::Other(error.to_string())
}

impl HttpsWitness {
    pub(super) fn new(config: &Configured, name: String, key: VerifierKey) -> Self {
        Self {
            config: config.clone(),
            name,
            key,
            ready: None,
            wire: Wire::default(),
        }
    }

    fn ready(&mut self) -> Result<Ready, WitnessError> {
        if let Some(ready) = self.ready.take() {
            return Ok(ready);
        }
        let Configured { ca, client, .. } = &self.config;
        let client = HttpClient::with_certificate(ca.as_deref(), client.as_ref()).map_err(other)?;
        let cosigner = self.config.cosigner.as_deref().map(CosignerKey::read);
        Ok(Ready {
            client,
            cosigner: cosigner.transpose().map_err(other)?,
        })
    }

    fn send(
        &mut self,
        client: &HttpClient,
        method: Method,
        body: &str,
    ) -> Result<(StatusCode, String), WitnessError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.config.url.as_str())
            .header(CONTENT_TYPE, TEXT)
            .header(USER_AGENT, concat!("chartgate/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.config.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(body.as_bytes().to_vec()).map_err(other)?;
        let answer: Response<Vec<u8>> = self
            .wire
            .run(async { client.send(request).await.map_err(other) })?;
        let status = answer.status();
        let body = answer.into_body();
        if body.len() > LONGEST {
            return Err(other("the answer is longer than any note"));
        }
        let text = String::from_utf8(body).ok();
        Ok((status, text.ok_or_else(|| other("the answer is no text"))?))
    }

    /// The place that a note is about, where this log signed it.
    fn sequence(&self, note: &str) -> Result<u64, WitnessError> {
        let opened = Checkpoint::open(note, &self.key);
        let opened = opened.map_err(|source| WitnessError::Note {
            place: self.name.clone(),
            source,
        });
        opened.map(|checkpoint| checkpoint.sequence)
    }

    fn offer(&mut self, ready: &Ready, note: &str) -> Result<(), WitnessError> {
        let (status, text) = self.send(&ready.client, Method::POST, note)?;
        match status {
            StatusCode::OK => match &ready.cosigner {
                None => Ok(()),
                Some(cosigner) => cosigner
                    .check(note, &text)
                    .map(drop)
                    .map_err(|source| other(format!("the answer proves nothing: {source}"))),
            },
            StatusCode::CONFLICT => {
                let (held, offered) = (self.sequence(&text)?, self.sequence(note)?);
                if held > offered {
                    Err(WitnessError::GoesBack { held, offered })
                } else {
                    Err(other(format!(
                        "refuses checkpoint {offered} for {held}, which is not newer"
                    )))
                }
            }
            status => Err(other(format!("the witness answered with status {status}"))),
        }
    }

    fn held(&mut self, ready: &Ready) -> Result<Option<String>, WitnessError> {
        let (status, text) = self.send(&ready.client, Method::GET, "")?;
        match status {
            StatusCode::OK => {
                self.sequence(&text)?;
                Ok(Some(text))
            }
            StatusCode::NO_CONTENT => Ok(None),
            status => Err(other(format!("the witness answered with status {status}"))),
        }
    }
}

impl Witness for HttpsWitness {
    fn name(&self) -> &str {
        &self.name
    }

    fn publish(&mut self, note: &str) -> Result<(), WitnessError> {
        let ready = self.ready()?;
        self.offer(&ready, note)?;
        self.ready = Some(ready);
        Ok(())
    }

    fn newest(&mut self) -> Result<Option<String>, WitnessError> {
        let ready = self.ready()?;
        let held = self.held(&ready)?;
        self.ready = Some(ready);
        Ok(held)
    }
}
