//! The head of an answer, made safe for the browser: nothing about the connection or the EMR's machinery leaves, and
//! the gateway's own protections are on every page.
//!
//! *Never*: a gateway cookie set by an EMR, or an error page that the configuration hides.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};

use super::Upstream;
use super::answered::{Answered, Delivery};
use super::headers::REQUEST_ID;
use super::page;
use super::protect::{keep_assets_only, protect};
use super::rewrite::{self, Places};
use crate::config::ErrorPages;
use crate::emr::classify::Classified;
use crate::emr::profile::Profile;
use crate::emr::set_cookie::harden_set_cookie;
use crate::refusal::Refusal;
use crate::request::credentials::is_gateway_cookie;
use crate::request::hygiene::{remove_all, remove_hop_by_hop};
use crate::request::received::Audience;
use crate::request::watermark::{Marking, Marks};
use crate::request::{AnswerBody, Cover, Notice, Refused, Watermark, Workplace};
use crate::telemetry::metrics as names;

/// An answer that may be delivered.
#[derive(Debug)]
#[must_use]
pub struct Cleaned {
    response: Response<AnswerBody>,
    audience: Audience,
    notices: Vec<Notice>,
    cover: Option<Cover>,
    authority: String,
    watermark: Option<Watermark>,
}

impl Cleaned {
    /// What has to stand on the page.
    #[must_use]
    pub fn watermark(&self) -> Option<Watermark> {
        self.watermark.clone()
    }

    /// What a page that locks with its session needs, and the host and port that its reader uses.
    #[must_use]
    pub fn cover(&self) -> Option<(Cover, String)> {
        let cover = self.cover.clone()?;
        Some((cover, self.authority.clone()))
    }

    /// Takes it apart for delivery: the response, who waits for it, and what they have to be told.
    pub fn into_parts(self) -> (Response<AnswerBody>, Audience, Vec<Notice>) {
        (self.response, self.audience, self.notices)
    }
}

/// What tells an attacker about the EMR's machinery, or the browser about other ways to it.
const REMOVED: &[&str] = &[
    "alt-svc",
    "expect-ct",
    "liferay-portal",
    "microsoftofficewebserver",
    "microsoftsharepointteamservices",
    "nel",
    "public-key-pins",
    "public-key-pins-report-only",
    "report-to",
    "reporting-endpoints",
    "server",
    "sourcemap",
    "strict-transport-security",
    "via",
    "x-accel-redirect",
    "x-application-context",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-backend",
    "x-backend-server",
    "x-cf-routing-endpoint",
    "x-debug-token",
    "x-debug-token-link",
    "x-drupal-cache",
    "x-envoy-upstream-service-time",
    "x-generator",
    "x-litespeed-cache",
    "x-page-speed",
    "x-php-version",
    "x-powered-by",
    "x-powered-by-plesk",
    "x-runtime",
    "x-sendfile",
    "x-served-by",
    "x-server",
    "x-sourcemap",
    "x-varnish",
    "x-version",
];

impl Upstream {
    /// Cleans an answer's head.
    ///
    /// # Errors
    /// [`Refused`] in place of an error page that is not to be shown, and of what has to carry a watermark and cannot.
    pub fn clean(&self, classified: Classified<Answered>) -> Result<Cleaned, Refused> {
        let profiled = Arc::clone(classified.emr());
        let mut answered = classified.into_answer();
        let notices = answered.take_notices();
        let Some((emr, _)) = self.emr(answered.emr()) else {
            return Err(answered.refuse(Refusal::Internal));
        };
        if emr.error_pages == ErrorPages::Hide && answered.status().is_server_error() {
            return Err(answered.refuse(Refusal::UpstreamError));
        }
        let marked = match answered.marks() {
            Marks::Watermark => match mark(&mut answered) {
                Marking::Carried => true,
                Marking::Part | Marking::Empty => false,
                Marking::Impossible => return Err(answered.refuse(Refusal::ObligationUnmet)),
            },
            Marks::None => false,
        };
        let traits = answered.traits().clone();
        let (identified, mut parts, delivery) = answered.into_parts();
        let switched = restate_upgrade(&mut parts);
        let pages = profiled.profile().headers();
        remove_all(&mut parts.headers, |name| {
            REMOVED.contains(&name) || pages.removed.iter().any(|removed| removed == name)
        });
        if !traits.pass_authorization {
            // SECURITY: nobody is to be asked for the EMR's password by the browser where what they type is not
            // passed on: the service account is the gateway's affair.
            parts.headers.remove(header::WWW_AUTHENTICATE);
            parts.headers.remove("authentication-info");
        }
        harden_cookies(&mut parts.headers, profiled.profile());
        let received = identified.received().parts();
        let audience = Audience::of(&received.method, &received.headers);
        let cover = identified.received().cover().cloned();
        let watermark = marked.then(|| Watermark {
            user: identified.principal().display().to_owned(),
            at: received.at,
            request: received.id.to_string(),
        });
        rewrite::addresses(
            &mut parts.headers,
            Places {
                back_end: emr.endpoint.authority(),
                public: &received.authority,
                host: &received.host,
            },
        );
        let hsts = self.backends.hsts.as_ref();
        protect(&mut parts.headers, pages, &traits, hsts);
        if identified.workplace() == Workplace::Shared {
            keep_assets_only(&mut parts.headers);
        }
        if let Ok(id) = HeaderValue::try_from(received.id.to_string()) {
            parts.headers.insert(REQUEST_ID, id);
        }
        if let Some(protocol) = switched {
            parts
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol);
        }
        let body = match delivery {
            Delivery::Body(body) => AnswerBody::streaming(*body),
            Delivery::Switched => AnswerBody::empty(),
        };
        // Of the parts only these go on; extensions are between hyper and us.
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        Ok(Cleaned {
            response,
            audience,
            notices,
            cover,
            authority: received.authority.clone(),
            watermark,
        })
    }
}

