//! The sample EMR: a small, believable, legacy "Riverside Clinic EMR" over plain HTTP.
//!
//! Its weaknesses are deliberate, because they are what the gateway is for: cookies without flags,
//! no roles, no CSRF tokens, a sticky current patient, absolute redirects to plain HTTP built from
//! `Host`, open test pages, and stack traces.
//!
//! *Owns*: invented patients, kept in memory until the process ends.
//! *Never*: listens beyond loopback.
//! *On failure*: answers with a plain status page; nothing is persisted.

mod api;
mod chart;
mod copies;
mod diagnostics;
mod documents;
mod emr;
mod entries;
mod export;
mod findings;
mod front;
mod live;
mod office;
mod page;
mod patients;
mod pdf;
mod received;
mod records;
mod seed;
mod signed_in;
mod summary;
mod tables;
#[cfg(test)]
mod tests;

use std::{future::Future, io, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use tokio::net::TcpListener;

use self::emr::Emr;
pub use self::{
    received::{ReceivedLog, ReceivedRequest},
    records::EMR_PASSWORD,
    signed_in::SESSION_COOKIE,
};
use super::{listen, users::DemoUser};
use crate::clock::SharedClock;

/// What the sample EMR is made from.
#[derive(Debug)]
pub struct ClinicOptions {
    /// Whose accounts exist; each has the password [`EMR_PASSWORD`].
    pub staff: Vec<DemoUser>,
    /// Where dates and times of entries come from.
    pub clock: SharedClock,
}

/// The sample EMR.
#[derive(Debug)]
pub struct Clinic {
    emr: Arc<Emr>,
    received: ReceivedLog,
}

impl Clinic {
    /// An EMR with the sample patients.
    #[must_use]
    pub fn new(options: &ClinicOptions) -> Self {
        Self {
            emr: Arc::new(Emr::new(&options.staff, Arc::clone(&options.clock))),
            received: ReceivedLog::default(),
        }
    }

    /// The list of requests that reach the EMR from now on.
    #[must_use]
    pub fn received(&self) -> ReceivedLog {
        self.received.clone()
    }

    /// Serves until `shutdown` resolves; open polls and notification channels then end.
    ///
    /// # Errors
    ///
    /// When the listener is not bound to loopback.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let closing = self.emr.closing().clone();
        listen::serve(self.router(), listener, shutdown, closing).await
    }

    fn router(self) -> Router {
        pages()
            .merge(charts())
            .merge(interfaces())
            .with_state(self.emr)
            .layer(middleware::from_fn(mark))
            .layer(middleware::from_fn_with_state(
                self.received,
                received::note,
            ))
    }
}

fn pages() -> Router<Arc<Emr>> {
    Router::new()
        .route("/", get(front::home))
        .route("/login", get(front::login_form).post(front::login))
        .route("/logout", get(front::logout))
        .route("/patients/search", get(patients::search))
        .route("/patients/select", get(patients::select))
        .route("/patients/{pid}/export.csv", get(export::chart))
        .route("/patients/{pid}/delete", post(patients::delete))
        .route(
            "/registration",
            get(patients::registration_form).post(patients::register),
        )
        .route("/reports/patients.csv", get(export::all))
        .route("/billing", get(office::billing).post(office::add_charge))
        .route("/schedule", get(office::schedule).post(office::book))
        .route(
            "/admin/users",
            get(office::accounts).post(office::save_account),
        )
        .route("/admin/audit", get(office::audit))
}

fn charts() -> Router<Arc<Emr>> {
    Router::new()
        .route("/chart", get(summary::chart))
        .route(
            "/chart/demographics",
            get(summary::demographics).post(summary::update_demographics),
        )
        .route("/chart/print", get(summary::print))
        .route("/chart/send", get(copies::form).post(copies::send))
        .route("/chart/notes", get(entries::notes).post(entries::add_note))
        .route(
            "/chart/orders",
            get(entries::orders).post(entries::add_order),
        )
        .route("/chart/orders/{id}/sign", post(entries::sign_order))
        .route(
            "/chart/results",
            get(entries::results).post(entries::add_result),
        )
        .route(
            "/chart/medications",
            get(entries::medications).post(entries::prescribe),
        )
        .route("/chart/imaging", get(findings::imaging))
        .route("/chart/sensitive", get(findings::sensitive))
        .route(
            "/chart/psychotherapy",
            get(findings::psychotherapy).post(findings::add_psychotherapy),
        )
        .route("/chart/documents", get(documents::list))
        .route("/chart/documents/{id}", get(documents::open))
}

fn interfaces() -> Router<Arc<Emr>> {
    Router::new()
        .route("/api/patients/{pid}", get(api::patient))
        .route("/api/notes", post(api::add_note))
        .route("/api/poll", get(live::poll))
        .route("/ws/notifications", get(live::notifications))
        .route("/upload", post(diagnostics::upload))
        .route("/download", get(diagnostics::download))
        .route("/slow", get(diagnostics::slow).post(diagnostics::slow))
        .route("/error", get(diagnostics::error))
        .route("/echo", any(diagnostics::echo))
        .route(
            "/static/clinic.css",
            get(async || file("text/css", include_str!("../assets/clinic.css"))),
        )
        .route(
            "/static/clinic.js",
            get(async || file("text/javascript", include_str!("../assets/clinic.js"))),
        )
        .route(
            "/static/clinic.svg",
            get(async || file("image/svg+xml", include_str!("../assets/clinic.svg"))),
        )
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

/// Adds what this software says of itself, and a policy that keeps its pages free of inline scripts.
async fn mark(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::SERVER,
        HeaderValue::from_static("Apache-Coyote/1.1"),
    );
    headers.insert(
        "x-powered-by",
        HeaderValue::from_static("Riverside EMR 4.2.1; Servlet/2.5"),
    );
    // No form-action: behind a gateway the origin differs from what this software believes.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; base-uri 'none'; object-src 'none'"),
    );
    response
}
