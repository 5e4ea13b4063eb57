//! Answers that list patients: the same patients in whatever pieces, and of JSON all that serde_json finds.
//!
//! The first byte of an input says what it is, the second how it is cut.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chartgate::emr::Profile;
use chartgate::emr::fuzzing::appeared;
use chartgate::request::appeared::{Appeared, Unheard};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| {
    let text = r#"version = 1
        name = "fuzz"
        patient_system = "urn:x"
        patient_pattern = "digits"
        [[route]]
        id = "list"
        methods = ["GET"]
        path = "/"
        action = "Search"
        section = "demographics"
        appears = [
          { json = "/*/id" },
          { json = "/*/a/0" },
          { html = "td.id" },
          { html = "a", attribute = "href", query = "id" },
          { csv = "id" },
        ]"#;
    Profile::parse(text, "fuzz.toml").expect("a profile")
});

fn ids(appeared: &Appeared) -> BTreeSet<&str> {
    let ids: BTreeSet<&str> = appeared.patients.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids.len(), appeared.patients.len(), "each once");
    assert!(ids.iter().all(|id| !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_digit())));
    ids
}

/// What the rules for JSON name in a whole document.
fn named(document: &Value) -> BTreeSet<String> {
    let parts: Vec<&Value> = match document {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    let values = parts.iter().flat_map(|part| [part.get("id"), part.pointer("/a/0")]);
    let texts = values.flatten().filter_map(|value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    });
    texts.filter(|text| !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit())).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, cut, body @ ..] = bytes else {
        return;
    };
    let kind = ["application/json", "text/html", "text/csv"][usize::from(*kind) % 3];
    let pieces: Vec<&[u8]> = body.chunks(usize::from(*cut) % 32 + 1).collect();
    let whole = appeared(&PROFILE, kind, &[body]);
    assert_eq!(whole, appeared(&PROFILE, kind, &pieces), "{kind}");
    let Some(whole) = whole else {
        assert!(body.is_empty());
        return;
    };
    let heard = ids(&whole);
    if kind == "application/json"
        && let Ok(document) = serde_json::from_slice::<Value>(body)
    {
        assert!(named(&document).iter().all(|id| heard.contains(id.as_str())), "{document}");
        assert!(matches!(whole.unknown, None | Some(Unheard::Misfit)), "{document}");
    }
});
