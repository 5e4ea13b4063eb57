//! What a browser asks for by itself where a session is bound to its device: to register a key, and to prove it.
//!
//! A registration is on record. Proofs are not put on record one by one: a browser brings one every few minutes, and is
//! given nothing but the cookie without which the next request is refused, on record. They are counted.

use std::rc::Rc;

use http::Response;

use super::Gateway;
pub(super) use crate::identity::device_key::Asks;
use crate::identity::device_key::Given;
use crate::identity::routes::{DEVICE_KEY, DEVICE_KEY_REFRESH};
use crate::limit::screen::Purpose;
use crate::request::received::Manner;
use crate::request::{AnswerBody, Received, Refused, Target};
use crate::respond;

/// What is asked for at this path.
pub(super) fn asks(target: &Target) -> Option<Asks> {
    match target.path() {
        DEVICE_KEY => Some(Asks::Register),
        DEVICE_KEY_REFRESH => Some(Asks::Refresh),
        _other => None,
    }
}

impl Gateway {
    pub(super) async fn device_key(
        self: &Rc<Self>,
        asks: Asks,
        received: Received,
    ) -> Result<Response<AnswerBody>, Refused> {
        let stages = &*self.stages;
        let screened = stages.screen.screen(received, Purpose::Ordinary)?;
        let manner = Manner::of(screened.received().parts());
        match stages.identity.device_key(asks, screened).await? {
            Given::Registered(handled) => self.answer(*handled, manner).await,
            Given::Refreshed(mut response) => {
                respond::own::protect(response.headers_mut(), stages.backends.hsts());
                Ok(response.map(AnswerBody::from))
            }
        }
    }
}
