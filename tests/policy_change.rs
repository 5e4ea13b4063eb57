//! The change of a bundle itself: gone back from, held over a restart, signed, tried in the shadow.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::audit::entry::{Entry, Phase};
use chartgate::audit::log::{MasterKey, SigningKey};
use chartgate::clock::SystemClock;
use chartgate::operate::permissions::{Ask, Start, trust};
use chartgate::policy::bundle::Bundle;
use chartgate::request::Event;
use chartgate::store::Store;

use crate::harness::practice::eventually;
use crate::harness::process::chartgate;
use crate::harness::{Browser, House};
use crate::policy::{policy, status};

const NO_NOTES: &str = "\n@id(\"no-notes\")\n@doc(\"Nurses read no notes.\")\nforbid (\n  principal in Role::\"nurse\",\n  action,\n  resource == Section::\"notes\"\n);\n";

fn policies(house: &House) -> PathBuf {
    house.data_dir().join("policies")
}

fn raise_version(house: &House, version: &str) {
    let text = format!("name = \"chartgate-hospital\"\nversion = \"{version}\"\n");
    fs::write(policies(house).join("bundle.toml"), text).unwrap();
}

fn in_force(house: &House) -> Bundle {
    house.clinic.stages().policies.active().bundle().clone()
}

async fn nurse(house: &House) -> Browser {
    let mut nurse = house.at_work("nurse.lind").await;
    nurse.visit(&house.url("/patients/select?set_pid=4")).await;
    nurse
}

/// A bundle in which nurses read no notes, without tables that would mind.
fn worsen(house: &House, version: &str) {
    drop(fs::remove_dir_all(policies(house).join("tests")));
    fs::write(policies(house).join("nurses.cedar"), NO_NOTES).unwrap();
    raise_version(house, version);
}

/// Copies the files of `from`, without its directories, to a new directory.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn newest(house: &House, event: Event) -> Entry {
    let found = house
        .trail()
        .into_iter()
        .rfind(|entry| entry.event == Some(event));
    found.unwrap()
}

/// What was in force is listed, newest first, and nothing is further back.
async fn history_says_so(house: &House, good: &str) {
    let listed = policy(house, &["history"]).await.out;
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(
        lines[0].contains(&good[..12])
            && lines[0].ends_with("rolled back to by demo-operator: nurses cannot read notes"),
        "{listed}"
    );
    assert!(
        lines[1].contains("2.0.0  because its files changed") && lines[2].contains("at the start"),
        "{listed}"
    );
    let again = policy(house, &["rollback", "--reason", "x"]).await;
    assert_eq!(
        again.code,
        Some(1),
        "there is nothing further back: {}",
        again.out
    );
}

