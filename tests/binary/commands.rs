//! What a newcomer types before anything serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::process::{Process, chartgate};

#[tokio::test(flavor = "multi_thread")]
async fn what_init_writes_passes_the_check_and_serve_refuses_what_the_check_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("gate");
    let config = place.join("chartgate.toml");
    let (place, config) = (place.to_str().unwrap(), config.to_str().unwrap());
    let extra = [
        "--host",
        "emr.clinic.example",
        "--emr-url",
        "https://10.1.2.3:8443",
    ];
    let made = chartgate(&[&["init", place], &extra[..]].concat()).await;
    assert_eq!(made.code, Some(0), "{}", made.err);

    // Only the operator knows the client secret, and the check says so.
    let check = ["check", "--offline", "--config", config];
    let incomplete = chartgate(&check).await;
    assert_eq!(incomplete.code, Some(64));
    assert!(
        incomplete.out.contains("client_secret"),
        "{}",
        incomplete.out
    );
    let secret = dir.path().join("gate/secrets/client_secret");
    fs::write(&secret, "s3cret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let complete = chartgate(&check).await;
    assert_eq!(complete.code, Some(0), "{}", complete.out);
    assert!(complete.out.contains("is fit to run with"));
    // From within the directory the file need not be named.
    let inside = Process::start_in(place, &["check", "--offline"]);
    let inside = inside.ended().await;
    assert_eq!(inside.code, Some(0), "{}", inside.out);

    let text = fs::read_to_string(config).unwrap();
    let broken = format!("{text}\n[identiy]\nidle = \"1m\"\n");
    let line = broken.lines().position(|line| line == "[identiy]").unwrap() + 1;
    fs::write(config, broken).unwrap();
    let refused = chartgate(&check).await;
    assert_eq!(refused.code, Some(64));
    assert!(
        refused.out.contains(&format!("{config}:{line}")),
        "{}",
        refused.out
    );
    let serve = chartgate(&["serve", "--config", config]).await;
    assert_eq!(serve.code, Some(64), "{}", serve.out);
    assert!(
        serve.err.contains(&format!("{config}:{line}")) && serve.out.is_empty(),
        "{}",
        serve.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_of_refusals_is_the_document() {
    let printed = chartgate(&["refusals"]).await;
    assert_eq!(printed.code, Some(0), "{}", printed.err);
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/refusals.md");
    assert_eq!(printed.out, fs::read_to_string(document).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_the_packages() {
    for arguments in [&["version"][..], &["--version"]] {
        let printed = chartgate(arguments).await;
        assert_eq!(printed.code, Some(0));
        assert!(
            printed.out.contains(env!("CARGO_PKG_VERSION")),
            "{}",
            printed.out
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_64_and_every_help_is_fine() {
    for arguments in [
        &["--frobnicate"][..],
        &["serve", "--frobnicate"],
        &["audit", "show", "--patient"],
        &["audit"],
        &["frobnicate"],
    ] {
        let refused = chartgate(arguments).await;
        assert_eq!(refused.code, Some(64), "{arguments:?}: {}", refused.err);
        assert!(
            refused.out.is_empty() && !refused.err.is_empty(),
            "{arguments:?}"
        );
    }
    let top = chartgate(&["--help"]).await;
    assert_eq!(top.code, Some(0));
    let mut paths: Vec<Vec<String>> = commands(&top.out)
        .into_iter()
        .map(|command| vec![command])
        .collect();
    while let Some(path) = paths.pop() {
        let mut line: Vec<&str> = path.iter().map(String::as_str).collect();
        line.push("--help");
        let help = chartgate(&line).await;
        assert_eq!(help.code, Some(0), "{path:?}: {}", help.err);
        if help.out.contains("Commands:") {
            let leaves = commands(&help.out).into_iter();
            paths.extend(leaves.map(|leaf| [&path[..], &[leaf]].concat()));
        } else {
            assert!(help.out.contains("Example"), "{path:?}");
        }
    }
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.split_once("Commands:\n").unwrap().1;
    let names: Vec<String> = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert!(!names.is_empty(), "{help}");
    names
}
