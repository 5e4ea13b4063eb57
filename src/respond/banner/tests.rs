//! Where a notice stands, on which pages, and that nothing else of them changes.

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;

use super::body::MEMORY;
use super::*;
use crate::request::BodyError;

/// Puts `told` on the answer, where it is a page that a person looks at.
fn noticed(
    response: Response<AnswerBody>,
    audience: Audience,
    told: &[Notice],
) -> Response<AnswerBody> {
    match markup(audience, told) {
        Some(markup) if crate::upstream::page::is_page(response.status(), response.headers()) => {
            let duty = Duty::Told;
            put(response, Markup { html: markup, duty }, |_| {})
        }
        Some(_) | None => response,
    }
}

fn notice() -> Vec<Notice> {
    vec![Notice::BreakGlass {
        reach: crate::request::Reach::Patient {
            system: "urn:mrn".to_owned(),
            number: "7".to_owned(),
        },
        until: "2026-11-22T14:05:00Z".parse().unwrap(),
    }]
}

fn marker() -> String {
    notices::html(&notice().iter().collect::<Vec<_>>())
}

fn answer(kind: &str, chunks: Vec<Vec<u8>>) -> Response<AnswerBody> {
    let chunks = chunks
        .into_iter()
        .map(|chunk| Ok::<_, BodyError>(Frame::data(Bytes::from(chunk))));
    let body = StreamBody::new(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
    Response::builder()
        .header("content-type", kind)
        .header("content-length", "1")
        .header("etag", "\"1\"")
        .body(AnswerBody::streaming(body))
        .unwrap()
}

fn read(response: Response<AnswerBody>) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec()
    })
}

fn shown(page: &[u8]) -> Vec<u8> {
    read(noticed(
        answer("text/html; charset=utf-8", vec![page.to_vec()]),
        Audience::Navigation,
        &notice(),
    ))
}

#[test]
fn the_notice_stands_first_in_the_body() {
    let page =
        b"<!doctype html><html><head><title>a</title></head><BODY class=x>chart</body></html>";
    let text = String::from_utf8(shown(page)).unwrap();
    let (before, after) = text.split_once(&marker()).unwrap();
    assert!(before.ends_with("<BODY class=x>"), "{before}");
    assert_eq!(after, "chart</body></html>");
}

#[test]
fn a_page_without_a_body_tag_gets_it_at_the_end_and_frames_are_left_alone() {
    let text = String::from_utf8(shown(b"<p>chart")).unwrap();
    assert_eq!(text, format!("<p>chart{}", marker()));
    let frames: &[u8] = b"<html><frameset cols=1><frame src=a></frameset></html>";
    assert_eq!(shown(frames), frames);
}

#[test]
fn only_pages_that_a_person_looks_at_are_touched() {
    let page = b"<body>x".to_vec();
    let untouched = |kind: &str, audience, told: &[Notice]| {
        let response = noticed(answer(kind, vec![page.clone()]), audience, told);
        assert_eq!(response.headers()["content-length"], "1", "{kind}");
        assert_eq!(read(response), page, "{kind}");
    };
    for kind in [
        "text/plain",
        "application/json",
        "text/html; charset=utf-16",
        "text/html; charset=iso-2022-jp",
        "text/htmlx",
    ] {
        untouched(kind, Audience::Navigation, &notice());
    }
    untouched("text/html", Audience::Program, &notice());
    untouched("text/html", Audience::Navigation, &[]);
    untouched(
        "text/html",
        Audience::Subresource,
        &[Notice::Lockdown { level: 1 }],
    );
    let framed = noticed(
        answer("text/html", vec![page]),
        Audience::Subresource,
        &notice(),
    );
    for name in OF_THE_WHOLE {
        assert!(!framed.headers().contains_key(*name), "{name}");
    }
    assert_eq!(framed.headers()["cache-control"], "no-store");
    assert!(read(framed).len() > 7);
}

