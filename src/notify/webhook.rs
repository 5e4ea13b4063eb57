//! Sends an alarm as a signed HTTP request.

use http::Request;
use http::header::{CONTENT_TYPE, USER_AGENT};

use super::message::Message;
use super::room::SendError;
use super::signature;
use crate::clock::SharedClock;
use crate::config::alarm::Webhook;
use crate::outbound::{HttpClient, HttpError};

#[derive(Debug)]
pub(super) struct WebhookChannel {
    config: Webhook,
    client: HttpClient,
    clock: SharedClock,
}

impl WebhookChannel {
    pub(super) fn new(config: Webhook, clock: SharedClock) -> Result<Self, HttpError> {
        let client = HttpClient::new(config.ca.as_deref())?;
        Ok(Self {
            config,
            client,
            clock,
        })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        let body = message.json(&self.config.selection).into_bytes();
        let now = self.clock.now().as_second();
        let request = Request::post(self.config.url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("chartgate/", env!("CARGO_PKG_VERSION")))
            .header("x-chartgate-delivery", &message.id)
            .header(
                signature::HEADER,
                signature::sign(self.config.secret.expose(), now, &body),
            )
            .body(body)
            .map_err(|error| HttpError::Address(error.to_string()))?;
        let answer = self.client.send(request).await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(HttpError::Status(answer.status().as_u16()).into())
        }
    }
}
