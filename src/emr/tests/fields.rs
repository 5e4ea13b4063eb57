//! Conditions and extractors, and requests in which two parsers would find different fields.

use super::*;
use crate::request::facts::PatientSource;

const PROFILE: &str = r#"
version = 1
name = "x"
patient_system = "urn:x"
patient_pattern = "integer"

[[route]]
id = "query-delete"
methods = ["GET", "POST"]
path = "/q"
query = { do = "delete" }
action = "Delete"
section = "notes"

[[route]]
id = "query-other"
methods = ["GET", "POST"]
path = "/q"
action = "Read"
section = "notes"

[[route]]
id = "form-delete"
methods = ["POST"]
path = "/f"
form = { do = "delete", really = true, draft = false }
action = "Delete"
section = "notes"
patient = { form = "pid" }

[[route]]
id = "form-other"
methods = ["POST"]
path = "/f"
action = "Update"
section = "notes"
patient = { form = "pid" }
record = { form = ["title"] }

[[route]]
id = "json-sign"
methods = ["POST", "PUT"]
path = "/j"
json = { "/note/signed" = "true" }
action = "Sign"
section = "notes"
patient = { json = "/patient/id" }

[[route]]
id = "json-other"
methods = ["POST", "PUT"]
path = "/j"
action = "Create"
section = "notes"
patient = { json = "/patient/id" }

[[route]]
id = "json-list"
methods = ["POST"]
path = "/list"
action = "Export"
section = "export"
patient = { json = "/patients/*/id" }

[[route]]
id = "header"
methods = ["GET"]
path = "/h"
action = "Read"
section = "notes"
patient = { header = "x-patient", strip = "Patient/" }

[[route]]
id = "query-patient"
methods = ["GET", "POST"]
path = "/p"
action = "Update"
section = "notes"
patient = { query = "pid" }

[[route]]
id = "query-patient-files"
methods = ["POST"]
path = "/files"
action = "Create"
section = "documents"
patient = { query = "pid" }
multipart = true

[[route]]
id = "optional"
methods = ["GET"]
path = "/o"
action = "Read"
section = "notes"
patient = { query = "pid" }
patient_required = false

[[route]]
id = "slashes"
methods = ["GET"]
path = "/s/{name}"
action = "Read"
section = "documents"
allow = ["encoded-slash"]

[[route]]
id = "small"
methods = ["POST"]
path = "/small"
action = "Create"
section = "notes"
patient = { form = "pid" }
body_limit = "16B"
"#;

fn post(target: &str) -> Call {
    Call::new("POST", target)
}

async fn route(call: Call) -> Result<String, Refusal> {
    let emrs = emrs(PROFILE);
    call.map(&emrs)
        .await
        .map(|m| m.mapping().route.clone())
        .map_err(|r| r.refusal())
}

async fn patients_of(call: Call) -> Result<Vec<String>, Refusal> {
    patients(call, &emrs(PROFILE)).await
}