/// Finds out whether the answer can carry the watermark that it has to, and puts that on record.
fn mark(answered: &mut Answered) -> Marking {
    let parts = answered.received().parts();
    let audience = Audience::of(&parts.method, &parts.headers);
    let marking = page::marking(
        audience,
        &parts.method,
        answered.status(),
        answered.headers(),
    );
    answered.mark(marking);
    if marking == Marking::Impossible {
        tracing::warn!(
            "an answer cannot carry the watermark that its permit obliges; it is withheld"
        );
        // What can carry it is counted when it stands on the page.
        metrics::counter!(names::WATERMARKS, "result" => "refused").increment(1);
    }
    marking
}

/// Removes what speaks about the EMR's connection; for a switch of protocols, tells which.
fn restate_upgrade(parts: &mut Parts) -> Option<HeaderValue> {
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    remove_hop_by_hop(&mut parts.headers);
    protocol.filter(|_| parts.status == StatusCode::SWITCHING_PROTOCOLS)
}

/// Drops cookies that would replace the gateway's, and hardens the EMR's as its profile says.
fn harden_cookies(headers: &mut HeaderMap, profile: &Profile) {
    let cookies: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .cloned()
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        if is_gateway_cookie(cookie.as_bytes()) {
            tracing::warn!("the EMR tried to set a gateway cookie");
            continue;
        }
        headers.append(header::SET_COOKIE, harden_set_cookie(profile, &cookie));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emr::classify::classify;
    use crate::upstream::testing::{Outcomes, emr, guard, request, upstream};
    use bytes::Bytes;

    #[tokio::test]
    async fn a_style_sheet_may_be_kept_and_a_strict_referrer_policy_stays() {
        let mut shell = request("GET", "/style.css", &[]);
        shell.traits.no_store = false;
        let response = Response::builder()
            .header("cache-control", "max-age=60")
            .header("referrer-policy", "no-referrer")
            .header("vary", "Accept-Encoding, Cookie")
            .body(Bytes::from_static(b"*{}"))
            .unwrap();
        let (exchange, answered) =
            Answered::for_test(shell.limited(), guard(&Outcomes::default()), response);
        let classified = classify(exchange, answered).await;
        let cleaned = upstream(emr("http://127.0.0.1:1"))
            .clean(classified)
            .unwrap();
        let headers = cleaned.into_parts().0.headers().clone();
        assert_eq!(headers["cache-control"], "max-age=60");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers.get_all("vary").iter().count(), 1);
    }

    #[tokio::test]
    async fn only_where_credentials_are_passed_on_does_the_browser_ask_for_them() {
        for passed in [false, true] {
            let mut asked = request("GET", "/system", &[]);
            asked.traits.pass_authorization = passed;
            let response = Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header("www-authenticate", "Basic realm=\"EMR\"")
                .body(Bytes::new())
                .unwrap();
            let (exchange, answered) =
                Answered::for_test(asked.limited(), guard(&Outcomes::default()), response);
            let classified = classify(exchange, answered).await;
            let cleaned = upstream(emr("http://127.0.0.1:1"))
                .clean(classified)
                .unwrap();
            let response = cleaned.into_parts().0;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.headers().contains_key("www-authenticate"), passed);
        }
    }
}
