//! What policy authors run before a change, with the real binary: `policy diff`, `check --format sarif`, `replay`, `learn`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::practice::{Practice, copy};
use crate::harness::process::{Ended, chartgate};

/// The shipped bundle with a further file.
fn bundle(at: &Path, name: &str, text: &str) -> PathBuf {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), at);
    fs::write(at.join(name), text).unwrap();
    at.to_owned()
}

const CLOSED: &str = "@id(\"no-notes\")\n@doc(\"Nobody reads notes.\")\nforbid (principal, action == Action::\"Read\", resource == Section::\"notes\");\n";
const OPEN: &str = "@id(\"billing-notes\")\n@doc(\"Billing reads notes.\")\npermit (principal in Role::\"billing\", action == Action::\"Read\", resource == Section::\"notes\");\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_says_what_changes_and_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    let same = chartgate(&["policy", "diff", shipped, shipped]).await;
    assert_eq!(same.code, Some(0), "{}", same.err);
    assert!(same.out.contains("\nnothing changes\n"), "{}", same.out);

    let new = bundle(&dir.path().join("new"), "open.cedar", OPEN);
    let profile = new.join("emr/sample-clinic.toml");
    let text = fs::read_to_string(&profile).unwrap();
    fs::write(&profile, text.replace("id = \"notes\"\nmethods = [\"GET\"]\npath = \"/chart/notes\"\naction = \"Read\"\nsection = \"notes\"", "id = \"notes\"\nmethods = [\"GET\"]\npath = \"/chart/notes\"\naction = \"Read\"\nsection = \"sensitive\"")).unwrap();
    let new = new.to_str().unwrap();
    let told = chartgate(&["policy", "diff", shipped, new]).await;
    assert_eq!(told.code, Some(1), "{}", told.err);
    for part in [
        "billing (a person)",
        "+ Read notes",
        "by billing-notes",
        "route `notes` means Read sensitive",
        "of 6630 cells 2 permit more, 0 permit less, 0 oblige to something else",
    ] {
        assert!(told.out.contains(part), "{part}\n{}", told.out);
    }
    let json = chartgate(&["policy", "diff", "--json", new, shipped]).await;
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["changes"][0]["change"], "refused");
    assert_eq!(document["changes"][0]["action"], "Read");
    let wrong = chartgate(&["policy", "diff", shipped, "/nowhere"]).await;
    assert_eq!(wrong.code, Some(64), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_sarif_for_code_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let place = bundle(
        &dir.path().join("p"),
        "dead.cedar",
        "@id(\"dead\")\n@doc(\"x\")\npermit (principal in Role::\"nurse\", action == Action::\"Read\", resource == Section::\"notes\")\nwhen { context.zone == \"moon\" };\n",
    );
    let place = place.to_str().unwrap();
    let found = chartgate(&["policy", "check", "--policies", place, "--format", "sarif"]).await;
    assert_eq!(found.code, Some(0), "{}", found.err);
    let document: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(document["version"], "2.1.0");
    let results = document["runs"][0]["results"].as_array().unwrap();
    let dead = results
        .iter()
        .find(|result| result["ruleId"] == "policy-unreachable")
        .unwrap();
    let at = &dead["locations"][0]["physicalLocation"];
    assert_eq!(at["region"]["startLine"], 1);
    let uri = at["artifactLocation"]["uri"].as_str().unwrap();
    assert!(
        uri.starts_with("file:///") && uri.ends_with("dead.cedar"),
        "{uri}"
    );

    let text = chartgate(&["policy", "check", "--policies", place]).await;
    let marked = "warning: the policy \"dead\" can never apply: nobody is in a situation that satisfies it\n";
    assert!(text.out.contains(marked), "{}", text.out);
    assert!(
        text.out.contains("1 | @id(\"dead\")\n  | ^^^^^^^^^^^"),
        "{}",
        text.out
    );
    assert!(
        !text.out.contains('\u{1b}'),
        "no colours away from a terminal"
    );
}

async fn policy(practice: &Practice, command: &[&str]) -> Ended {
    let config = practice.path("chartgate.toml").display().to_string();
    let mut line = vec!["policy"];
    line.extend(command);
    line.extend(["--config", &config]);
    chartgate(&line).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_really_happened_is_put_to_a_candidate_and_taught_from() {
    let practice = Practice::open().await;
    let serving = practice.serve().await;
    let work = practice.browser();
    let mut browser = practice.people.at_work(work, "dr.okafor").await;
    browser
        .visit(&practice.people.url("/patients/select?set_pid=4"))
        .await;
    for _ in 0..3 {
        let page = browser.get(&practice.people.url("/chart/notes")).await;
        assert_eq!(page.status, 200, "{}", page.text());
    }
    let dir = tempfile::tempdir().unwrap();
    let closed = bundle(&dir.path().join("closed"), "closed.cedar", CLOSED);
    let closed = closed.to_str().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

    // Through the running gateway, then from disk: the same.
    let running = policy(&practice, &["replay", "--policies", closed, "--json"]).await;
    assert_eq!(running.code, Some(1), "{}", running.err);
    assert_eq!(serving.process.stop().await.code, Some(0));
    let offline = policy(&practice, &["replay", "--policies", closed, "--json"]).await;
    assert_eq!(offline.code, Some(1), "{}", offline.err);
    for ended in [&running, &offline] {
        let document: Value = serde_json::from_str(&ended.out).unwrap();
        let refused = &document["changes"]["refused"];
        assert_eq!(refused["total"], 3, "{document:#}");
        assert_eq!(refused["by"]["role"]["physician"], 3);
        let group = &refused["groups"][0];
        assert_eq!(group["section"], "notes");
        assert_eq!(group["examples"].as_array().unwrap().len(), 3);
        assert_eq!(document["changes"]["admitted"]["total"], 0);
        assert!(!ended.out.contains("okafor"), "no user is named");
    }
    let told = policy(&practice, &["replay", "--policies", closed]).await;
    assert!(told.out.contains("3 would be refused now"), "{}", told.out);
    assert!(
        told.out.contains("physician: Read notes (route notes of "),
        "{}",
        told.out
    );
    let same = policy(&practice, &["replay", "--policies", shipped]).await;
    assert_eq!(same.code, Some(0), "{}{}", same.out, same.err);

    let learned = [
        "learn",
        "--min-users",
        "1",
        "--min-uses",
        "3",
        "--policies",
        shipped,
    ];
    let learned = policy(&practice, &learned).await;
    assert_eq!(learned.code, Some(0), "{}", learned.err);
    for part in [
        "@id(\"learned-physician-1\")",
        "Section::\"notes\"",
        "Nothing of it is in force",
    ] {
        assert!(learned.out.contains(part), "{part}\n{}", learned.out);
    }
    assert!(learned.err.contains("cannot be known:"), "{}", learned.err);
    let taught = bundle(&dir.path().join("taught"), "learned.cedar", &learned.out);
    let check = chartgate(&["policy", "check", "--policies", taught.to_str().unwrap()]).await;
    assert_eq!(check.code, Some(0), "{}{}", check.out, check.err);
    let inside = taught.join("own.cedar").display().to_string();
    let into = [
        "learn",
        "--policies",
        taught.to_str().unwrap(),
        "--out",
        &inside,
    ];
    let into = policy(&practice, &into).await;
    assert_eq!(into.code, Some(64), "{}", into.err);
    assert!(into.err.contains("lies in the bundle"));
    let (code, found) = practice.verify().await;
    assert_eq!((code, &found["intact"]), (Some(0), &true.into()), "{found}");
}