#[test]
fn compressed_pages_partial_ones_and_downloads_pass() {
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-disposition", "attachment; filename=a.html"),
    ] {
        let mut response = answer("text/html", vec![b"<body>".to_vec()]);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        assert_eq!(
            read(noticed(response, Audience::Navigation, &notice())),
            b"<body>"
        );
    }
    let mut response = answer("text/html", vec![b"<body>".to_vec()]);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    assert_eq!(
        read(noticed(response, Audience::Navigation, &notice())),
        b"<body>"
    );
    let wide = b"\xff\xfe<\0b\0o\0d\0y\0>\0";
    assert_eq!(shown(wide), wide);
}

#[test]
fn a_tag_that_never_ends_makes_the_page_pass_whole() {
    let mut page = b"<html><body title=\"".to_vec();
    page.resize(MEMORY * 3, b'a');
    page.extend_from_slice(b"\">chart");
    assert_eq!(shown(&page), page);
}

#[test]
fn a_page_that_has_to_carry_it_breaks_off_where_it_cannot() {
    let wide = b"\xff\xfe<\0b\0".to_vec();
    let mut endless = b"<html><body title=\"".to_vec();
    endless.resize(MEMORY * 3, b'a');
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for (page, whole) in [(wide, false), (endless, false), (b"<p>x".to_vec(), true)] {
        let html = "N".to_owned();
        let duty = Duty::Obliged;
        let response = put(
            answer("text/html", vec![page]),
            Markup { html, duty },
            |_| {},
        );
        let read = runtime.block_on(response.into_body().collect());
        assert_eq!(read.is_ok(), whole);
    }
}

#[test]
fn trailers_come_after_the_page() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let frames = [
        Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"<p>"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = AnswerBody::streaming(StreamBody::new(futures_util::stream::iter(frames)));
    let markup = Markup {
        html: "N".to_owned(),
        duty: Duty::Told,
    };
    let page = Noticed::new(body, markup, |_| {});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let read = runtime.block_on(page.collect()).unwrap();
    assert_eq!(read.trailers().unwrap()["x-sum"], "1");
    assert_eq!(read.to_bytes(), "<p>N");
}

#[test]
fn an_empty_page_stays_empty() {
    let response = Response::builder()
        .header("content-type", "text/html")
        .body(AnswerBody::streaming(
            Full::new(Bytes::new()).map_err(|never| match never {}),
        ))
        .unwrap();
    assert!(read(noticed(response, Audience::Navigation, &notice())).is_empty());
}

/// Pieces of pages, the wrong ones among them.
fn page() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        5 => prop::sample::select(vec![
            "<html>", "<head>", "</head>", "<body>", "<BoDy a=b>", "<body", ">", "<", "</body>", "<!--", "-->",
            "<script>", "</script>", "<textarea>", "<title>", "</title>", "<frameset>", "<svg>", "<select>", "<xmp>",
            "<template>", "<p title='", "'", "\"", "&amp;", "<![CDATA[", "]]>", "<plaintext>", "é", "\u{feff}",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Wherever the network cuts a page, its bytes are the same, and the notice is at the same place once at most.
    #[test]
    fn a_page_is_whole_however_it_is_cut(
        page in page(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len().saturating_add(1))).collect();
        at.push(0);
        at.push(page.len());
        at.sort_unstable();
        let chunks = at.windows(2).map(|pair| page[pair[0]..pair[1]].to_vec()).collect();
        let cut = read(noticed(answer("text/html", chunks), Audience::Navigation, &notice()));
        let marker = marker().into_bytes();
        let found = cut.windows(marker.len()).position(|window| window == marker);
        let mut without = cut.clone();
        if let Some(found) = found {
            without.drain(found..found.saturating_add(marker.len()));
        }
        prop_assert_eq!(&without, &page);
        if !page.starts_with(b"\xfe\xff") && !page.starts_with(b"\xff\xfe") {
            prop_assert_eq!(cut, shown(&page));
        }
    }
}
