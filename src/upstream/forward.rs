//! The last stage: the admitted request goes to the EMR, exactly as it was decided on.
//!
//! *Never*: a second try of anything that the EMR may have acted on.
//! *On failure*: a refusal of family 5 (or of the client's own body), and the outcome on record.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::answered::{Answered, Delivery};
use super::endpoint::ConnectError;
use super::outgoing::{Flow, Outgoing};
use super::pool::{Lease, Origin, Pool, PoolError};
use super::recorded::{Exchange, RecordedBody};
use super::streams::{StreamHandle, StreamRefused};
use super::websocket::{self, Bridge, Handshake};
use super::{Emr, Upstream, headers};
use crate::audit::admit::Admitted;
use crate::audit::outcome::{End, OutcomeGuard};
use crate::emr::classify::Exchange as Conversation;
use crate::identity::identify::SessionEnd;
use crate::limit::charge::Limited;
use crate::refusal::Refusal;
use crate::request::{Body, Refused};

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    refusal: Refusal,
    end: End,
    retry_after: Option<Duration>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            end: End::UpstreamFailed,
            retry_after: None,
        }
    }
}

impl Failure {
    /// The session of a request that waits for its answer has ended. What the EMR makes of it is not known.
    fn cut() -> Self {
        Self {
            end: End::Cut,
            ..Refusal::SessionExpired.into()
        }
    }
}

/// An answer's head, and the connection that it came over.
struct Reply {
    response: Response<Incoming>,
    lease: Lease,
    stream: Option<StreamHandle>,
    handshake: Option<Handshake>,
}

impl Upstream {
    /// Forwards an admitted request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`Refused`] when there is no answer to pass on; the outcome is on record then.
    pub async fn forward(&self, admitted: Admitted) -> Result<(Conversation, Answered), Refused> {
        let (mut limited, mut guard) = admitted.into_parts();
        let flow = Flow::new();
        let exchanged = match limited.begin().await {
            Ok(()) => self.exchange(&mut limited, &flow).await,
            Err(refusal) => Err(refusal.into()),
        };
        let failure = match exchanged {
            Ok((reply, patience)) => {
                return Ok(answered(limited, guard, flow, reply, patience));
            }
            Err(failure) => failure,
        };
        guard.received(flow.sent());
        guard.refused(failure.refusal);
        guard.finish(failure.end);
        let refused = limited.refuse(failure.refusal);
        let refused = if failure.end == End::Cut {
            refused.forwarded()
        } else {
            refused
        };
        Err(match failure.retry_after {
            Some(after) => refused.retry_after(after),
            None => refused,
        })
    }

