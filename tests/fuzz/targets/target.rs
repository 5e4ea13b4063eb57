//! The request target: what is accepted has one reading, and is forwarded byte for byte.
#![no_main]

use chartgate::request::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As it arrives: hyper hands over an `http::Uri`, which accepts bytes that are not ASCII.
    if let Ok(uri) = http::Uri::try_from(bytes)
        && let Ok(target) = Target::parse(&uri)
    {
        check(&target);
        let written = uri.path_and_query().map(http::uri::PathAndQuery::as_str);
        assert_eq!(written, Some(target.as_str()));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(target) = Target::parse_str(text) else {
        return;
    };
    assert_eq!(target.as_str(), text);
    check(&target);
});

fn check(target: &Target) {
    assert_eq!(Target::parse_str(target.as_str()).as_ref(), Ok(target));
    let whole = match target.query() {
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path().to_owned(),
    };
    assert_eq!(whole, target.as_str());
    assert!(target.as_str().bytes().all(|b| b.is_ascii_graphic()));
    // The back end reads the same path from the request line that is rebuilt of it.
    let again: http::Uri = target.as_str().parse().expect("a request line");
    assert_eq!(again.path(), target.path());
    assert_eq!(again.query(), target.query());
    for segment in target.segments() {
        assert!(segment != "." && segment != "..");
        assert!(!segment.contains('\\') && !segment.chars().any(char::is_control));
    }
    if target.is_plain_for(&[]) {
        for segment in target.segments() {
            assert!(!segment.contains(['/', ';']));
        }
        let path = url::Url::parse("http://emr.test")
            .and_then(|base| base.join(&format!("http://emr.test{}", target.as_str())));
        // A WHATWG parser, which many back ends and all browsers have, sees the same number of segments.
        let segments = path.expect("a URL").path_segments().map(Iterator::count);
        assert_eq!(segments, Some(target.segments().len()));
    }
    for (_, _) in target.fields() {}
}
