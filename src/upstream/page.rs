//! What an answer is to its reader: a page that can be written on, or something else.

use http::header::{self, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};

use crate::request::received::Audience;
use crate::request::watermark::Marking;

fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether nothing is shown of an answer with this status.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status.is_redirection() || status == StatusCode::NO_CONTENT
}

/// Whether the answer is an HTML page that a browser shows.
#[must_use]
pub fn is_page(status: StatusCode, headers: &HeaderMap) -> bool {
    let kind = text(headers, &CONTENT_TYPE);
    let is_html = kind.split(';').next().unwrap_or_default().trim_end() == "text/html";
    !is_bodiless(status)
        && status != StatusCode::PARTIAL_CONTENT
        && is_html
        && !text(headers, &CONTENT_DISPOSITION).starts_with("attachment")
}

/// Whether the page is plain text in a character set whose ASCII bytes mean ASCII.
#[must_use]
pub fn is_readable(headers: &HeaderMap) -> bool {
    let coding = text(headers, &CONTENT_ENCODING);
    if !coding.is_empty() && coding != "identity" {
        return false;
    }
    let kind = text(headers, &CONTENT_TYPE);
    let charset = kind
        .split(';')
        .skip(1)
        .find_map(|parameter| parameter.trim().strip_prefix("charset="))
        .map(|charset| charset.trim_matches(['"', '\'', ' ']));
    charset.is_none_or(|charset| {
        ["utf-8", "utf8", "us-ascii", "ascii", "latin1", "iso-8859-1"].contains(&charset)
            || charset.starts_with("iso-8859-")
            || charset.starts_with("windows-125")
    })
}

/// Whether an answer to `method` can carry a watermark, and whether it has to.
#[must_use]
pub fn marking(
    audience: Audience,
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Marking {
    match audience {
        Audience::Program => Marking::Part,
        Audience::Navigation | Audience::Subresource => {
            if method == Method::HEAD || is_bodiless(status) {
                Marking::Empty
            } else if is_page(status, headers) && is_readable(headers) {
                Marking::Carried
            } else {
                Marking::Impossible
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(audience: Audience, status: u16, fields: &[(&'static str, &str)]) -> Marking {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        marking(audience, &Method::GET, status, &headers)
    }

    #[test]
    fn what_a_person_looks_at_carries_the_mark_or_is_withheld() {
        let page = ("content-type", "text/html; charset=utf-8");
        let seen =
            |status, fields: &[(&'static str, &str)]| of(Audience::Navigation, status, fields);
        assert_eq!(seen(200, &[page]), Marking::Carried);
        assert_eq!(seen(404, &[page]), Marking::Carried);
        assert_eq!(seen(302, &[]), Marking::Empty);
        assert_eq!(seen(204, &[]), Marking::Empty);
        for fields in [
            &[("content-type", "application/pdf")][..],
            &[("content-type", "image/png")],
            &[("content-type", "text/html; charset=utf-16")],
            &[page, ("content-encoding", "br")],
            &[page, ("content-disposition", "attachment; filename=a.html")],
            &[],
        ] {
            assert_eq!(seen(200, fields), Marking::Impossible, "{fields:?}");
            assert_eq!(of(Audience::Subresource, 200, fields), Marking::Impossible);
            assert_eq!(of(Audience::Program, 200, fields), Marking::Part);
        }
        assert_eq!(seen(206, &[page]), Marking::Impossible, "a part of a page");
        let head = marking(
            Audience::Navigation,
            &Method::HEAD,
            StatusCode::OK,
            &HeaderMap::new(),
        );
        assert_eq!(head, Marking::Empty);
    }
}
