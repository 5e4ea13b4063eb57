//! Which reader an answer gets, by its head.

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use http::response::Parts;

use super::rule::{Place, Rule};
use crate::request::appeared::Unheard;

/// What an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Html,
    Csv,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Html, Self::Csv];

    const fn of(place: &Place) -> Self {
        match place {
            Place::Json(_) => Self::Json,
            Place::Html(_) => Self::Html,
            Place::Csv(_) => Self::Csv,
        }
    }

    /// Whether it goes by this media type (lower case, without parameters).
    fn is_called(self, kind: &str) -> bool {
        match self {
            Self::Json => {
                matches!(
                    kind,
                    "application/json" | "text/json" | "application/x-ndjson"
                ) || kind.ends_with("+json")
                    || kind.ends_with("+ndjson")
            }
            Self::Html => matches!(kind, "text/html" | "application/xhtml+xml"),
            Self::Csv => matches!(
                kind,
                "text/csv" | "application/csv" | "text/comma-separated-values"
            ),
        }
    }

    /// Whether old EMRs send it under this media type, too.
    fn may_be_called(self, kind: &str) -> bool {
        match self {
            Self::Json => {
                kind.is_empty()
                    || kind.starts_with("text/")
                    || matches!(kind, "application/javascript" | "application/octet-stream")
            }
            Self::Html => kind.is_empty(),
            Self::Csv => matches!(
                kind,
                "" | "text/plain"
                    | "text/tab-separated-values"
                    | "application/octet-stream"
                    | "application/x-download"
                    | "application/force-download"
                    | "application/download"
                    | "application/vnd.ms-excel"
            ),
        }
    }
}

/// In what the answer is to be read, by the places that there are rules for.
pub(super) fn format(rules: &[Rule], head: &Parts) -> Result<Format, Unheard> {
    if head.status == StatusCode::PARTIAL_CONTENT {
        return Err(Unheard::Part);
    }
    let coding = text(&head.headers, &CONTENT_ENCODING);
    if !matches!(coding.as_str(), "" | "identity") {
        return Err(Unheard::Compressed);
    }
    let whole = text(&head.headers, &CONTENT_TYPE);
    if !is_ascii_in(&whole) {
        return Err(Unheard::Charset);
    }
    let kind = whole.split(';').next().unwrap_or_default().trim_end();
    let has = |format: &Format| rules.iter().any(|rule| Format::of(&rule.place) == *format);
    let here: Vec<Format> = Format::ALL.into_iter().filter(has).collect();
    let called = here.iter().find(|format| format.is_called(kind));
    let found = called.or_else(|| here.iter().find(|format| format.may_be_called(kind)));
    found.copied().ok_or(Unheard::Kind)
}

/// Whether ASCII bytes mean ASCII in the character set that a media type names.
fn is_ascii_in(kind: &str) -> bool {
    let charset = kind
        .split(';')
        .skip(1)
        .find_map(|parameter| parameter.trim().strip_prefix("charset="))
        .map(|charset| charset.trim_matches(['"', '\'', ' ']));
    charset.is_none_or(|charset| {
        [
            "", "utf-8", "utf8", "us-ascii", "ascii", "latin1", "koi8-r", "koi8-u",
        ]
        .contains(&charset)
            || charset.starts_with("iso-8859-")
            || charset.starts_with("windows-125")
    })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::*;
    use crate::emr::json::Pointer;

    fn of(formats: &[Format], status: u16, kind: &str, coding: &str) -> Result<Format, Unheard> {
        let place = |format: &Format| match format {
            Format::Json => Place::Json(Pointer::parse("/*").unwrap()),
            Format::Html => Place::Html(super::super::Elements {
                text: "td".to_owned(),
                selector: "td".parse().unwrap(),
                attribute: None,
            }),
            Format::Csv => Place::Csv("id".to_owned()),
        };
        let rules: Vec<Rule> = formats.iter().map(|one| rule(place(one))).collect();
        let mut answer = http::Response::builder().status(status);
        for (name, value) in [(CONTENT_TYPE, kind), (CONTENT_ENCODING, coding)] {
            if !value.is_empty() {
                answer = answer.header(name, value);
            }
        }
        format(&rules, &answer.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_kind_of_the_answer_says_how_it_is_read() {
        use Format::{Csv, Html, Json};
        let all = &[Json, Html, Csv][..];
        for (kind, read) in [
            ("application/json", Json),
            ("Application/DICOM+JSON; charset=UTF-8", Json),
            ("application/fhir+ndjson", Json),
            ("text/html; charset=windows-1252", Html),
            ("text/csv", Csv),
        ] {
            assert_eq!(of(all, 200, kind, "identity"), Ok(read), "{kind}");
        }
        // Old EMRs say little about what they send.
        assert_eq!(of(&[Json], 200, "text/html", ""), Ok(Json));
        assert_eq!(of(&[Csv], 200, "application/vnd.ms-excel", ""), Ok(Csv));
        assert_eq!(of(&[Html], 200, "", ""), Ok(Html));
        for (formats, kind) in [
            (&[Html][..], "application/pdf"),
            (&[Html, Csv], "image/png"),
            (&[Json], "multipart/related; type=\"application/dicom+xml\""),
        ] {
            assert_eq!(of(formats, 200, kind, ""), Err(Unheard::Kind), "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_known_beforehand() {
        let all = &Format::ALL;
        assert_eq!(of(all, 200, "text/csv", "gzip"), Err(Unheard::Compressed));
        assert_eq!(of(all, 206, "text/csv", ""), Err(Unheard::Part));
        for charset in ["utf-16", "UTF-16LE", "shift_jis", "gb18030", "utf-7"] {
            let kind = format!("text/html; charset={charset}");
            assert_eq!(of(all, 200, &kind, ""), Err(Unheard::Charset), "{charset}");
        }
        let kind = "application/json; charset=\"utf-8\"";
        assert_eq!(of(all, 200, kind, ""), Ok(Format::Json));
    }
}
