//! What comes of sending a form that waited: where its user goes on, or what they are told.
//!
//! *Never*: a way that leads off this host.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap, SET_COOKIE};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;

use super::Sent;
use crate::desk::page::redirect;
use crate::identity::held::{HeldPost, location};
use crate::identity::routes::{Asked, login_location};
use crate::language::Language;
use crate::refusal::Refusal;
use crate::request::{AnswerBody, Body, Demand, Refused};

/// Most that is read of an answer which nobody is shown.
const DRAINED: usize = 4 * 1024 * 1024;

/// What its author is told of a form that the gateway refused.
pub(super) fn refused_so(refused: &Refused, post: &HeldPost, language: Language) -> Sent {
    let phrases = language.phrases();
    let refusal = refused.refusal();
    let here = location(post.id());
    let words = refusal.words(language);
    let why = format!("{} {} ({})", words.detail, words.remedy, refusal.code());
    if refusal == Refusal::StepUpRequired {
        let demand = refused.onward().demand.unwrap_or(Demand::NOW);
        let href = login_location(&here, Asked::StepUp(demand));
        return Sent::Not(why, Some((href, phrases.step_up.confirm)));
    }
    if refusal == Refusal::PatientUnknown {
        let patients = post.about().map(|about| {
            let ids = about.patients.iter().map(|patient| patient.id.as_str());
            ids.collect::<Vec<_>>().join(", ")
        });
        let whose = patients.filter(|ids| !ids.is_empty());
        let why = whose.map_or(why, |ids| {
            let (before, between, after) = phrases.held.other_patient;
            format!("{before}{ids}{between}{ids}{after}")
        });
        return Sent::Not(why, Some(("/".to_owned(), phrases.go_to_emr)));
    }
    Sent::Not(why, None)
}

/// The path and query that a `Location` leads to from `target`, if it is on this host.
pub(super) fn absolute(authority: &str, target: &str, location: &str) -> Option<String> {
    let base = url::Url::parse(&format!("https://{authority}{target}")).ok()?;
    let onward = base.join(location).ok()?;
    (onward.origin() == base.origin())
        .then(|| onward[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
        .filter(|path| !path.starts_with("//"))
}

/// On to where the EMR sends its user, with the cookies that it set.
pub(super) fn on(head: &HeaderMap, onward: &str) -> Response<Bytes> {
    let mut response = redirect(onward);
    let headers = response.headers_mut();
    for cookie in head.get_all(SET_COOKIE) {
        headers.append(SET_COOKIE, cookie.clone());
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body of exactly these bytes.
pub(super) fn buffered(bytes: &Bytes) -> Body {
    Body::Buffered((!bytes.is_empty()).then(|| bytes.clone()))
}

/// Reads an answer that nobody is shown, so that its outcome is that it came whole.
pub(in crate::gateway) async fn drain(mut body: AnswerBody) {
    let mut read = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if read > DRAINED {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_form_leads_on_within_its_host_only() {
        let on = |location: &str| absolute("emr.example:8443", "/chart/notes?a=b", location);
        assert_eq!(on("/x?y=1#z").as_deref(), Some("/x?y=1"));
        assert_eq!(on("list").as_deref(), Some("/chart/list"));
        assert_eq!(on("https://emr.example:8443/x").as_deref(), Some("/x"));
        for elsewhere in [
            "https://evil.example/",
            "//evil.example/",
            "http://emr.example:8443/",
            "javascript:x",
        ] {
            assert_eq!(on(elsewhere), None, "{elsewhere}");
        }
    }

    proptest! {
        #[test]
        fn wherever_an_emr_points_the_browser_stays(location in "[/\\\\.%:@a-f0-9 ?#&=]{0,24}|\\PC{0,16}") {
            if let Some(path) = absolute("emr.example", "/chart", &location) {
                let base = url::Url::parse("https://emr.example/.chartgate/held/x").unwrap();
                prop_assert_eq!(base.join(&path).unwrap().origin(), base.origin());
            }
        }
    }
}
