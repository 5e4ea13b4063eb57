//! What of an answer goes on record, by routes as profiles write them.

use std::sync::Arc;

use super::*;
use crate::emr::profile::Profile;

const ROUTES: &str = r#"version = 1
name = "x"
patient_system = "urn:x"
patient_pattern = "integer"
[[route]]
id = "list"
methods = ["GET"]
path = "/list"
action = "Search"
section = "demographics"
appears = [
  { json = "/*/id" },
  { json = "/*/mrn", patient_system = "urn:mrn", patient_pattern = "token" },
  { html = "td.id" },
  { csv = "id" },
]
"#;

fn route() -> Arc<Route> {
    let profile = Profile::parse(ROUTES, "x.toml").unwrap();
    Arc::clone(&profile.routes()[0])
}

fn head(status: u16, fields: &[(&str, &str)]) -> Parts {
    let mut answer = http::Response::builder().status(status);
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    answer.body(()).unwrap().into_parts().0
}

fn hear(head: &Parts, body: &[u8], whole: Whole) -> Option<Appeared> {
    let mut hearing = Expected::of(&route(), head)?.begin();
    for piece in body.chunks(3) {
        hearing.hear(piece);
    }
    hearing.finish(whole)
}

fn ids(appeared: &Appeared) -> Vec<&str> {
    appeared.patients.iter().map(|p| p.id.as_str()).collect()
}

const JSON: &str = "application/json";

#[test]
fn each_kind_of_answer_is_heard_by_the_rules_for_it() {
    for (kind, body) in [
        (JSON, "[{\"id\":1},{\"id\":\"2\"}]"),
        (
            "text/html; charset=utf-8",
            "<td class=id>1</td><td class=id>2</td>",
        ),
        ("text/csv", "id,name\r\n1,A\r\n2,B\r\n"),
    ] {
        let head = head(200, &[("content-type", kind)]);
        let appeared = hear(&head, body.as_bytes(), Whole::Yes).unwrap();
        assert_eq!(ids(&appeared), ["1", "2"], "{kind}");
        assert_eq!((appeared.more, appeared.unknown), (0, None), "{kind}");
        assert!(appeared.patients.iter().all(|p| p.system == "urn:x"));
    }
    let head = head(200, &[("content-type", JSON)]);
    let body = br#"[{"id":1,"mrn":"A-1"},{"mrn":"1"}]"#;
    let appeared = hear(&head, body, Whole::Yes).unwrap();
    assert_eq!(ids(&appeared), ["1", "A-1", "1"]);
    assert_eq!(appeared.patients[2].system, "urn:mrn");
}

#[test]
fn what_is_not_shown_is_not_heard() {
    let json = [("content-type", JSON)];
    for status in [302, 304, 404, 500] {
        assert!(Expected::of(&route(), &head(status, &json)).is_none());
    }
    // HEAD, or nothing found.
    assert_eq!(hear(&head(200, &json), b"", Whole::Yes), None);
    assert_eq!(hear(&head(204, &[]), b"", Whole::Yes), None);
}

#[test]
fn what_cannot_be_read_is_said_and_what_passed_before_counts() {
    let unknown = |fields: &[(&str, &str)], status, body: &[u8]| {
        let appeared = hear(&head(status, fields), body, Whole::Yes).unwrap();
        let found: Vec<String> = ids(&appeared).into_iter().map(str::to_owned).collect();
        (found, appeared.unknown)
    };
    let json = [("content-type", JSON)];
    let nobody = Vec::<String>::new;
    for (fields, body, why) in [
        (
            &[json[0], ("content-encoding", "br")][..],
            &b"\x1f\x8b"[..],
            Unheard::Compressed,
        ),
        (
            &[("content-type", "text/html; charset=utf-16")],
            b"<td",
            Unheard::Charset,
        ),
        (&json, b"\xff\xfe[\0", Unheard::Charset),
        (
            &[("content-type", "application/pdf")],
            b"%PDF",
            Unheard::Kind,
        ),
        (
            &[("content-type", "text/csv")],
            b"a,b\n1,2",
            Unheard::Heading,
        ),
        (&json, b"<html>", Unheard::Malformed),
    ] {
        assert_eq!(unknown(fields, 200, body), (nobody(), Some(why)), "{why:?}");
    }
    assert_eq!(unknown(&json, 206, b"[{"), (nobody(), Some(Unheard::Part)));
    let found = unknown(&json, 200, br#"[{"id":1},{"id":2},oops{"id":3}]"#);
    assert_eq!(
        found,
        (vec!["1".into(), "2".into()], Some(Unheard::Malformed))
    );
    let found = unknown(&json, 200, br#"[{"id":1},{"id":"n/a"}]"#);
    assert_eq!(found, (vec!["1".into()], Some(Unheard::Misfit)));
}

#[test]
fn what_is_cut_off_in_the_middle_is_nobody() {
    for (kind, body) in [
        (JSON, "[{\"id\":1},{\"id\":12"),
        ("text/html", "<td class=id>1</td><td class=id>12"),
        ("text/csv", "id\r\n1\r\n12"),
    ] {
        let head = head(200, &[("content-type", kind)]);
        let appeared = hear(&head, body.as_bytes(), Whole::No).unwrap();
        assert_eq!(
            (ids(&appeared), appeared.unknown),
            (vec!["1"], None),
            "{kind}"
        );
    }
}