/// Who went back to what from what and why is on record, and so is each request under it.
fn going_back_is_on_record(house: &House, good: &str, bad: &str) {
    let record = newest(house, Event::PolicyActivated).detail;
    assert_eq!(record["how"], "rollback");
    assert_eq!(record["operator"], "demo-operator");
    assert_eq!(record["reason"], "nurses cannot read notes");
    assert_eq!(
        (&*record["sha256"], &*record["previous_sha256"]),
        (good, bad)
    );
    let admitted = house
        .trail()
        .into_iter()
        .rfind(|entry| entry.phase == Phase::Admit);
    assert_eq!(
        admitted.unwrap().facts.unwrap().bundle.unwrap().to_string(),
        good[..16]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_one_command_and_holds_until_the_files_change() {
    let house = House::open_with(|config| {
        config.policy.watch_interval = Duration::from_millis(50);
    })
    .await;
    let (good, version) = {
        let bundle = in_force(&house);
        (bundle.digest().to_owned(), bundle.version().to_owned())
    };
    let mut nurse = nurse(&house).await;
    let none = policy(&house, &["rollback", "--reason", "x"]).await;
    assert_eq!(none.code, Some(1));
    assert!(
        none.err.contains("no other bundle was in force before"),
        "{}",
        none.err
    );

    worsen(&house, "2.0.0");
    eventually("the worse bundle", async || {
        (in_force(&house).version() == "2.0.0").then_some(())
    })
    .await;
    let bad = in_force(&house).digest().to_owned();
    assert_eq!(
        nurse.get(&house.url("/chart/notes")).await.refusal(),
        Some("CG-3001")
    );
    let refused = house
        .trail()
        .into_iter()
        .rfind(|entry| entry.phase == Phase::Refuse);
    let mark = refused.unwrap().facts.unwrap().bundle.unwrap().to_string();
    assert_eq!(mark, bad[..16], "the record names the bundle");

    let back = policy(
        &house,
        &["rollback", "--reason", "nurses cannot read notes"],
    )
    .await;
    assert_eq!(back.code, Some(0), "{}", back.err);
    assert!(
        back.out
            .contains(&format!("chartgate-hospital {version} is in force")),
        "{}",
        back.out
    );
    assert_eq!(in_force(&house).digest(), good);
    assert_eq!(nurse.get(&house.url("/chart/notes")).await.status, 200);
    going_back_is_on_record(&house, &good, &bad);

    // The watch sees files that are touched, and leaves what was decided.
    let text = fs::read_to_string(policies(&house).join("nurses.cedar")).unwrap();
    fs::write(policies(&house).join("nurses.cedar"), &text).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(in_force(&house).digest(), good);
    let shown = status(&house).await;
    assert!(
        shown.contains("LOOK  policy-bundle") && shown.contains("rolled back by demo-operator"),
        "{shown}"
    );
    history_says_so(&house, &good).await;

    // So does a start; the other way round, whoever changes the files is heard.
    let forth = policy(
        &house,
        &["rollback", "--to", &bad[..8], "--reason", "practice"],
    )
    .await;
    assert_eq!(forth.code, Some(0), "{}", forth.err);
    assert_eq!(in_force(&house).digest(), bad);
    let back = policy(&house, &["rollback", "--to", &good, "--reason", "practice"]).await;
    assert_eq!(back.code, Some(0), "{}", back.err);
    raise_version(&house, "2.0.1");
    eventually("the changed files", async || {
        (in_force(&house).version() == "2.0.1").then_some(())
    })
    .await;
    assert!(status(&house).await.contains("ok    policy-bundle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_over_a_restart() {
    let house = House::open_with(|config| config.policy.watch_interval = Duration::ZERO).await;
    let good = in_force(&house).digest().to_owned();
    worsen(&house, "2.0.0");
    assert_eq!(policy(&house, &["activate"]).await.code, Some(0));
    let back = policy(&house, &["rollback", "--reason", "at night"]).await;
    assert_eq!(back.code, Some(0), "{}", back.err);
    let config = house.clinic.config();
    let (policy, place) = (config.policy.clone(), config.store.clone());
    let files = policies(&house);
    let write = |name: &str, text: &str| fs::write(files.join(name), text).unwrap();
    house.clinic.stop().await.unwrap();
    let key = MasterKey::read(&place.key).unwrap();
    let inputs = key.derive_inputs();
    let store = Store::embedded_with(&place.path, &inputs, SystemClock::shared());
    let store = store.await.unwrap();
    let start = async || Start::find(&policy, &store).await.unwrap().bundle;
    assert_eq!(
        start().await.digest(),
        good,
        "the files are what somebody went back from"
    );
    write("nurses.cedar", "permit (");
    let broken = Start::find(&policy, &store).await;
    assert!(
        broken.is_err(),
        "whoever changes the files ends the rollback"
    );
    write("nurses.cedar", NO_NOTES);
    assert_eq!(start().await.digest(), good);
    write(
        "bundle.toml",
        "name = \"chartgate-hospital\"\nversion = \"2.0.1\"\n",
    );
    assert_eq!(start().await.version(), "2.0.1");
}

/// Makes a signing key; what `trusted_keys` is to hold of it.
async fn keygen(key: &str) -> String {
    let name = "hospital.example/anna";
    let made = chartgate(&["policy", "keygen", "--name", name, "--key", key]).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let line = made.out.trim();
    assert!(
        line.starts_with("trusted_keys = [\"hospital.example/anna+"),
        "{line}"
    );
    line.split('"').nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_signed_bundle_is_put_in_force() {
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("anna.key").display().to_string();
    let verifier = keygen(&key).await;
    let unsigned = {
        let verifier = verifier.clone();
        House::try_open(SystemClock::shared(), move |config| {
            config.policy.trusted_keys = vec![verifier];
            config.policy.required_signatures = 1;
        })
        .await
    };
    let error = unsigned.err().unwrap().to_string();
    assert!(error.contains("the bundle is not signed"), "{error}");

    let house = {
        let anna = SigningKey::read(key.as_ref()).unwrap();
        House::open_with(move |config| {
            config.policy.watch_interval = Duration::ZERO;
            config.policy.trusted_keys = vec![verifier];
            config.policy.required_signatures = 1;
            let bundle = Bundle::load(&config.policy.directory).unwrap();
            let note = trust::signed(&bundle, &anna);
            fs::write(config.policy.directory.join("bundle.sig"), note).unwrap();
        })
        .await
    };
    let good = in_force(&house).digest().to_owned();
    assert_eq!(
        newest(&house, Event::PolicyActivated).detail["signed_by"],
        "hospital.example/anna"
    );
    worsen(&house, "2.0.0");
    let altered = policy(&house, &["activate"]).await;
    assert_eq!(altered.code, Some(1));
    assert!(
        altered.err.contains("changed after it was signed"),
        "{}",
        altered.err
    );
    assert_eq!(in_force(&house).digest(), good);
    let rejected = newest(&house, Event::PolicyRejected).detail;
    assert!(
        rejected["first"].contains("changed after it was signed"),
        "{rejected:?}"
    );

    let elsewhere = place.path().join("elsewhere");
    copy_files(&policies(&house), &elsewhere);
    copy_files(&policies(&house).join("emr"), &elsewhere.join("emr"));
    fs::remove_file(elsewhere.join("bundle.sig")).unwrap();
    let dir = elsewhere.display().to_string();
    let unsigned = policy(&house, &["activate", "--dir", &dir]).await;
    assert!(
        unsigned.err.contains("the bundle is not signed"),
        "{}",
        unsigned.err
    );
    let signed = chartgate(&["policy", "sign", "--key", &key, "--policies", &dir]).await;
    assert_eq!(signed.code, Some(0), "{}", signed.err);
    let done = policy(&house, &["activate", "--dir", &dir]).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out.contains("signed by hospital.example/anna"),
        "{}",
        done.out
    );
    let back = policy(&house, &["rollback", "--reason", "x"]).await;
    assert_eq!(
        back.code,
        Some(0),
        "what was signed is signed when one goes back to it: {}",
        back.err
    );
    assert_eq!(in_force(&house).digest(), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_in_the_shadow_is_counted_and_on_record_and_decides_nothing() {
    let house = House::open_with(|config| config.policy.watch_interval = Duration::ZERO).await;
    let mut nurse = nurse(&house).await;
    let next = house.data_dir().join("next-policies");
    copy_files(&policies(&house), &next);
    let same = policy(&house, &["shadow", &next.display().to_string()]).await;
    assert_eq!(
        same.code,
        Some(0),
        "without tables it is another bundle: {}",
        same.err
    );
    fs::write(next.join("nurses.cedar"), NO_NOTES).unwrap();
    let set = policy(
        &house,
        &["shadow", &next.display().to_string(), "--for", "2d"],
    )
    .await;
    assert_eq!(set.code, Some(0), "{}", set.err);
    assert!(set.out.contains("in the shadow until"), "{}", set.out);

    assert_eq!(nurse.get(&house.url("/chart/notes")).await.status, 200);
    assert_eq!(nurse.get(&house.url("/chart/results")).await.status, 200);
    let admitted: Vec<_> = house
        .trail()
        .into_iter()
        .filter(|entry| entry.phase == Phase::Admit)
        .collect();
    let said = |path: &str| {
        let entry = admitted
            .iter()
            .rfind(|entry| entry.facts.as_ref().unwrap().path == path)
            .unwrap();
        let decision = entry.facts.clone().unwrap().decision.unwrap();
        decision.shadow.map(|shadow| shadow.policies)
    };
    assert_eq!(said("/chart/notes"), Some(vec!["no-notes".to_owned()]));
    assert_eq!(said("/chart/results"), None);
    let report = policy(&house, &["shadow", "--report"]).await.out;
    assert!(
        report.contains("1 would be refused, 0 would be permitted"),
        "{report}"
    );
    assert!(
        report.contains("1  refused  Read notes  nurse  by no-notes"),
        "{report}"
    );
    let shown = status(&house).await;
    assert!(
        shown.contains("policy-shadow") && shown.contains("1 refused"),
        "{shown}"
    );
    let off = policy(&house, &["shadow", "--off"]).await;
    assert_eq!(off.code, Some(0), "{}", off.err);
    let ended = newest(&house, Event::PolicyShadow).detail;
    assert_eq!(
        (ended["state"].as_str(), ended["refused"].as_str()),
        ("ended", "1")
    );
    let none = policy(&house, &["shadow", "--report"]).await;
    assert!(none.err.contains("there is no candidate"), "{}", none.err);
    nurse.get(&house.url("/chart/notes")).await;
    assert!(!status(&house).await.contains("policy-shadow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_drop_nothing() {
    let house = House::open_with(|config| {
        crate::harness::without_limits(config);
        config.policy.watch_interval = Duration::ZERO;
    })
    .await;
    drop(fs::remove_dir_all(policies(&house).join("tests")));
    let nurse = nurse(&house).await;
    let url = house.url("/chart/results");
    let stop = AtomicBool::new(false);
    let load = async |mut browser: Browser| {
        let mut served = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let page = browser.get(&url).await;
            assert_eq!(page.status, 200, "{:?}: {}", page.refusal(), page.text());
            served += 1;
        }
        served
    };
    let change = async {
        for turn in 0..100 {
            raise_version(&house, &format!("4.{turn}.0"));
            let ask = AdminRequest::Policy(Ask::Activate { directory: None });
            house.ask(ask).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((), one, two) = tokio::join!(change, load(nurse.clone()), load(nurse.clone()));
    assert!(one > 50 && two > 50, "{one} {two}");
    assert_eq!(in_force(&house).version(), "4.99.0");
    let activated = house.particulars(Event::PolicyActivated);
    assert_eq!(activated.len(), 101);
}