    async fn exchange(
        &self,
        limited: &mut Limited,
        flow: &Rc<Flow>,
    ) -> Result<(Reply, Duration), Failure> {
        let mapped = limited.authorized().mapped();
        let (emr, pool) = self.emr(mapped.emr()).ok_or(Refusal::Internal)?;
        let traits = mapped.traits().clone();
        let looks = mapped.mapping().action.only_looks();
        let mapped_outlives = mapped.outlives_client();
        let handshake = Handshake::begin(limited, &emr.backend)?;
        let stream = match &handshake {
            Some(_) => Some(self.register(limited)?),
            None => None,
        };
        let body = std::mem::replace(limited.received_mut().body_mut(), Body::empty());
        if body.size_hint().lower() > traits.body_limit {
            return Err(Failure {
                end: End::Abandoned,
                ..Refusal::BodyTooLarge.into()
            });
        }
        let empty = body.is_end_stream();
        let body = Outgoing::new(
            body,
            traits.body_limit,
            Rc::clone(&self.hygiene),
            Rc::clone(flow),
        );
        let limited = &*limited;
        let now = self.backends.clock.now();
        let build = |body| headers::build(limited, emr, &self.recent, body, now);
        let repeated = body.without_body();
        let request = build(body)?;
        let method = limited.received().parts().method.clone();
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&method);
        // What the EMR may carry out and the gateway has to know of is followed to the answer's head.
        let session = if mapped_outlives {
            SessionEnd::default()
        } else {
            limited.authorized().mapped().identified().session_end()
        };
        let attempt = Attempt {
            emr,
            pool,
            flow,
            session,
        };
        let harmless = safe && looks && empty && handshake.is_none();
        let again = harmless.then_some(|| build(repeated));
        let (response, mut lease) = attempt.run(request, again).await?;
        // SECURITY: a back end that does not expect a body here, or took the upgrade for done, may read the rest of
        // the request as the next one, which would then run under the next user's name.
        let unusual_body = !empty && (safe || method == Method::DELETE);
        if unusual_body || handshake.is_some() {
            lease.retire();
        }
        check_framing(&response)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let proven = handshake
                .as_ref()
                .is_some_and(|h| h.is_answered_by(&response));
            proven.then_some(()).ok_or(Refusal::UpstreamProtocol)?;
        }
        let unending = traits.websocket && response.body().size_hint().exact().is_none();
        let stream = match stream {
            Some(stream) => Some(stream),
            None if unending => Some(self.register(limited)?),
            None => None,
        };
        let reply = Reply {
            response,
            lease,
            stream,
            handshake,
        };
        Ok((reply, emr.backend.response_timeout))
    }

    fn register(&self, limited: &Limited) -> Result<StreamHandle, Refusal> {
        let authorized = limited.authorized();
        let session = authorized.mapped().identified().session();
        let facts = limited.received().facts().clone();
        let arrived = limited.received().parts().at;
        let streams = self.backends.streams();
        streams
            .register(session, facts, arrived, authorized.valid_until())
            .map_err(|error| {
                tracing::warn!(%error, "stream refused");
                match error {
                    StreamRefused::TooMany | StreamRefused::AllCut => Refusal::Busy,
                    StreamRefused::SessionEnded => Refusal::SessionExpired,
                }
            })
    }
}

fn answered(
    limited: Limited,
    mut guard: OutcomeGuard,
    flow: Rc<Flow>,
    reply: Reply,
    patience: Duration,
) -> (Conversation, Answered) {
    let Reply {
        mut response,
        lease,
        stream,
        handshake,
    } = reply;
    guard.answered(response.status().as_u16());
    let session = limited.authorized().mapped().identified().session_end();
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let stream = match (handshake, stream) {
        (Some(handshake), Some(stream)) if switched => {
            let back_end = hyper::upgrade::on(&mut response);
            websocket::bridge(
                handshake,
                back_end,
                Bridge {
                    guard,
                    stream,
                    lease,
                    session,
                },
            );
            let (parts, _) = response.into_parts();
            return Answered::new(limited, parts, Delivery::Switched);
        }
        // The EMR declined to switch: an ordinary answer.
        (Some(_), _) => None,
        (None, stream) => stream,
    };
    let (parts, body) = response.into_parts();
    let exchange = Exchange {
        guard,
        flow,
        lease: Some(lease),
    };
    let body = match stream {
        Some(stream) => RecordedBody::live(body, exchange, stream),
        None => RecordedBody::new(body, exchange, patience),
    };
    let body = body.until(session);
    Answered::new(limited, parts, Delivery::Body(Box::new(body)))
}

/// SECURITY: an answer with two lengths would leave bytes on the connection that the next user reads as theirs.
fn check_framing(response: &Response<Incoming>) -> Result<(), Refusal> {
    let headers = response.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    if lengths > 1 || (lengths == 1 && coded) {
        return Err(Refusal::UpstreamProtocol);
    }
    Ok(())
}

/// One request to one back end, tried at most twice.
struct Attempt<'a> {
    emr: &'a Emr,
    pool: &'a Rc<Pool>,
    flow: &'a Flow,
    session: SessionEnd,
}

/// Why one try gave no answer.
enum Failed {
    TimedOut,
    SessionEnded,
    Sending(Box<TrySendError<Request<Outgoing>>>),
}

