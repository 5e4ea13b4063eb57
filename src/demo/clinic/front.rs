//! Signs people in and out, and shows the worklist.

use std::sync::Arc;

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    emr::Emr,
    page::{Cell, LoginPage, Part, Table, page, rendered},
    signed_in::{SESSION_COOKIE, SignedIn, Site, session_token},
};

/// What the login form sends.
#[derive(Deserialize)]
pub(super) struct Credentials {
    username: String,
    password: String,
}

pub(super) async fn login_form() -> Response {
    rendered(&LoginPage { message: "" })
}

/// Signs in: a failure is the form again with status 200, as old software has it.
pub(super) async fn login(
    State(emr): State<Arc<Emr>>,
    site: Site,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Response {
    match emr.sign_in(&credentials.username, &credentials.password) {
        Ok(Some(token)) => {
            if let Some(previous) = session_token(&headers) {
                emr.sign_out(&previous);
            }
            let mut response = site.redirect("/");
            // Deliberately without Secure, HttpOnly and SameSite: this is what a gateway must mend.
            set_cookie(&mut response, &format!("{SESSION_COOKIE}={token}; Path=/"));
            response
        }
        Ok(None) => rendered(&LoginPage {
            message: "Login failed: unknown user name or wrong password.",
        }),
        Err(error) => {
            tracing::error!(%error, "the sample EMR could not open a session");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

pub(super) async fn logout(
    State(emr): State<Arc<Emr>>,
    site: Site,
    headers: HeaderMap,
) -> Response {
    if let Some(token) = session_token(&headers) {
        emr.sign_out(&token);
    }
    let mut response = site.redirect("/login");
    set_cookie(
        &mut response,
        &format!("{SESSION_COOKIE}=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    );
    response
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// The worklist: who comes today, and which orders wait for a signature.
pub(super) async fn home(State(emr): State<Arc<Emr>>, signed: SignedIn) -> Response {
    let records = emr.records();
    let patient = signed
        .session
        .current
        .and_then(|pid| records.patient(pid).cloned());
    let visits = records
        .appointments()
        .iter()
        .take(30)
        .filter_map(|visit| {
            let patient = records.patient(visit.pid)?;
            Some(vec![
                Cell::from(&visit.at),
                Cell::Link {
                    href: format!("/patients/select?set_pid={}", patient.id),
                    label: patient.name(),
                },
                Cell::from(&visit.reason),
                Cell::from(&visit.provider),
            ])
        })
        .collect();
    let pending = records
        .patients()
        .flat_map(|patient| patient.orders.iter().map(move |order| (patient, order)))
        .filter(|(_, order)| order.signed_by.is_none())
        .take(12)
        .map(|(patient, order)| {
            vec![
                Cell::from(&order.at),
                Cell::Link {
                    href: format!("/patients/select?set_pid={}", patient.id),
                    label: patient.name(),
                },
                Cell::from(&order.what),
                Cell::from(&order.author),
            ]
        })
        .collect();
    drop(records);
    page(
        &signed,
        patient.as_ref(),
        "Worklist",
        vec![
            Part::Table(Table {
                caption: "Appointments".to_owned(),
                columns: vec!["Time", "Patient", "Reason", "With"],
                rows: visits,
            }),
            Part::Table(Table {
                caption: "Orders waiting for a signature".to_owned(),
                columns: vec!["Date", "Patient", "Order", "Ordered by"],
                rows: pending,
            }),
        ],
    )
}
