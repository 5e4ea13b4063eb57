//! The recurring pains of gateways before web applications, each held by a test that is named after it.

mod browser;
mod notes;
mod provider;
mod sessions;
mod switch;
