//! What the browser is told about the EMR's pages: the gateway's own protections and those of the EMR's profile.
//!
//! Who wins, header by header, is in `docs/client-hygiene.md`. Values are made when the profile is read; putting them
//! on an answer copies references.
//!
//! *Never*: an answer about a patient that a browser or a cache may keep.

use http::HeaderName;
use http::header::{
    self, CACHE_CONTROL, CONTENT_SECURITY_POLICY, EXPIRES, HeaderMap, HeaderValue, PRAGMA,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::emr::profile::{Frames, PageHeaders, RouteTraits, Sniffing, names_directive};
use crate::request::hygiene::{remove_all, tokens};

const FRAME_ANCESTORS: &[u8] = b"frame-ancestors";

/// The protections of one answer.
pub(super) fn protect(
    headers: &mut HeaderMap,
    pages: &PageHeaders,
    traits: &RouteTraits,
    hsts: Option<&HeaderValue>,
) {
    if let Some(hsts) = hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    match pages.sniffing {
        Sniffing::Nosniff => {
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        Sniffing::Leave => {}
    }
    // Addresses of an EMR name patients; they are nobody else's business.
    if headers
        .get(REFERRER_POLICY)
        .is_none_or(|policy| policy != "no-referrer")
    {
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    frame(headers, pages.frames);
    for (name, value) in &pages.policies {
        headers.append(name, value.clone());
    }
    for (name, value) in &pages.defaults {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if traits.no_store {
        keep_nowhere(headers);
    }
    let varies = tokens(headers, &header::VARY).any(|token| token == "cookie" || token == "*");
    if !varies {
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
    }
}

/// Says who may show the page in a frame, where the EMR does not.
///
/// SECURITY: clickjacking; a page that can be framed by any site can be clicked by any site.
fn frame(headers: &mut HeaderMap, frames: Frames) {
    let (option, policy) = match frames {
        Frames::Allow => return,
        Frames::SameOrigin => ("SAMEORIGIN", "frame-ancestors 'self'"),
        Frames::Deny => ("DENY", "frame-ancestors 'none'"),
    };
    let own = headers.get_all(CONTENT_SECURITY_POLICY).iter();
    if own
        .map(HeaderValue::as_bytes)
        .any(|own| names_directive(own, FRAME_ANCESTORS))
        || is_framed_by_itself(headers)
    {
        return;
    }
    // Both: browsers that know `frame-ancestors` ignore the older header.
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static(option));
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
}

/// Whether the EMR's own `X-Frame-Options` says something that browsers heed. `ALLOW-FROM` is none of it.
fn is_framed_by_itself(headers: &HeaderMap) -> bool {
    let mut said = headers
        .get_all(X_FRAME_OPTIONS)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .peekable();
    let heeded = |value: &[u8]| {
        value.eq_ignore_ascii_case(b"DENY") || value.eq_ignore_ascii_case(b"SAMEORIGIN")
    };
    said.peek().is_some() && said.all(heeded)
}

/// SECURITY: a chart in the cache of a shared workstation, or of a proxy, outlives the session and its permission.
/// What speaks to particular caches goes before `Cache-Control` there (RFC 9213).
fn keep_nowhere(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for name in [
        EXPIRES,
        PRAGMA,
        header::AGE,
        HeaderName::from_static("surrogate-control"),
        HeaderName::from_static("x-accel-expires"),
    ] {
        headers.remove(name);
    }
    remove_all(headers, |name| name.ends_with("-cache-control"));
}

/// SECURITY: a browser that several people use keeps nothing of one for the next, whatever its profile says of the
/// route. What never changes (`immutable`, RFC 8246) is nobody's.
pub(super) fn keep_assets_only(headers: &mut HeaderMap) {
    if !tokens(headers, &CACHE_CONTROL).any(|token| token == "immutable") {
        keep_nowhere(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENT: RouteTraits = RouteTraits {
        websocket: false,
        pass_authorization: false,
        body_limit: 0,
        no_store: true,
    };
    const ASSET: RouteTraits = RouteTraits {
        no_store: false,
        ..PATIENT
    };

    fn protected(fields: &[(&str, &str)], pages: &PageHeaders, traits: &RouteTraits) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        protect(&mut headers, pages, traits, None);
        headers
    }

    fn by_default(fields: &[(&str, &str)]) -> HeaderMap {
        protected(fields, &PageHeaders::default(), &PATIENT)
    }

    fn all<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
        let values = headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn an_emr_that_says_nothing_gets_every_protection() {
        let headers = by_default(&[]);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "SAMEORIGIN"),
            ("content-security-policy", "frame-ancestors 'self'"),
            ("cross-origin-opener-policy", "same-origin-allow-popups"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("vary", "Cookie"),
        ] {
            assert_eq!(all(&headers, name), [value], "{name}");
        }
        assert!(all(&headers, "permissions-policy")[0].contains("camera=(self)"));
    }

    #[test]
    fn what_the_emr_says_of_frames_openers_and_permissions_stands_alone() {
        let headers = by_default(&[
            ("x-frame-options", "deny"),
            ("cross-origin-opener-policy", "unsafe-none"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("permissions-policy", "camera=*"),
        ]);
        assert_eq!(all(&headers, "x-frame-options"), ["deny"]);
        assert!(all(&headers, "content-security-policy").is_empty());
        assert_eq!(all(&headers, "cross-origin-opener-policy"), ["unsafe-none"]);
        assert_eq!(
            all(&headers, "cross-origin-resource-policy"),
            ["cross-origin"]
        );
        assert_eq!(all(&headers, "permissions-policy"), ["camera=*"]);

        let own = "script-src 'self'; frame-ancestors https://portal.example";
        let headers = by_default(&[("content-security-policy", own)]);
        assert_eq!(all(&headers, "content-security-policy"), [own]);
        assert!(all(&headers, "x-frame-options").is_empty());
    }

    #[test]
    fn an_option_that_browsers_ignore_is_replaced() {
        for ignored in [
            "ALLOW-FROM https://portal.example",
            "ALLOWALL",
            "sameorigin, x",
            "",
        ] {
            let headers = by_default(&[
                ("x-frame-options", ignored),
                ("content-security-policy", "script-src 'self'"),
            ]);
            assert_eq!(
                all(&headers, "x-frame-options"),
                ["SAMEORIGIN"],
                "{ignored}"
            );
            assert_eq!(
                all(&headers, "content-security-policy"),
                ["script-src 'self'", "frame-ancestors 'self'"]
            );
        }
    }

    #[test]
    fn content_policies_of_emr_and_profile_stand_side_by_side() {
        let pages = PageHeaders {
            frames: Frames::Allow,
            sniffing: Sniffing::Leave,
            policies: vec![(
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("object-src 'none'"),
            )],
            ..PageHeaders::default()
        };
        let headers = protected(
            &[("content-security-policy", "img-src *")],
            &pages,
            &PATIENT,
        );
        assert_eq!(
            all(&headers, "content-security-policy"),
            ["img-src *", "object-src 'none'"]
        );
        assert!(all(&headers, "x-frame-options").is_empty());
        assert!(all(&headers, "x-content-type-options").is_empty());
    }

    #[test]
    fn nothing_about_a_patient_is_kept_by_any_cache() {
        let said = [
            ("cache-control", "public, max-age=600"),
            ("cache-control", "s-maxage=600"),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("pragma", "cache"),
            ("age", "3"),
            ("surrogate-control", "max-age=600"),
            ("cdn-cache-control", "max-age=600"),
            ("cloudflare-cdn-cache-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("etag", "\"1\""),
        ];
        let headers = by_default(&said);
        assert_eq!(all(&headers, "cache-control"), ["no-store"]);
        for (name, _) in &said[2..9] {
            assert!(all(&headers, name).is_empty(), "{name}");
        }
        // Programs need it to write without overwriting another's change.
        assert_eq!(all(&headers, "etag"), ["\"1\""]);

        let asset = protected(&said, &PageHeaders::default(), &ASSET);
        for (name, value) in said {
            assert!(all(&asset, name).contains(&value), "{name}");
        }
    }

    proptest! {
        #[test]
        fn protections_happen_once_and_patients_are_never_kept(
            frames in "(DENY|sameorigin|ALLOW-FROM x|[ -~]{0,8})",
            policy in "[a-z' ;-]{0,24}(frame-ancestors [a-z']{0,6})?",
            cache in "[a-z0-9=, -]{0,24}",
        ) {
            let fields = [
                ("x-frame-options", frames.trim()),
                ("content-security-policy", policy.trim()),
                ("cache-control", cache.trim()),
            ];
            let once = by_default(&fields);
            prop_assert_eq!(all(&once, "cache-control"), ["no-store"]);
            let framed = once.get_all(CONTENT_SECURITY_POLICY).iter().any(|own| names_directive(own.as_bytes(), FRAME_ANCESTORS));
            prop_assert!(framed || is_framed_by_itself(&once));
            let mut twice = once.clone();
            protect(&mut twice, &PageHeaders::default(), &PATIENT, None);
            prop_assert_eq!(once, twice);
        }
    }
}
