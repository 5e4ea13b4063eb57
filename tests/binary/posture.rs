//! `chartgate posture` over a directory as `init` makes it, put right, and then broken in one way after another; and
//! over a gateway that serves, before and after.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::practice::Practice;
use crate::harness::process::chartgate;

/// What fails in a directory on one disk that nobody has lived in yet, and nothing else.
const NEW: &[&str] = &[
    "advisories-fresh",
    "backup-elsewhere",
    "bypass-probed",
    "alarms-sent",
    "browsers-current",
    "operators-named",
    "response-plan",
    "sign-in-notice",
    "witness-elsewhere",
];

/// What is broken in one file, and which checks see it; the bundle's own tables see its policies, too.
const TAMPERED: &[(&str, &str, &str, &str)] = &[
    (
        "chartgate.toml",
        "idle_timeout = \"15m\"",
        "idle_timeout = \"3h\"",
        "idle-timeout",
    ),
    (
        "policies/guards.cedar",
        "unless { context.mfa }",
        "unless { context.mfa || context.lockdown == 0 }",
        "decision-tables mfa-policy",
    ),
    (
        "policies/training.cedar",
        "== \"lapsed\"",
        "== \"current\"",
        "decision-tables overdue-restricts",
    ),
    (
        "policies/emr/opal.toml",
        "mode = \"block\"",
        "mode = \"detect\"",
        "inspection-blocks",
    ),
];

async fn assess(config: &Path, extra: &[&str]) -> (Option<i32>, Value) {
    let mut line = vec!["posture", "--config", config.to_str().unwrap(), "--json"];
    line.extend(extra);
    let run = chartgate(&line).await;
    let report = serde_json::from_str(&run.out);
    let report = report.unwrap_or_else(|error| panic!("{error}: {}{}", run.out, run.err));
    (run.code, report)
}

fn failing(report: &Value) -> Vec<&str> {
    let failing = report["summary"]["failing"].as_array().unwrap().iter();
    let mut ids: Vec<&str> = failing.map(|id| id.as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn verdict<'r>(report: &'r Value, id: &str) -> &'r str {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id);
    check.unwrap()["verdict"].as_str().unwrap()
}

