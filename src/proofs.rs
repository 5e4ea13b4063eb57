//! What does not compile: each way around the request path, beside a twin that compiles.
//!
//! A `compile_fail` example passes for any error, so each stands next to the same code with the one line that makes
//! the difference; if a refactoring breaks both, the twin fails the build.
//!
//! # A stage cannot be skipped
//!
//! ```
//! use chartgate::{audit::{admit::Admitted, trail::Audit}, limit::charge::Limited, request::Refused};
//! async fn admit(audit: &Audit, limited: Limited) -> Result<Admitted, Refused> {
//!     audit.admit(limited).await
//! }
//! ```
//! ```compile_fail
//! use chartgate::{audit::{admit::Admitted, trail::Audit}, policy::decide::Authorized, request::Refused};
//! async fn admit(audit: &Audit, authorized: Authorized) -> Result<Admitted, Refused> {
//!     audit.admit(authorized).await // limits were not charged
//! }
//! ```
//!
//! # Nothing is forwarded that is not on record
//!
//! ```
//! use chartgate::{audit::admit::Admitted, upstream::Upstream};
//! async fn forward(upstream: &Upstream, admitted: Admitted) {
//!     let _ = upstream.forward(admitted).await;
//! }
//! ```
//! ```compile_fail
//! use chartgate::{limit::charge::Limited, upstream::Upstream};
//! async fn forward(upstream: &Upstream, limited: Limited) {
//!     let _ = upstream.forward(limited).await;
//! }
//! ```
//!
//! # No answer is delivered that was not classified
//!
//! ```
//! use chartgate::{emr::classify::{Exchange, classify}, upstream::{Answered, Upstream}};
//! async fn clean(upstream: &Upstream, exchange: Exchange, answered: Answered) {
//!     let _ = upstream.clean(classify(exchange, answered).await);
//! }
//! ```
//! ```compile_fail
//! use chartgate::{emr::classify::{Exchange, classify}, upstream::{Answered, Upstream}};
//! async fn clean(upstream: &Upstream, exchange: Exchange, answered: Answered) {
//!     let _ = upstream.clean(answered);
//! }
//! ```
//!
//! # A proof cannot be forged
//!
//! ```
//! use chartgate::{limit::screen::{Purpose, Screen, Screened}, request::{Received, Refused}};
//! fn screened(screen: &Screen, received: Received) -> Result<Screened, Refused> {
//!     screen.screen(received, Purpose::Ordinary)
//! }
//! ```
//! ```compile_fail
//! use chartgate::{limit::screen::Screened, request::Received};
//! fn screened(received: Received) -> Screened {
//!     Screened { received }
//! }
//! ```
//!
//! # An admission is used once
//!
//! ```
//! use chartgate::{audit::admit::Admitted, upstream::Upstream};
//! async fn once(upstream: &Upstream, admitted: Admitted) {
//!     let _ = upstream.forward(admitted).await;
//! }
//! ```
//! ```compile_fail
//! use chartgate::{audit::admit::Admitted, upstream::Upstream};
//! async fn twice(upstream: &Upstream, admitted: Admitted) {
//!     let _ = upstream.forward(admitted).await;
//!     let _ = upstream.forward(admitted).await;
//! }
//! ```
//!
//! # A refusal is answered only once it is on record
//!
//! ```
//! use chartgate::{audit::refuse::Recorded, desk::offers::Offers, respond::refused::render};
//! fn answer(recorded: Recorded, offers: &Offers) -> http::Response<bytes::Bytes> {
//!     render(recorded, offers)
//! }
//! ```
//! ```compile_fail
//! use chartgate::{desk::offers::Offers, request::Refused, respond::refused::render};
//! fn answer(refused: Refused, offers: &Offers) -> http::Response<bytes::Bytes> {
//!     render(refused, offers)
//! }
//! ```
//! ```compile_fail
//! use chartgate::{audit::refuse::Recorded, request::Refused};
//! fn forged(refused: Refused) -> Recorded {
//!     Recorded { refused }
//! }
//! ```
