//! Tests of the commands that prove something to others: proofs of records, and checkpoints that came by another way.

use std::fs;
use std::path::Path;

use super::tests::{call, initialised, segments};
use crate::cli::console::testing::Captured;
use crate::cli::{Exit, run as command};
use crate::clock::SystemClock;

#[test]
fn a_record_is_proven_to_whoever_has_the_public_key() {
    let temporary = tempfile::tempdir().unwrap();
    let config = initialised(temporary.path());
    let path = |name: &str| temporary.path().join(name).display().to_string();
    let (key, witness) = (path("keys/signing.pub"), path("witness/checkpoints"));
    assert_eq!(
        call(&["audit", "show", "--config", &config]).exit,
        Exit::Fine
    );
    let file = path("proof.json");
    let made = call(&[
        "audit", "prove", "1", "--output", &file, "--config", &config,
    ]);
    assert_eq!(made.exit, Exit::Fine, "{}", made.err);
    assert!(
        made.err.contains("1 record proven; on record"),
        "{}",
        made.err
    );
    let again = call(&[
        "audit", "prove", "1", "--output", &file, "--config", &config,
    ]);
    assert_eq!(again.exit, Exit::Configuration, "{}", again.err);

    let check = |file: &str, more: &[&str]| {
        call(&[&["audit", "check-proof", file, "--key", &key], more].concat())
    };
    let checked = check(&file, &["--witness", &witness]);
    assert_eq!(checked.exit, Exit::Fine, "{}{}", checked.out, checked.err);
    for words in [
        "record 1 stands in the trail of",
        "which the witness holds",
        "\"phase\"",
    ] {
        assert!(checked.out.contains(words), "{words} {}", checked.out);
    }
    let checked = check(&file, &["--json"]);
    let said: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(said["proven"], true, "{said}");
    let id = said["records"][0]["entry"]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let sealed = call(&[
        "audit",
        "prove",
        &id,
        "--without-content",
        "--config",
        &config,
    ]);
    assert_eq!(sealed.exit, Exit::Fine, "{}", sealed.err);
    assert!(!sealed.out.contains("\"key\""), "{}", sealed.out);
    fs::write(path("sealed.json"), &sealed.out).unwrap();
    let checked = check(&path("sealed.json"), &["--json"]);
    let said: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(said["records"][0]["sequence"], 1, "{said}");
    assert_eq!(said["records"][0]["entry"], serde_json::Value::Null);

    what_does_not_fit_is_said(temporary.path(), &file);
    let shown = call(&["audit", "show", "--config", &config, "--json"]);
    assert!(
        shown.out.contains(&format!("prove {id} without content")),
        "its asking: {}",
        shown.out
    );
}

fn what_does_not_fit_is_said(directory: &Path, file: &str) {
    let path = |name: &str| directory.join(name).display().to_string();
    let (key, config) = (path("keys/signing.pub"), path("chartgate.toml"));
    let check = |file: &str, more: &[&str]| {
        call(&[&["audit", "check-proof", file, "--key", &key], more].concat())
    };
    let whole = fs::read_to_string(file).unwrap();
    let altered = whole.replacen("\"index\": 1", "\"index\": 2", 1);
    assert_ne!(altered, whole);
    fs::write(path("altered.json"), altered).unwrap();
    let refused = check(&path("altered.json"), &[]);
    assert_eq!(refused.exit, Exit::Failed);
    assert!(
        refused.err.contains("NOT PROVEN: record 1"),
        "{}",
        refused.err
    );
    fs::write(path("nothing"), "").unwrap();
    let unwitnessed = check(file, &["--witness", &path("nothing")]);
    assert_eq!(unwitnessed.exit, Exit::Failed);
    assert!(
        unwitnessed.out.contains("NOT WITNESSED"),
        "{}",
        unwitnessed.out
    );

    for (name, words) in [
        ("99999", "no record 99999"),
        (
            "0199c5a2-7c1e-7d5c-9d1e-3f0a5b2c7e11",
            "no record and no request",
        ),
    ] {
        let missing = call(&["audit", "prove", name, "--config", &config]);
        assert_eq!(missing.exit, Exit::Failed);
        assert!(missing.err.contains(words), "{}", missing.err);
    }
}

#[test]
fn checkpoints_that_came_by_another_way_are_held_against_the_trail() {
    let temporary = tempfile::tempdir().unwrap();
    let config = initialised(temporary.path());
    let path = |name: &str| temporary.path().join(name).display().to_string();
    for _ in 0..2 {
        assert_eq!(
            call(&["audit", "show", "--config", &config]).exit,
            Exit::Fine
        );
    }
    let witness = path("witness/checkpoints");
    let held = fs::read_to_string(&witness).unwrap();
    let (text, _) = held.trim_end().rsplit_once("\n\n\n").unwrap_or(("", ""));
    let newest = held.get(text.len()..).unwrap().trim_start();
    // As a mail program leaves it.
    let mailed = newest.replace('\n', "\r\n");
    fs::write(path("mailed.txt"), mailed.trim_end()).unwrap();
    let verify =
        |more: &[&str]| call(&[&["audit", "verify", "--config", &config, "--json"], more].concat());
    let mailed = path("mailed.txt");
    let found = verify(&["--checkpoint", &mailed]);
    assert_eq!(found.exit, Exit::Fine, "{}{}", found.out, found.err);
    let piped = Captured::run_with(newest, |console| {
        let line = [
            "chartgate",
            "audit",
            "verify",
            "--config",
            &config,
            "--checkpoint",
            "-",
        ];
        command(line, console, &SystemClock::shared())
    });
    assert_eq!(piped.exit, Exit::Fine, "{}{}", piped.out, piped.err);

    let newest = segments(temporary.path()).pop().unwrap();
    fs::remove_file(&newest).unwrap();
    fs::write(&witness, "").unwrap();
    fs::remove_file(path("data/trail/checkpoints")).unwrap();
    let cleared = verify(&[]);
    assert_eq!(
        cleared.exit,
        Exit::Failed,
        "a cleared witness proves nothing"
    );
    let found = verify(&["--checkpoint", &mailed]);
    assert_eq!(found.exit, Exit::Failed);
    let said: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(said["kind"], "truncated", "{said}");

    fs::write(path("torn.txt"), "a letter\n").unwrap();
    let none = verify(&["--checkpoint", &path("torn.txt")]);
    assert_eq!(none.exit, Exit::Failed);
    assert!(none.err.contains("holds no checkpoint"), "{}", none.err);
    let when = verify(&["--since", "yesterday"]);
    assert_eq!(when.exit, Exit::Configuration, "{}", when.err);
    let since = verify(&["--since", "24h"]);
    assert_eq!(since.exit, cleared.exit, "{}", since.err);
}
