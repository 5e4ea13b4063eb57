//! The edge: listeners, TLS, HTTP and its limits, up to the first proof that a request has one reading.
//!
//! *Owns*: worker threads, listeners, connection counts, the TLS configuration.
//! *Never*: a decision about who may do what; it hands every request, readable or not, to a [`Service`].

pub mod certificates;
pub mod connections;
pub mod guarded;
pub mod host;
pub mod http;
mod inherited;
mod linger;
pub mod pace;
mod possession;
pub mod progress;
pub mod receive;
pub mod redirect;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;
mod worker;
pub mod workers;

use std::rc::Rc;

use ::http::Response;
use futures_util::future::LocalBoxFuture;

pub use crate::request::AnswerBody;
use crate::request::{Received, Refused};
pub use certificates::{CertificateError, Certificates, Expiry};
pub use inherited::Inherited;
pub use receive::Reception;
pub use workers::{Listeners, Running, ServeError, Setup, Shutdown};

/// What answers requests: one per worker thread, made inside it, never moved out of it.
pub trait Service: 'static {
    /// Answers a request, or a request that could not be read (its refusal goes on record like any other).
    fn serve(
        self: Rc<Self>,
        request: Result<Received, Refused>,
    ) -> LocalBoxFuture<'static, Response<AnswerBody>>;

    /// A drain has begun: live streams should end, so that the worker can.
    fn drain(&self);
}