impl Attempt<'_> {
    /// Sends the request on a connection of the pool.
    ///
    /// A connection that was kept alive may have been closed by the back end just now. Then, and only then, there is
    /// a second try on a new connection: for a request of which nothing was sent, and for a harmless one that died
    /// before the first byte of an answer. `again` makes the harmless one anew: it is safe, means no change to its
    /// profile, and has no body.
    async fn run(
        &self,
        request: Request<Outgoing>,
        again: Option<impl FnOnce() -> Result<Request<Outgoing>, Refusal>>,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        let mut lease = self.lease().await?;
        let second = match lease.origin() {
            Origin::New => request,
            Origin::Reused => {
                let before = lease.received();
                match self.send(&mut lease, request).await {
                    Ok(response) => return Ok((response, lease)),
                    Err(Failed::TimedOut) => return Err(Refusal::UpstreamTimeout.into()),
                    Err(Failed::SessionEnded) => return Err(Failure::cut()),
                    Err(Failed::Sending(mut error)) => {
                        let silent = before.is_some() && before == lease.received();
                        let again = match (error.take_message(), again) {
                            (Some(unsent), _) => unsent,
                            (None, Some(again)) if silent => again()?,
                            (None, _) => return Err(self.failure(&error)),
                        };
                        drop(lease);
                        self.pool.discard_idle();
                        lease = self.lease().await?;
                        again
                    }
                }
            }
        };
        match self.send(&mut lease, second).await {
            Ok(response) => Ok((response, lease)),
            Err(Failed::TimedOut) => Err(Refusal::UpstreamTimeout.into()),
            Err(Failed::SessionEnded) => Err(Failure::cut()),
            Err(Failed::Sending(error)) => Err(self.failure(&error)),
        }
    }

    async fn lease(&self) -> Result<Lease, Failure> {
        self.pool.lease().await.map_err(|error| {
            tracing::warn!(emr = %self.emr.name, %error, "no connection to the EMR");
            match error {
                PoolError::Busy => Refusal::Busy.into(),
                PoolError::Paused { retry_after } => Failure {
                    retry_after: Some(retry_after),
                    ..Refusal::UpstreamPaused.into()
                },
                PoolError::Connect(ConnectError::Io(_) | ConnectError::Timeout) => {
                    Refusal::UpstreamUnreachable.into()
                }
                PoolError::Connect(ConnectError::Protocol | ConnectError::Http(_)) => {
                    Refusal::UpstreamProtocol.into()
                }
            }
        })
    }

    /// Sends the request; the time for the answer counts from the last byte that was sent.
    async fn send(
        &self,
        lease: &mut Lease,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Failed> {
        self.flow.restart();
        let patience = self.emr.backend.response_timeout;
        let mut answer = pin!(lease.send(request));
        let mut over = pin!(self.session.clone().over());
        loop {
            let moved = self.flow.moved();
            let deadline = moved.checked_add(patience).unwrap_or(moved);
            let answer = tokio::select! {
                biased;
                answer = tokio::time::timeout_at(deadline, answer.as_mut()) => answer,
                () = over.as_mut() => return Err(Failed::SessionEnded),
            };
            match answer {
                Ok(answer) => return answer.map_err(|error| Failed::Sending(Box::new(error))),
                Err(_) if self.flow.moved() > moved => {}
                Err(_) => return Err(Failed::TimedOut),
            }
        }
    }

    fn failure(&self, error: &TrySendError<Request<Outgoing>>) -> Failure {
        if let Some(refusal) = self.flow.failed() {
            return Failure {
                end: End::Abandoned,
                ..refusal.into()
            };
        }
        let error = error.error();
        tracing::warn!(emr = %self.emr.name, %error, "no answer from the EMR");
        let garbled = error.is_parse() || error.is_incomplete_message() || error.is_user();
        if garbled {
            Refusal::UpstreamProtocol.into()
        } else {
            Refusal::UpstreamUnreachable.into()
        }
    }
}