/// A directory as `init` makes it, with its client secret put in.
async fn initialised(directory: &Path) -> PathBuf {
    let made = chartgate(&["init", directory.to_str().unwrap()]).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let secret = directory.join("secrets/client_secret");
    fs::write(&secret, "s3cret\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    directory.join("chartgate.toml")
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn closed(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

/// What can be put right in one place.
fn put_right(home: &Path, config: &Path) {
    replace(
        config,
        "0 = \"root\"",
        "4001 = \"alice\"\n4002 = \"bob\"\n\n[client.browsers]\nchrome = 120\nedge = 120\nfirefox = 115\nsafari = 17\nbelow = \"refuse\"\n\n[client.sign_in_banner]\ntext = \"For patient care only.\"\n\n[segmentation]\n[[segmentation.probe]]\nname = \"other\"\nemr = \"emr\"\naddress = \"192.0.2.10:8080\"",
    );
    let plan = home.join("policies/response/incident-response.md");
    let filled = fs::read_to_string(&plan).unwrap().replace('⟨', "");
    fs::write(&plan, filled).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_directory_is_put_right_and_each_break_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("gateway");
    let config = initialised(&home).await;
    let mut expected = NEW.to_vec();
    expected.sort_unstable();
    let (code, before) = assess(&config, &["--offline"]).await;
    assert_eq!(failing(&before), expected, "{before}");
    assert_eq!(code, Some(1));
    assert_eq!(before["gateway"], "gateway not running");
    assert_eq!(verdict(&before, "trail-intact"), "unknown");
    assert_eq!(verdict(&before, "not-root"), "unknown");

    put_right(&home, &config);
    let (_, after) = assess(&config, &["--offline"]).await;
    let left = failing(&after);
    for right in [
        "operators-named",
        "bypass-probed",
        "response-plan",
        "browsers-current",
        "sign-in-notice",
    ] {
        assert_eq!(verdict(&after, right), "pass", "{right}: {after}");
        assert!(!left.contains(&right), "{left:?}");
    }
    let left: Vec<String> = left.into_iter().map(str::to_owned).collect();

    // And what is broken in one place, each on its own.
    let master = home.join("keys/master.key");
    let guards = home.join("policies/guards.cedar");
    let is_seen = async |id: &str| {
        let (code, report) = assess(&config, &["--offline"]).await;
        assert_eq!(code, Some(1), "{id}");
        let found = failing(&report);
        assert!(found.contains(&id), "{id} was not seen: {found:?}");
        let new: Vec<&str> = found
            .into_iter()
            .filter(|found| !left.iter().any(|left| left == found))
            .collect();
        new.join(" ")
    };
    closed(&guards, 0o666);
    assert_eq!(
        is_seen("configuration-closed").await,
        "configuration-closed"
    );
    closed(&guards, 0o600);
    for (file, from, to, seen) in TAMPERED {
        let file = home.join(file);
        let kept = fs::read(&file).unwrap();
        replace(&file, from, to);
        let id = seen.split(' ').next_back().unwrap();
        assert_eq!(is_seen(id).await, *seen);
        fs::write(&file, kept).unwrap();
    }
    fs::rename(home.join("keys/store.recovery"), home.join("keys/away")).unwrap();
    assert_eq!(is_seen("keys-recoverable").await, "keys-recoverable");
    fs::rename(home.join("keys/away"), home.join("keys/store.recovery")).unwrap();
    closed(&master, 0o644);
    // `check` sees it, too, and a key that others can read is not used.
    assert_eq!(
        is_seen("secrets-private").await,
        "configuration-fit keys-readable secrets-private"
    );
    closed(&master, 0o600);
    assert_eq!(is_seen("alarms-sent").await, "", "everything is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_gateway_is_asked_on_the_wire_and_puts_the_assessment_on_record() {
    let practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let config = practice.path("chartgate.toml");
    let shown = config.to_str().unwrap();
    let (code, before) = assess(&config, &[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(before["gateway"], "running");
    for good in [
        "tls-versions",
        "tls-suites",
        "trail-intact",
        "trail-durable",
        "no-bypass",
        "detector-follows",
        "version-running",
        "mfa-policy",
    ] {
        assert_eq!(verdict(&before, good), "pass", "{good}: {before}");
    }
    for bad in ["backup-fresh", "restore-drilled", "permission-review"] {
        assert!(failing(&before).contains(&bad), "{bad}: {before}");
    }
    for work in [
        &["backup", "run"][..],
        &["backup", "drill"],
        &["policy", "review", "--sign-off"],
    ] {
        let line: Vec<&str> = work.iter().copied().chain(["--config", shown]).collect();
        let done = chartgate(&line).await;
        assert_eq!(done.code, Some(0), "{work:?}: {}{}", done.out, done.err);
    }
    let (_, after) = assess(&config, &[]).await;
    for good in ["backup-fresh", "restore-drilled", "permission-review"] {
        assert_eq!(verdict(&after, good), "pass", "{good}: {after}");
    }
    let status = chartgate(&["status", "--config", shown]).await;
    assert!(status.out.contains("posture"), "{}", status.out);
    assert!(status.out.contains("assessed "), "{}", status.out);

    let page = practice.path("posture.html");
    let html = [
        "posture",
        "--config",
        shown,
        "--html",
        page.to_str().unwrap(),
    ];
    let written = chartgate(&html).await;
    assert!(written.out.contains(" checks: "), "{}", written.out);
    let mode = fs::metadata(&page).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "the page is nobody else's business");
    assert!(
        fs::read_to_string(&page)
            .unwrap()
            .contains("45 CFR 164.312(b)")
    );

    assert_eq!(serving.process.stop().await.code, Some(0));
    // What the store keeps is known of a stopped gateway, too; and no copy of it is left behind.
    let (_, stopped) = assess(&config, &[]).await;
    assert_eq!(verdict(&stopped, "backup-fresh"), "pass", "{stopped}");
    assert_eq!(verdict(&stopped, "tls-versions"), "unknown", "{stopped}");
    let trail = practice.trail().await;
    let assessed: Vec<&Value> = trail
        .iter()
        .filter(|entry| entry["event"] == "posture_assessed")
        .collect();
    assert_eq!(
        assessed.len(),
        3,
        "one for each assessment of a running gateway"
    );
    let counted = before["summary"]["failed"].to_string();
    assert_eq!(assessed[0]["detail"]["failed"], counted.as_str());
}
