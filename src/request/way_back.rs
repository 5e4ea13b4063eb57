//! The page on this host that a person is at, as far as their browser says.

use http::header::REFERER;
use http::{HeaderMap, Method};

use super::Target;
use super::received::{Audience, Parts};

/// Where a sign-in should come back to: the page that was asked for; of what a script or a form sent, the page that
/// sent it; else the start page.
///
/// It becomes a link that its reader may follow, never a request that the gateway makes. What is read from it later is
/// held to this host once more ([`crate::identity::ReturnTo`]).
pub(super) fn way_back(parts: &Parts, audience: Audience) -> String {
    let safe = parts.method == Method::GET || parts.method == Method::HEAD;
    let is_page = match audience {
        Audience::Navigation | Audience::Subresource => safe,
        Audience::Program => false,
    };
    if is_page {
        return parts.target.as_str().to_owned();
    }
    sender(&parts.headers, &parts.authority).unwrap_or_else(|| "/".to_owned())
}

/// The path and query of the page on this host that sent the request (RFC 9110 §10.1.3).
fn sender(headers: &HeaderMap, authority: &str) -> Option<String> {
    let mut stated = headers.get_all(REFERER).iter();
    let (Some(one), None) = (stated.next(), stated.next()) else {
        return None;
    };
    let rest = one.to_str().ok()?.strip_prefix("https://")?;
    let (host, path) = rest.split_at_checked(rest.find('/')?)?;
    let path = path.split('#').next()?;
    (host.eq_ignore_ascii_case(authority) && Target::parse_str(path).is_ok())
        .then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_this_host_is_the_way_back() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(REFERER, value.parse().unwrap());
            }
            sender(&headers, "emr.example:8443")
        };
        let page = "https://emr.example:8443/chart/4?tab=notes";
        assert_eq!(of(&[page]).as_deref(), Some("/chart/4?tab=notes"));
        assert_eq!(of(&["https://EMR.example:8443/a#b"]).as_deref(), Some("/a"));
        for other in [
            &[][..],
            &[page, page],
            &["https://emr.example/a"],
            &["https://emr.example:8443.evil.example/a"],
            &["https://evil.example/https://emr.example:8443/a"],
            &["http://emr.example:8443/a"],
            &["https://emr.example:8443"],
            &["about:client"],
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }
}
