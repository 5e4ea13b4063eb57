//! Finds out who asks and about which patient, as the EMR does: by its cookie and nothing else.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use cookie::Cookie;

use super::{
    chart::Patient,
    emr::{Emr, Session},
};

/// The EMR's session cookie.
pub const SESSION_COOKIE: &str = "CLINICSESSID";

/// Where the EMR believes it is reached: what the client wrote in `Host`, always over plain HTTP.
#[derive(Debug, Clone)]
pub(super) struct Site {
    host: String,
}

impl Site {
    fn of(headers: &HeaderMap) -> Self {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost");
        Self {
            host: host.to_owned(),
        }
    }

    /// Redirects with an absolute address, as this generation of software does.
    pub(super) fn redirect(&self, path: &str) -> Response {
        match HeaderValue::try_from(format!("http://{}{path}", self.host)) {
            Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Site {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// The values of this cookie, in the order of the header.
pub(super) fn session_token(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == SESSION_COOKIE)
        .map(|cookie| cookie.value().to_owned())
}

/// A request with a valid EMR session.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) site: Site,
    pub(super) token: String,
    pub(super) session: Session,
}

impl FromRequestParts<Arc<Emr>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, emr: &Arc<Emr>) -> Result<Self, Response> {
        let site = Site::of(&parts.headers);
        session_token(&parts.headers)
            .and_then(|token| {
                let session = emr.session(&token)?;
                Some((token, session))
            })
            .map(|(token, session)| Self {
                site: site.clone(),
                token,
                session,
            })
            .ok_or_else(|| site.redirect("/login"))
    }
}

/// A request whose EMR session has a current patient.
#[derive(Debug)]
pub(super) struct Charted {
    pub(super) signed: SignedIn,
    pub(super) patient: Patient,
}

impl FromRequestParts<Arc<Emr>> for Charted {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, emr: &Arc<Emr>) -> Result<Self, Response> {
        let signed = SignedIn::from_request_parts(parts, emr).await?;
        let patient = signed
            .session
            .current
            .and_then(|pid| emr.records().patient(pid).cloned());
        match patient {
            Some(patient) => Ok(Self { signed, patient }),
            None => Err(signed.site.redirect("/patients/search")),
        }
    }
}
