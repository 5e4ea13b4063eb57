//! The tokenizer says what a reader of the whole document says, in whatever pieces it comes.

use proptest::prelude::*;
use serde_json::Value;

use super::super::rule::tests::rule;
use super::*;

fn heard(pointers: &[&str], pieces: &[&[u8]]) -> (Vec<String>, Option<Unheard>) {
    let at = |text: &&str| rule(Place::Json(Pointer::parse(text).unwrap()));
    let rules: Rules = pointers.iter().map(at).collect();
    let mut gathered = Gathered::by(rules.clone());
    let mut reader = JsonReader::by(rules);
    let heard = pieces
        .iter()
        .try_for_each(|piece| reader.hear(piece, &mut gathered));
    let ended = heard.and_then(|()| reader.end(&mut gathered));
    let appeared = gathered.appeared(ended.err());
    let ids = appeared.patients.into_iter().map(|p| p.id).collect();
    (ids, appeared.unknown)
}

fn whole(pointer: &str, text: &str) -> Vec<String> {
    let (ids, unknown) = heard(&[pointer], &[text.as_bytes()]);
    assert_eq!(unknown, None, "{pointer} {text}");
    ids
}

#[test]
fn pointers_lead_through_arrays_and_objects() {
    let list = r#" [ {"id":1,"demographics":[{"patient_id":4},{"patient_id":40}],"id2":{"patient_id":9}},
        {"demographics":[{"x":[],"y":{},"patient_id":"5"}]}, {"demographics":[]}, null, true, 7.5e3,
        {"demographics":[{"patient_id":4}]} ] "#;
    assert_eq!(whole("/*/demographics/0/patient_id", list), ["4", "5"]);
    assert_eq!(
        whole("/*/demographics/*/patient_id", list),
        ["4", "40", "5"]
    );
    assert_eq!(whole("/0/id", list), ["1"]);
    assert_eq!(whole("/1/demographics/0/patient_id", list), ["5"]);
    for nowhere in [
        "/00/id",
        "/+0/id",
        "/-/id",
        "/7/id",
        "/*/Demographics/0/patient_id",
        "/*/demographics",
        "/*/id/x",
        "/id",
    ] {
        assert!(whole(nowhere, list).is_empty(), "{nowhere}");
    }
    assert_eq!(whole("/*", "[1,\"2\",[3],{\"a\":4},2]"), ["1", "2"]);
    assert_eq!(
        whole(
            "/episodes/*/id",
            r#"{"episodes":{"5":{"id":5},"7":{"id":7}}}"#
        ),
        ["5", "7"]
    );
    assert_eq!(
        whole(
            "/*/00100020/Value/0",
            r#"[{"00100020":{"vr":"LO","Value":["12","13"]}}]"#
        ),
        ["12"]
    );
}

