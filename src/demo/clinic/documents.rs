//! Lists the current patient's documents and serves them, also by byte range.

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{
    chart::{Document, DocumentFormat},
    page::{Cell, Part, Table, page},
    pdf,
    signed_in::Charted,
};

pub(super) async fn list(charted: Charted) -> Response {
    let rows = charted
        .patient
        .documents
        .iter()
        .map(|document| {
            vec![
                Cell::from(&document.at),
                Cell::Link {
                    href: format!("/chart/documents/{}", document.id),
                    label: document.title.clone(),
                },
                match document.format {
                    DocumentFormat::Pdf => Cell::from("PDF"),
                    DocumentFormat::Text => Cell::from("Text"),
                },
            ]
        })
        .collect();
    page(
        &charted.signed,
        Some(&charted.patient),
        "Documents",
        vec![Part::Table(Table {
            caption: "Documents".to_owned(),
            columns: vec!["Date", "Title", "Format"],
            rows,
        })],
    )
}

/// One document of the current patient, whole or in part.
pub(super) async fn open(charted: Charted, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    match charted
        .patient
        .documents
        .iter()
        .find(|document| document.id == id)
    {
        Some(document) => deliver(document, headers.get(header::RANGE)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Which bytes a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// First and last byte.
    Part(usize, usize),
    Unsatisfiable,
    Whole,
}

/// Reads a `Range` header (RFC 9110 section 14.2); anything but one byte range means the whole.
fn wanted(range: Option<&HeaderValue>, length: usize) -> Wanted {
    let Some((first, last)) = range
        .and_then(|range| range.to_str().ok())
        .and_then(|range| range.strip_prefix("bytes="))
        .filter(|range| !range.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    let end = length.saturating_sub(1);
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first > last => Wanted::Whole,
        (Ok(first), _) if first >= length => Wanted::Unsatisfiable,
        (Ok(first), Ok(last)) => Wanted::Part(first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => Wanted::Part(first, end),
        (Err(_), Ok(0)) if first.is_empty() => Wanted::Unsatisfiable,
        (Err(_), Ok(suffix)) if first.is_empty() && length > 0 => {
            Wanted::Part(length.saturating_sub(suffix), end)
        }
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Wanted::Whole,
    }
}

fn deliver(document: &Document, range: Option<&HeaderValue>) -> Response {
    let (media_type, content) = match document.format {
        DocumentFormat::Pdf => (
            "application/pdf",
            pdf::page(&document.title, &document.lines),
        ),
        DocumentFormat::Text => (
            "text/plain; charset=utf-8",
            format!("{}\n", document.lines.join("\n")).into_bytes(),
        ),
    };
    let content = Bytes::from(content);
    let length = content.len();
    let answer = HttpResponse::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(
            header::ETAG,
            format!("\"document-{}-{length}\"", document.id),
        );
    let answer = match wanted(range, length) {
        Wanted::Whole => answer.body(Body::from(content)),
        Wanted::Unsatisfiable => answer
            .status(StatusCode::RANGE_NOT_SATISFIABLE)
            .header(header::CONTENT_RANGE, format!("bytes */{length}"))
            .body(Body::empty()),
        Wanted::Part(first, last) => {
            let end = last.saturating_add(1).min(length);
            answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header(
                    header::CONTENT_RANGE,
                    format!("bytes {first}-{last}/{length}"),
                )
                .body(Body::from(content.slice(first.min(end)..end)))
        }
    };
    answer.unwrap_or_else(|error| {
        tracing::error!(%error, "the sample EMR could not build a document answer");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(range: &str) -> Wanted {
        wanted(Some(&HeaderValue::from_str(range).unwrap()), 100)
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(of("bytes=0-9"), Wanted::Part(0, 9));
        assert_eq!(of("bytes=90-"), Wanted::Part(90, 99));
        assert_eq!(of("bytes=-10"), Wanted::Part(90, 99));
        assert_eq!(of("bytes=-500"), Wanted::Part(0, 99));
        assert_eq!(of("bytes=50-500"), Wanted::Part(50, 99));
        assert_eq!(of("bytes=100-"), Wanted::Unsatisfiable);
        assert_eq!(of("bytes=-0"), Wanted::Unsatisfiable);
        for ignored in [
            "bytes=9-0",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=a-b",
            "bytes=-",
            "bytes",
        ] {
            assert_eq!(of(ignored), Wanted::Whole, "{ignored}");
        }
        assert_eq!(wanted(None, 100), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_part_always_lies_within_the_document(
            range in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0_usize..5000,
        ) {
            let header = HeaderValue::from_str(&range).unwrap();
            if let Wanted::Part(first, last) = wanted(Some(&header), length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