#[tokio::test]
async fn conditions_choose_the_route() {
    for (call, chosen) in [
        (Call::get("/q?do=delete"), "query-delete"),
        (Call::get("/q?do=show"), "query-other"),
        (post("/f").form("do=delete&really=&pid=4"), "form-delete"),
        (post("/f").form("do=delete&pid=4"), "form-other"),
        (
            post("/f").form("do=delete&really=1&draft=1&pid=4"),
            "form-other",
        ),
        (
            post("/j").json(r#"{"note":{"signed":true},"patient":{"id":4}}"#),
            "json-sign",
        ),
        (
            post("/j").json(r#"{"note":{},"patient":{"id":"4"}}"#),
            "json-other",
        ),
    ] {
        let (target, body) = (call.target.clone(), call.body.clone());
        assert_eq!(
            route(call).await.as_deref(),
            Ok(chosen),
            "{target} {body:?}"
        );
    }
}

#[tokio::test]
async fn patients_are_found() {
    let two = r#"{"patients":[{"id":4},{"id":5},{"id":4}]}"#;
    for (call, found) in [
        (post("/f").form("pid=4"), &["4"][..]),
        (post("/j").json(r#"{"patient":{"id":4}}"#), &["4"][..]),
        (post("/list").json(two), &["4", "5"][..]),
        (Call::get("/h").header("x-patient", "Patient/4"), &["4"][..]),
        (Call::get("/p?pid=4"), &["4"][..]),
        (Call::get("/o"), &[][..]),
    ] {
        let target = call.target.clone();
        let found = found.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(patients_of(call).await, Ok(found), "{target}");
    }
    let emrs = emrs(PROFILE);
    let mapped = Call::get("/p?pid=4").map(&emrs).await.unwrap();
    assert_eq!(mapped.mapping().patients[0].source, PatientSource::Request);
    assert_eq!(mapped.mapping().patients[0].system, "urn:x");
}

#[tokio::test]
async fn a_missing_patient_is_unknown() {
    for call in [
        post("/f").form("title=x"),
        post("/f"),
        post("/j").json("{}"),
        post("/j").json(r#"{"patient":null}"#),
        post("/list").json(r#"{"patients":[]}"#),
        Call::get("/h"),
        Call::get("/p"),
    ] {
        let target = call.target.clone();
        assert_eq!(
            patients_of(call).await,
            Err(Refusal::PatientUnknown),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_malformed_patient_is_refused() {
    let many: Vec<String> = (0..257).map(|n| format!("{{\"id\":{n}}}")).collect();
    let many = format!("{{\"patients\":[{}]}}", many.join(","));
    for (call, refusal) in [
        (post("/f").form("pid=4x"), Refusal::MalformedBody),
        (post("/f").form("pid="), Refusal::MalformedBody),
        (
            post("/j").json(r#"{"patient":{"id":4.0}}"#),
            Refusal::MalformedBody,
        ),
        (
            post("/j").json(r#"{"patient":{"id":[4]}}"#),
            Refusal::MalformedBody,
        ),
        (
            post("/j").json(r#"{"patient":"4"}"#),
            Refusal::MalformedBody,
        ),
        (post("/list").json(&many), Refusal::MalformedBody),
        (
            Call::get("/h").header("x-patient", "x"),
            Refusal::AmbiguousField,
        ),
        (Call::get("/p?pid="), Refusal::AmbiguousTarget),
    ] {
        let (target, body) = (call.target.clone(), call.body.clone());
        assert_eq!(patients_of(call).await, Err(refusal), "{target} {body:?}");
    }
}

/// The OpenEMR, Drupal and Rails families of parser differentials, each with the form that it takes here.
#[tokio::test]
async fn a_field_with_two_readings_is_refused() {
    for call in [
        Call::get("/p?pid=4&pid=5"),
        Call::get("/p?pid=4&PID=5"),
        Call::get("/p?pid[]=5"),
        Call::get("/p?pid=4&p%69d=5"),
        Call::get("/p?x=1;pid=5"),
        Call::get("/q?do=show&do=delete"),
        post("/f").form("pid=4&pid=5"),
        post("/f").form("pid=4&pid[]=5"),
        post("/f?pid=5").form("pid=4"),
        post("/f?do=delete").form("pid=4"),
        post("/p?pid=4").form("pid=5"),
        post("/p?pid=4").form("Pid=5"),
        post("/q?do=show").form("do=delete"),
        post("/q").form("do=delete"),
        post("/j").json(r#"{"patient":{"id":4},"patient":{"id":5}}"#),
        post("/j").json(r#"{"patient":{"id":4,"Id":5}}"#),
        post("/j").json(r#"{"patient":{"id":4,"\u0069d":5}}"#),
        Call::get("/h")
            .header("x-patient", "4")
            .header("x-patient", "5"),
    ] {
        let (target, body) = (call.target.clone(), call.body.clone());
        assert_eq!(
            route(call).await,
            Err(Refusal::AmbiguousField),
            "{target} {body:?}"
        );
    }
}

#[tokio::test]
async fn method_overrides_are_refused() {
    for call in [
        post("/f")
            .form("pid=4")
            .header("x-http-method-override", "DELETE"),
        post("/f")
            .form("pid=4")
            .header("X-Method-Override", "DELETE"),
        Call::get("/o").header("x-http-method", "PUT"),
        Call::get("/o").header("x_http_method_override", "PUT"),
        Call::get("/nowhere?_method=DELETE"),
        Call::get("/o?%5fmethod=DELETE"),
        Call::get("/o?_METHOD=DELETE"),
        post("/f").form("pid=4&_method=DELETE"),
        post("/f?_method=DELETE").form("pid=4"),
    ] {
        let target = call.target.clone();
        assert_eq!(route(call).await, Err(Refusal::AmbiguousField), "{target}");
    }
    // A field of another name is none.
    assert_eq!(
        route(Call::get("/o?method=DELETE&x=100%25"))
            .await
            .as_deref(),
        Ok("optional")
    );
}

/// Where no profile says that the EMR takes no method from a form, one that nothing is mapped from is read too.
#[tokio::test]
async fn a_method_override_in_a_form_that_the_route_does_not_read_is_refused() {
    let plain = "[[route]]\nid = \"x\"\nmethods = [\"POST\"]\npath = \"/x\"\naction = \"Create\"\nsection = \"notes\"\n";
    let head = "version = 1\nname = \"x\"\n";
    let careful = emrs(&format!("{head}{plain}"));
    let told = emrs(&format!("{head}method_override = \"none\"\n{plain}"));
    let files = emrs(&format!("{head}{plain}multipart = true\n"));
    let multipart = || post("/x").body("multipart/form-data; boundary=x", "--x\r\n\r\n");
    let untyped = || {
        let mut call = post("/x");
        call.body = Bytes::from_static(b"_method=DELETE");
        call
    };
    for (call, refusal) in [
        (
            post("/x").form("a=1&_method=DELETE"),
            Refusal::AmbiguousField,
        ),
        (
            post("/x").form("a=1&%5Fmethod=DELETE"),
            Refusal::AmbiguousField,
        ),
        (multipart(), Refusal::UnsupportedBody),
        (untyped(), Refusal::UnsupportedBody),
        (
            post("/x").form("a=1").header("content-encoding", "gzip"),
            Refusal::UnsupportedBody,
        ),
    ] {
        let body = call.body.clone();
        assert_eq!(
            call.clone().refusal(&careful).await,
            Some(refusal),
            "{body:?}"
        );
        assert_eq!(call.refusal(&told).await, None, "{body:?}");
    }
    assert_eq!(multipart().refusal(&files).await, None);
    for call in [
        post("/x").form("a=1"),
        post("/x").json(r#"{"_method":"DELETE"}"#),
        post("/x").body("application/dicom", "_method=DELETE"),
        post("/x"),
    ] {
        assert_eq!(call.refusal(&careful).await, None);
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_checked_is_refused() {
    let form = "application/x-www-form-urlencoded";
    for call in [
        post("/f").body("text/plain", "pid=4"),
        post("/f").body("multipart/form-data; boundary=x", "--x\r\n\r\n"),
        post("/f").json("{}"),
        post("/f").form("pid=4").header("content-encoding", "gzip"),
        post("/f")
            .form("pid=4")
            .header("content-type", "text/plain"),
        post("/f").body(&format!("{form}; charset=utf-16"), "pid=4"),
        post("/f").body(&format!("{form}, text/plain"), "pid=4"),
        post("/j").form("patient=4"),
        post("/j").json("{}").header("content-encoding", "br"),
        post("/j").body("application/json; charset=ibm037", "{}"),
        post("/p?pid=4").body("multipart/form-data; boundary=x", "--x\r\n\r\n"),
        post("/p?pid=4")
            .form("a=1")
            .header("content-encoding", "deflate"),
        post("/q?do=show").body("multipart/form-data; boundary=x", "--x\r\n\r\n"),
    ] {
        let (target, headers) = (call.target.clone(), call.headers.clone());
        assert_eq!(
            route(call).await,
            Err(Refusal::UnsupportedBody),
            "{target} {headers:?}"
        );
    }
    let mut untyped = post("/f");
    untyped.body = Bytes::from_static(b"pid=4");
    assert_eq!(route(untyped).await, Err(Refusal::UnsupportedBody));
    for call in [
        post("/f").body(&format!("{form};charset=UTF-8"), "pid=4"),
        post("/f")
            .form("pid=4")
            .header("content-encoding", "identity"),
        post("/j").body("application/vnd.api+json", r#"{"patient":{"id":4}}"#),
        post("/files?pid=4").body("multipart/form-data; boundary=x", "--x\r\n\r\n"),
        post("/p?pid=4").body("text/csv", "pid;4"),
    ] {
        assert!(route(call).await.is_ok());
    }
}

#[tokio::test]
async fn a_body_that_does_not_parse_is_refused() {
    for call in [
        post("/f").form("pid=4&a%zz=1"),
        post("/f").form("pid=%ff"),
        post("/j").json("{"),
        post("/j").json("{\"patient\":{\"id\":4}} x"),
    ] {
        let body = call.body.clone();
        assert_eq!(route(call).await, Err(Refusal::MalformedBody), "{body:?}");
    }
    assert_eq!(
        route(post("/small").form("pid=4&note=0123456789")).await,
        Err(Refusal::BodyTooLarge)
    );
    assert!(route(post("/small").form("pid=4")).await.is_ok());
}

#[tokio::test]
async fn what_was_read_is_what_is_forwarded() {
    let emrs = emrs(PROFILE);
    let body = "title=a+b%20c&pid=4&&x=%E4";
    let mapped = post("/f").form(body).map(&emrs).await.unwrap();
    assert_eq!(
        mapped.mapping().fields.get("title").map(String::as_str),
        Some("a b c")
    );
    let (identified, _, _) = mapped.into_parts();
    let (_, forwarded, ..) = identified.into_parts().0.into_parts();
    assert_eq!(forwarded.collect().await.unwrap().to_bytes(), body);
}

#[tokio::test]
async fn an_ambiguous_target_needs_the_routes_permission() {
    assert_eq!(route(Call::get("/s/a%2Fb")).await.as_deref(), Ok("slashes"));
    assert_eq!(
        route(Call::get("/s/a%3Bb")).await,
        Err(Refusal::AmbiguousTarget)
    );
    assert_eq!(
        route(Call::get("/o?x=100%")).await,
        Err(Refusal::AmbiguousTarget)
    );
    assert_eq!(
        route(Call::get("/nowhere/a%2Fb")).await,
        Err(Refusal::AmbiguousTarget)
    );
}

#[tokio::test]
async fn a_refusal_takes_along_what_was_understood() {
    let emrs = emrs(PROFILE);
    let refused = Call::get("/p?pid=4&pid=5").map(&emrs).await.unwrap_err();
    let facts = refused.facts();
    assert_eq!(facts.emr.as_deref(), Some("clinic"));
    assert_eq!(facts.mapping.as_ref().unwrap().route, "query-patient");
}
