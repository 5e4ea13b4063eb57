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
//! use chartgate::{audit::admit::Admitted, upstream::forward::{Answered, Upstream}, request::Refused};
//! async fn forward(upstream: &Upstream, admitted: Admitted) -> Result<Answered, Refused> {
//!     upstream.forward(admitted).await
//! }
//! ```
//! ```compile_fail
//! use chartgate::{limit::charge::Limited, upstream::forward::{Answered, Upstream}, request::Refused};
//! async fn forward(upstream: &Upstream, limited: Limited) -> Result<Answered, Refused> {
//!     upstream.forward(limited).await
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
//! use chartgate::{audit::admit::Admitted, upstream::forward::Upstream};
//! async fn once(upstream: &Upstream, admitted: Admitted) {
//!     let _ = upstream.forward(admitted).await;
//! }
//! ```
//! ```compile_fail
//! use chartgate::{audit::admit::Admitted, upstream::forward::Upstream};
//! async fn twice(upstream: &Upstream, admitted: Admitted) {
//!     let _ = upstream.forward(admitted).await;
//!     let _ = upstream.forward(admitted).await;
//! }
//! ```
//!
//! # A refusal is answered only once it is on record
//!
//! ```
//! use chartgate::{audit::refuse::Recorded, respond::refused::render};
//! fn answer(recorded: Recorded) -> http::Response<bytes::Bytes> {
//!     render(recorded)
//! }
//! ```
//! ```compile_fail
//! use chartgate::{request::Refused, respond::refused::render};
//! fn answer(refused: Refused) -> http::Response<bytes::Bytes> {
//!     render(refused)
//! }
//! ```
//! ```compile_fail
//! use chartgate::{audit::refuse::Recorded, request::Refused};
//! fn forged(refused: Refused) -> Recorded {
//!     Recorded { refused }
//! }
//! ```