#[test]
fn keys_and_values_are_read_in_every_spelling() {
    assert_eq!(whole("/a~1b/c~0d", r#"{"a/b":{"c~d":1}}"#), ["1"]);
    assert_eq!(whole("/id", r#"{"\u0069\u0064":"\u0031\u0032"}"#), ["12"]);
    assert_eq!(whole("/\u{1f600}", r#"{"\ud83d\ude00":3}"#), ["3"]);
    assert_eq!(whole("/a\"\\\n", r#"{"a\"\\\n":3}"#), ["3"]);
    assert_eq!(whole("/\u{fffd}x", r#"{"\ud83dx":3}"#), ["3"]);
    // Of two equal keys nobody knows which one is shown: both.
    assert_eq!(whole("/id", r#"{"id":1,"id":2}"#), ["1", "2"]);
    let long = format!(r#"{{"{}":{{"id":5}},"id":6}}"#, "k".repeat(5_000));
    assert_eq!(whole("/*/id", &long), ["5"]);
}

#[test]
fn several_documents_and_a_byte_order_mark_are_taken() {
    assert_eq!(whole("/id", "\u{feff}{\"id\":1}\n{\"id\":2}\n"), ["1", "2"]);
    assert_eq!(
        whole("/id", "\u{1e}{\"id\":1}\n\u{1e}{\"id\":2}\n"),
        ["1", "2"]
    );
    for nothing in ["", "\u{feff}", " \n", "7", "\"7\"", "null"] {
        assert!(whole("/id", nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn where_the_structure_is_lost_it_stops_and_says_so() {
    let malformed = Some(Unheard::Malformed);
    for text in [
        "<html>",
        "{",
        "[1",
        "[1,",
        "{\"id\":1]",
        "[1}",
        "{\"id\"}",
        "{id:1}",
        "{,}",
        "[1 2]",
        "nul",
        "nulx",
        "\"a",
        "\"\\x\"",
        "\"\\u00g0\"",
        ")]}',\n[1]",
        "\u{ef}\u{bb}[1]",
    ] {
        let found = heard(&["/id"], &[text.as_bytes()]);
        assert_eq!(found.1, malformed, "{text}");
    }
    assert_eq!(heard(&["/id"], &[b"\xef\xbb[1]"]).1, malformed);
    assert_eq!(heard(&["/id"], &[b"\xef\xbb"]).1, malformed);
    assert_eq!(heard(&["/id"], &[b"[\0\"\0"]).1, malformed, "UTF-16");
    let cut = heard(&["/*"], &[b"[1,2,x,3]"]);
    assert_eq!(cut, (vec!["1".into(), "2".into()], malformed));
    let deep = format!("[1,{}", "[".repeat(1_000_000));
    assert_eq!(
        heard(&["/*"], &[deep.as_bytes()]),
        (vec!["1".into()], Some(Unheard::Memory))
    );
}

#[test]
fn what_is_under_way_when_it_breaks_off_is_nobody() {
    let rules: Rules = [rule(Place::Json(Pointer::parse("/*").unwrap()))].into();
    let mut gathered = Gathered::by(rules.clone());
    let mut reader = JsonReader::by(rules);
    reader.hear(b"[4,12", &mut gathered).unwrap();
    let appeared = gathered.appeared(None);
    assert_eq!(appeared.patients.len(), 1, "123 is not 12");
}

#[test]
fn a_value_too_long_to_be_a_number_is_said() {
    let text = format!("[\"{}\",3,\"\u{fffd}\"]", "1".repeat(LONGEST + 1));
    let found = heard(&["/*"], &[text.as_bytes()]);
    assert_eq!(found, (vec!["3".into()], Some(Unheard::Misfit)));
}

/// What `pointer` names in a whole document.
fn expected(value: &Value, tokens: &[&str], found: &mut Vec<String>) {
    let Some((token, rest)) = tokens.split_first() else {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return,
        };
        let whole = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if whole && (text == "0" || !text.starts_with('0')) && !found.contains(&text) {
            found.push(text);
        }
        return;
    };
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                if *token == "*" || *token == at.to_string() {
                    expected(item, rest, found);
                }
            }
        }
        Value::Object(members) => {
            for (key, item) in members {
                if *token == "*" || token == key {
                    expected(item, rest, found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn document() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..50).prop_map(Value::from),
        (-50_i64..0).prop_map(Value::from),
        any::<f32>().prop_map(|n| Value::from(f64::from(n))),
        "[0-9]{0,2}".prop_map(Value::from),
        "[\\PC\"\\\\\n\u{1f600}]{0,4}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[ab0\"]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn it_hears_what_serde_json_reads_in_any_pieces(
        value in document(),
        tokens in prop::collection::vec(prop::sample::select(vec!["*", "a", "b", "0", "1", "\""]), 1..5),
        cut in 1_usize..9,
        pretty in any::<bool>(),
    ) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let pointer: String = tokens.iter().flat_map(|token| ["/", *token]).collect();
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
        let mut names = Vec::new();
        expected(&value, &tokens, &mut names);
        let (ids, unknown) = heard(&[&pointer], &pieces);
        prop_assert_eq!(&ids, &names, "{} {}", pointer, text);
        prop_assert!(matches!(unknown, None | Some(Unheard::Misfit)), "{:?}", unknown);
        prop_assert_eq!(heard(&[&pointer], &[text.as_bytes()]), (ids, unknown));
    }

    #[test]
    fn any_bytes_have_the_same_answer_in_any_pieces(
        bytes in prop::collection::vec(prop::sample::select(b"[]{}\",:\\u0019atruefalsn \n\xef\xbb\xbf\x1e".to_vec()), 0..40),
        cut in 1_usize..5,
    ) {
        let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
        let once = heard(&["/*", "/a"], &[&bytes]);
        prop_assert_eq!(heard(&["/*", "/a"], &pieces), once);
    }

    #[test]
    fn what_serde_json_takes_is_taken(bytes in prop::collection::vec(prop::sample::select(b"[]{}\",:\\0019a.-e \n".to_vec()), 0..14)) {
        if serde_json::from_slice::<Value>(&bytes).is_ok() {
            let (_, unknown) = heard(&["/*"], &[&bytes]);
            prop_assert!(matches!(unknown, None | Some(Unheard::Misfit)));
        }
    }
}
