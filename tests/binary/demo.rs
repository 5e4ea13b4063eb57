//! `chartgate demo` scripted, and its trail read while it runs and after.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Browser;
use crate::harness::people::{People, person};
use crate::harness::practice::{entries, eventually};
use crate::harness::process::{Process, chartgate};

struct Demo {
    process: Process,
    facts: Value,
    people: People,
    _dir: tempfile::TempDir,
}

impl Demo {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("clinic");
        let mut process = Process::start(&[
            "demo",
            "--json",
            "--port",
            "0",
            "--data-dir",
            data.to_str().unwrap(),
        ]);
        let line = process.line().await.unwrap();
        let facts: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(facts["data_dir"], data.to_str().unwrap());
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        let people = People::of(&text("url"), &text("issuer"));
        Self {
            process,
            facts,
            people,
            _dir: dir,
        }
    }

    fn config(&self) -> PathBuf {
        PathBuf::from(self.facts["config"].as_str().unwrap())
    }

    fn browser(&self) -> Browser {
        let url = url::Url::parse(self.facts["url"].as_str().unwrap()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
        Browser::new(Path::new(self.facts["ca_cert"].as_str().unwrap()), address)
    }

    /// A physician opens the chart of patient 4.
    async fn open_a_chart(&self) -> Browser {
        let mut browser = self.people.at_work(self.browser(), "dr.okafor").await;
        let page = browser
            .visit(&self.people.url("/patients/select?set_pid=4"))
            .await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(page.url.path() == "/chart", "{}", page.url);
        browser
    }
}

/// The readings of the trail that the demonstration's operator did.
fn readings(trail: &[Value]) -> Vec<&Value> {
    trail
        .iter()
        .filter(|entry| entry["event"] == "audit_read")
        .inspect(|entry| assert_eq!(entry["detail"]["operator"], "demo-operator"))
        .collect()
}

fn path_of(entry: &Value) -> &str {
    entry["facts"]["path"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_line_is_enough_to_sign_in_and_the_trail_can_be_read_afterwards() {
    let demo = Demo::open().await;
    for user in demo.facts["users"].as_array().unwrap() {
        let known = person(user["name"].as_str().unwrap());
        assert_eq!(user["password"], known.password());
        assert_eq!(user["totp_secret"].as_str(), known.totp_secret().as_deref());
        assert!(!user["roles"].as_array().unwrap().is_empty());
    }
    assert!(
        demo.facts["users"]
            .as_array()
            .unwrap()
            .iter()
            .any(|user| user["totp_secret"].is_null())
    );
    let login = demo.facts["emr_login"]["url"].as_str().unwrap();
    assert_eq!(login, demo.people.url("/login"));
    assert!(demo.facts["emr_login"]["password"].is_string());
    demo.open_a_chart().await;

    let config = demo.config();
    let config = config.to_str().unwrap();
    let ended = demo.process.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out.lines().count(), 1, "one line and no more");

    let verified = chartgate(&["audit", "verify", "--config", config]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.out);
    assert!(
        verified.out.contains("closed it in good order"),
        "{}",
        verified.out
    );
    assert!(verified.out.contains("intact up to record"));

    let show = ["audit", "show", "--config", config, "--json"];
    let of_patient = [&show[..], &["--patient", "4"]].concat();
    let shown = chartgate(&of_patient).await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let about = entries(&shown.out);
    let chart = about
        .iter()
        .find(|entry| entry["phase"] == "admit" && path_of(entry) == "/chart")
        .expect("the access is listed");
    assert!(
        about.iter().any(|entry| entry["of"] == chart["id"]),
        "with its outcome"
    );
    assert!(
        about.iter().all(|entry| path_of(entry) != "/login"),
        "and nothing else"
    );
    let all = chartgate(&show).await;
    let all = entries(&all.out);
    let readings = readings(&all);
    assert_eq!(readings.len(), 2, "both readings are on record");
    assert!(
        readings[0]["detail"]["filter"]
            .as_str()
            .unwrap()
            .contains("\"4\"")
    );
    let verified = chartgate(&["audit", "verify", "--config", config]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_shows_its_trail_and_records_who_reads_it() {
    let demo = Demo::open().await;
    let config = demo.config();
    let config = config.to_str().unwrap();
    let mut follower = Process::start(&["audit", "show", "--follow", "--json", "--config", config]);
    // The follower is on record before it sees anything, so its own reading is what it can wait for.
    loop {
        let line = follower.line().await.unwrap();
        if entries(&line)[0]["event"] == "audit_read" {
            break;
        }
    }
    let mut browser = demo.open_a_chart().await;
    let page = browser
        .get(&demo.people.url("/chart/notes?seen=by-follower"))
        .await;
    assert_eq!(page.status, 200, "{}", page.text());
    loop {
        let line = follower.line().await.unwrap();
        let entry = entries(&line).remove(0);
        if entry["phase"] == "admit" && path_of(&entry) == "/chart/notes" {
            let name = &entry["facts"]["principal"];
            assert!(name.to_string().contains("dr.okafor"), "{name}");
            break;
        }
    }
    drop(follower);

    let show = ["audit", "show", "--config", config];
    let of_user = [&show[..], &["--user", "dr.okafor"]].concat();
    let shown = chartgate(&of_user).await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(shown.out.contains("/chart/notes"), "{}", shown.out);
    let all = eventually("both readings", async || {
        let shown = chartgate(&[&show[..], &["--json"]].concat()).await;
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        let all = entries(&shown.out);
        (readings(&all).len() >= 3).then_some(all)
    })
    .await;
    let filters: Vec<&str> = readings(&all)
        .iter()
        .map(|entry| entry["detail"]["filter"].as_str().unwrap())
        .collect();
    assert!(filters[1].contains("dr.okafor"), "{filters:?}");
    assert_eq!(demo.process.stop().await.code, Some(0));
}
