//! Advisories of comparable gateways, each as a test of the full request path that is named after it.

mod claims;
mod credentials;
mod edges;
mod identity_headers;
mod smuggling;
mod table;
mod targets;
mod tokens;
