//! Advisories of comparable gateways, each as a test of the full request path that is named after it.

mod credentials;
mod identity_headers;
mod smuggling;
mod targets;
