//! Chartgate: a security gateway in front of an EMR that can be neither modified nor replaced.
//!
//! Read [`gateway`] first: it is the request path, top to bottom. `docs/ARCHITECTURE.md` is the map.

pub mod admin;
pub mod archive;
pub mod assembly;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counted;
pub mod demo;
pub mod desk;
pub mod detect;
pub mod emr;
pub mod feeds;
pub mod gateway;
pub mod identity;
pub mod inspect;
pub mod language;
pub mod limit;
pub mod notify;
pub mod operate;
pub mod outbound;
pub mod policy;
pub mod posture;
pub mod proofs;
pub mod provision;
pub mod refusal;
pub mod request;
pub mod respond;
pub mod secret;
pub mod segmentation;
pub mod server;
pub mod ship;
pub mod store;
pub mod telemetry;
pub mod timekeeping;
pub mod training;
pub mod upstream;
pub mod watched;
