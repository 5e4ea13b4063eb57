//! Golden lines, and a reader that is independent of how they are written.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::audit::fixture as sample;
use crate::request::{Action, Event};

const GOLDEN: &str = include_str!("../golden/cef.txt");

/// The seven fields of the header, and the extension.
fn read(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut chars = line.chars();
    while fields.len() < 7 {
        match chars.next().unwrap() {
            '\\' => field.push(chars.next().unwrap()),
            '|' => fields.push(std::mem::take(&mut field)),
            plain => field.push(plain),
        }
    }
    let (mut pairs, mut key) = (BTreeMap::new(), String::new());
    let mut value = String::new();
    let mut rest = chars.as_str().chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => value.push(match rest.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                same => same,
            }),
            '=' => {
                // The word before a bare `=` is the next key.
                let next = value.rsplit(' ').next().unwrap().to_owned();
                value.truncate(value.len() - next.len());
                let last = std::mem::replace(&mut key, next);
                if !last.is_empty() {
                    assert_eq!(value.pop(), Some(' '));
                    assert!(pairs.insert(last, std::mem::take(&mut value)).is_none());
                }
                value.clear();
            }
            plain => value.push(plain),
        }
    }
    pairs.insert(key, value);
    (fields, pairs)
}

fn examples() -> Vec<Joined> {
    vec![
        sample::done(Action::Read, &["4", "5"]),
        sample::refused("CG-3001", &["4"]),
        sample::event(
            Event::Login,
            Some(sample::facts(Action::Navigate, &[])),
            &[],
        ),
        sample::event(
            Event::Alarm,
            None,
            &[("rule", "gw-r08"), ("title", "a=b|c\nd"), ("level", "high")],
        ),
    ]
}

#[test]
fn each_kind_is_written_as_it_was() {
    let written: Vec<String> = examples().iter().map(event).collect();
    let golden = GOLDEN.replace("{version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(written, golden.lines().collect::<Vec<_>>());
}

#[test]
fn a_line_reads_back() {
    let (fields, pairs) = read(&event(&sample::refused("CG-3001", &["4"])));
    assert_eq!(fields[0], "CEF:0");
    assert_eq!(fields[4..], ["CG-3001", "read refused", "3"]);
    assert_eq!(pairs["cs1Label"], "patientId");
    assert_eq!(pairs["cs1"], "4");
    assert_eq!(
        (pairs["act"].as_str(), pairs["outcome"].as_str()),
        ("deny", "failure")
    );
    assert_eq!(pairs["suid"], "hospital|f3c1");
    assert_eq!(pairs["rt"], sample::time().as_millisecond().to_string());
    assert_eq!(pairs["externalId"], "01K-request");
}

#[test]
fn an_address_stands_where_receivers_expect_its_kind() {
    for (client, key) in [
        ("10.20.4.17", "src"),
        ("2001:db8::1", "c6a2"),
        ("socket", "shost"),
    ] {
        let mut joined = sample::done(Action::Read, &["4"]);
        client.clone_into(&mut joined.entry.facts.as_mut().unwrap().client);
        assert_eq!(read(&event(&joined)).1[key], client);
    }
}

proptest! {
    #[test]
    fn no_value_ends_its_field(path in "(?s).{0,60}", reason in "(?s).{0,60}", user in "[a-z=|\\\\ \n]{1,20}") {
        let mut joined = sample::event(Event::Alarm, Some(sample::facts(Action::Read, &["4"])), &[("title", &reason), ("level", "low")]);
        path.clone_into(&mut joined.entry.facts.as_mut().unwrap().path);
        let mut operator = sample::event(Event::AuditRead, None, &[("operator", &user)]);
        operator.entry.detail.insert("filter".to_owned(), reason.clone());
        let plain = |text: &str| -> String {
            let kept = |c: char| !c.is_control() || c == '\n' || c == '\r';
            text.chars().map(|c| if kept(c) { c } else { ' ' }).collect()
        };
        let line = event(&joined);
        prop_assert!(!line.contains(['\n', '\r']));
        let (fields, pairs) = read(&line);
        prop_assert_eq!(fields.len(), 7);
        prop_assert_eq!(pairs.get("request").cloned().unwrap_or_default(), plain(&path));
        prop_assert_eq!(&pairs["reason"], &plain(&format!("level=low; title={reason}")));
        prop_assert_eq!(&read(&event(&operator)).1["suser"], &plain(&user));
    }
}
