//! Operators who are not the gateway's user: what asks the running gateway needs its configuration file, and none of the
//! keys and secrets that it names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::practice::{Practice, copy, witnessed};
use crate::harness::process::{Ended, chartgate};

/// The practice's configuration as somebody sees it who cannot open the files that it names: it stands where there is
/// nothing but the policies.
fn as_an_operator(practice: &Practice, place: &Path) -> PathBuf {
    let text = fs::read_to_string(practice.path("chartgate.toml")).unwrap();
    let socket = "socket = \"data/admin.sock\"";
    assert!(text.contains(socket), "{text}");
    let own = format!(
        "socket = \"{}\"",
        practice.path("data/admin.sock").display()
    );
    let config = place.join("chartgate.toml");
    fs::write(&config, text.replace(socket, &own)).unwrap();
    copy(&practice.path("policies"), &place.join("policies"));
    config
}

async fn run(command: &[&str], config: &Path) -> Ended {
    chartgate(&[command, &["--config", config.to_str().unwrap()]].concat()).await
}

/// What the gateway does at once for whoever asks.
const ANSWERED: [&[&str]; 31] = [
    &["audit", "query"],
    &["audit", "show"],
    &["audit", "export", "--format", "csv"],
    &["audit", "reindex"],
    &["audit", "retention"],
    &["audit", "hold", "list"],
    &[
        "audit",
        "hold",
        "add",
        "--matter",
        "m",
        "--patient",
        "4",
        "--reason",
        "r",
    ],
    &["report", "patient", "4"],
    &["report", "disclosures", "4"],
    &["report", "activity", "--since", "1h", "--sign-off", "--yes"],
    &[
        "disclosure",
        "record",
        "--patient",
        "4",
        "--to",
        "a",
        "--what",
        "b",
        "--purpose",
        "HLEGAL",
    ],
    &["policy", "activate"],
    &["policy", "history"],
    &["policy", "learn"],
    &["policy", "replay"],
    &["policy", "review", "--sign-off"],
    &["policy", "shadow", "--report"],
    &["session", "list"],
    &["session", "revoke", "--all", "--yes", "--reason", "r"],
    &["user", "lock", "nurse.lind", "--reason", "r"],
    &["token", "list"],
    &["lockdown", "status"],
    &["breakglass", "list"],
    &["breakglass", "declared"],
    &["case", "list"],
    &["incident", "list"],
    &["training", "status"],
    &["certificates", "reload"],
    &["segmentation", "probe"],
    &["backup", "run"],
    &["backup", "list"],
];

/// What it may have something to say against; it is asked.
const ASKED: [&[&str]; 13] = [
    &["status"],
    &["update", "check"],
    &["audit", "prove", "1"],
    &["audit", "archive", "run"],
    &["audit", "archive", "list"],
    &["audit", "archive", "verify"],
    &["policy", "rollback", "--reason", "r"],
    &[
        "policy",
        "explain",
        "--request",
        "01a22e9d-0000-7000-8000-000000000000",
    ],
    &["emergency-account", "list"],
    &["factor", "list"],
    &["notify", "test"],
    &["provisioning", "status"],
    &["backup", "verify"],
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_the_running_gateway_needs_none_of_its_secrets() {
    let practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let page = practice.browser().get(&practice.people.url("/chart")).await;
    assert_eq!(page.status, 303);
    witnessed(&practice.path("")).await;
    let place = tempfile::tempdir().unwrap();
    let config = as_an_operator(&practice, place.path());
    for command in ANSWERED {
        let Ended { code, out, err } = run(command, &config).await;
        assert_eq!(code, Some(0), "{command:?}: {out}{err}");
    }
    for command in ASKED {
        let Ended { code, out, err } = run(command, &config).await;
        let said = format!("{command:?} {code:?}: {out}{err}");
        assert!(
            !err.contains("cannot be read") && !err.contains("not running"),
            "{said}"
        );
    }
    let shown = run(&["audit", "show", "--json"], &config).await;
    assert!(shown.out.contains("audit_read"), "{}", shown.out);

    assert_eq!(serving.process.stop().await.code, Some(0));
    nobody_answers(&config).await;
    // Whoever can read the keys still reads the trail without a gateway.
    let own = practice.audit(&["query", "--event", "break-glass"]).await;
    assert_eq!(own.code, Some(0), "{}", own.err);
}

/// What needs the keys then says that the gateway is not running before it says what cannot be read.
async fn nobody_answers(config: &Path) {
    for command in [
        &["audit", "query"][..],
        &["audit", "show"],
        &["audit", "archive", "verify"],
        &["backup", "list"],
        &["report", "activity"],
        &[
            "disclosure",
            "record",
            "--patient",
            "4",
            "--to",
            "a",
            "--what",
            "b",
            "--purpose",
            "HLEGAL",
        ],
        &["policy", "learn"],
    ] {
        let Ended { code, out, err } = run(command, config).await;
        assert_eq!(code, Some(64), "{command:?}: {out}{err}");
        let first = err.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("error: the gateway is not running: nobody answers at `"),
            "{command:?}: {err}"
        );
        assert!(err.contains("keys/master.key` cannot be read"), "{err}");
    }
    let status = run(&["status"], config).await;
    assert_eq!(status.code, Some(1), "{}", status.err);
    assert!(
        status.err.contains("the gateway is not running"),
        "{}",
        status.err
    );
}
