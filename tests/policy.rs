//! Policies that change while the gateway runs: watched, activated, rejected, under load; reviewed and signed off.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chartgate::audit::entry::{Entry, Phase};
use chartgate::request::Event;

use crate::harness::House;
use crate::harness::practice::eventually;
use crate::harness::process::chartgate;

/// Nurses read no more notes.
const NO_NOTES: &str = "\n@id(\"no-notes\")\n@doc(\"Nurses read no notes.\")\nforbid (\n  principal in Role::\"nurse\",\n  action,\n  resource == Section::\"notes\"\n);\n";

fn policies(house: &House) -> PathBuf {
    house.data_dir().join("policies")
}

/// Writes a file of the bundle as an editor does: whole, under another name, then moved.
fn write(house: &House, name: &str, text: &str) {
    let next = house.data_dir().join("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, policies(house).join(name)).unwrap();
}

fn raise_version(house: &House, version: &str) {
    let text = format!("name = \"chartgate-hospital\"\nversion = \"{version}\"\n");
    write(house, "bundle.toml", &text);
}

/// Without the tables: these tests change what the tables expect.
fn without_tables(house: &House) {
    fs::remove_dir_all(policies(house).join("tests")).unwrap();
}

fn events(house: &House, event: Event) -> Vec<Entry> {
    let all = house.trail().into_iter();
    all.filter(|entry| entry.event == Some(event)).collect()
}

async fn in_force(house: &House, version: &str) {
    eventually(&format!("version {version} in force"), async || {
        let active = house.clinic.stages().policies.active();
        (active.bundle().version() == version).then_some(())
    })
    .await;
}

async fn rejections(house: &House, count: usize) -> Entry {
    eventually("a rejection and its alarm", async || {
        let alarms = events(house, Event::Alarm);
        let alarmed = alarms
            .iter()
            .filter(|entry| {
                entry
                    .detail
                    .get("rule")
                    .is_some_and(|rule| rule == "policy-rejected")
            })
            .count();
        let mut rejected = events(house, Event::PolicyRejected);
        (rejected.len() == count && alarmed == count).then(|| rejected.pop().unwrap())
    })
    .await
}

/// Runs `chartgate policy …` against the running clinic.
pub(crate) async fn policy(house: &House, arguments: &[&str]) -> crate::harness::process::Ended {
    let config = house.clinic.facts().config.display().to_string();
    let mut line = vec!["policy"];
    line.extend(arguments);
    line.extend(["--config", &config]);
    chartgate(&line).await
}

pub(crate) async fn status(house: &House) -> String {
    let config = house.clinic.facts().config.display().to_string();
    chartgate(&["status", "--config", &config]).await.out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_bundle_is_put_in_force_by_itself_and_a_broken_one_is_not() {
    let house = House::open_with(|config| {
        config.policy.watch_interval = Duration::from_millis(50);
    })
    .await;
    let started = events(&house, Event::PolicyActivated);
    assert_eq!(started.len(), 1, "the bundle of the start is on record");
    assert_eq!(started[0].detail["by"], "start");
    let mut nurse = house.at_work("nurse.lind").await;
    nurse.visit(&house.url("/patients/select?set_pid=4")).await;
    assert_eq!(nurse.get(&house.url("/chart/notes")).await.status, 200);

    // The bundle's own tables still expect that nurses read notes.
    let care = fs::read_to_string(policies(&house).join("care.cedar")).unwrap();
    write(&house, "care.cedar", &format!("{care}{NO_NOTES}"));
    let missed = rejections(&house, 1).await;
    assert!(
        missed.detail["first"].contains("tests/care.toml"),
        "{:?}",
        missed.detail
    );
    assert_eq!(nurse.get(&house.url("/chart/notes")).await.status, 200);
    let shown = status(&house).await;
    assert!(
        shown.contains("LOOK  policy-bundle") && shown.contains("NOT put in force"),
        "{shown}"
    );

    without_tables(&house);
    raise_version(&house, "2.0.0");
    in_force(&house, "2.0.0").await;
    let page = nurse.get(&house.url("/chart/notes")).await;
    assert_eq!(page.refusal(), Some("CG-3001"));
    let activated = events(&house, Event::PolicyActivated).pop().unwrap();
    assert_eq!(activated.detail["by"], "watch");
    assert_ne!(activated.detail["sha256"], started[0].detail["sha256"]);
    assert!(activated.detail.contains_key("previous_sha256"));
    let refused = house
        .trail()
        .into_iter()
        .rev()
        .find(|entry| entry.phase == Phase::Refuse);
    let facts = refused.unwrap().facts.unwrap();
    assert_eq!(facts.generation.to_string(), activated.detail["generation"]);
    assert_eq!(facts.decision.unwrap().policies, ["no-notes"]);
    assert!(status(&house).await.contains("ok    policy-bundle"));

    write(&house, "care.cedar", "permit (\n");
    let rejected = rejections(&house, 2).await;
    assert!(
        rejected.detail["first"].starts_with("care.cedar:1: "),
        "{:?}",
        rejected.detail
    );
    assert_eq!(
        rejected.detail["in_force_sha256"],
        activated.detail["sha256"]
    );
    let page = nurse.get(&house.url("/chart/notes")).await;
    assert_eq!(
        page.refusal(),
        Some("CG-3001"),
        "what was in force still is"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_put_in_force_with_its_bundle() {
    let house = House::open_with(|config| config.policy.watch_interval = Duration::ZERO).await;
    let mut nurse = house.at_work("nurse.lind").await;
    nurse.visit(&house.url("/patients/select?set_pid=4")).await;
    assert_eq!(nurse.get(&house.url("/chart/results")).await.status, 200);
    let file = policies(&house).join("emr/sample-clinic.toml");
    let profile = fs::read_to_string(&file).unwrap();
    let from = "path = \"/chart/results\"\naction = \"Read\"\nsection = \"results\"";
    assert!(profile.contains(from));
    let to = from.replace("section = \"results\"", "section = \"administration\"");
    fs::write(&file, profile.replace(from, &to)).unwrap();
    assert_eq!(
        nurse.get(&house.url("/chart/results")).await.status,
        200,
        "not yet"
    );
    let done = policy(&house, &["activate"]).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out
            .contains("chartgate-hospital 1.1.0 is in force: generation "),
        "{}",
        done.out
    );
    let page = nurse.get(&house.url("/chart/results")).await;
    assert_eq!(
        page.refusal(),
        Some("CG-3001"),
        "a nurse administers nothing"
    );
    let by = &events(&house, Event::PolicyActivated).pop().unwrap().detail["operator"];
    assert_eq!(by, "demo-operator");
    let again = policy(&house, &["activate"]).await;
    assert!(again.out.contains("was in force already"), "{}", again.out);

    fs::write(&file, "nonsense = 1\n").unwrap();
    let refused = policy(&house, &["activate"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(
        refused.err.contains("is not put in force"),
        "{}",
        refused.err
    );
    rejections(&house, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloading_under_load_drops_nothing_and_mixes_nothing() {
    let house = House::open_with(|config| {
        crate::harness::without_limits(config);
        config.policy.watch_interval = Duration::ZERO;
    })
    .await;
    without_tables(&house);
    let profile = policies(&house).join("emr/sample-clinic.toml");
    let original = fs::read_to_string(&profile).unwrap();
    // Even versions call the page `results` and forbid `imaging` to nurses; odd ones the other way round. Either way
    // the page opens; a profile with the policies of another version would be refused.
    let from = "path = \"/chart/results\"\naction = \"Read\"\nsection = \"results\"";
    assert!(original.contains(from));
    let versions: Vec<(String, String)> = [("results", "imaging"), ("imaging", "results")]
        .into_iter()
        .map(|(called, forbidden)| {
            let to = from.replace("section = \"results\"", &format!("section = \"{called}\""));
            let forbid =
                NO_NOTES.replace("Section::\"notes\"", &format!("Section::\"{forbidden}\""));
            (original.replace(from, &to), forbid)
        })
        .collect();
    let mut nurse = house.at_work("nurse.lind").await;
    nurse.visit(&house.url("/patients/select?set_pid=4")).await;
    let url = house.url("/chart/results");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let load = async |mut browser: crate::harness::Browser| {
        let mut served = 0_u32;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let page = browser.get(&url).await;
            assert_eq!(page.status, 200, "{:?}: {}", page.refusal(), page.text());
            served += 1;
        }
        served
    };
    let change = async {
        for turn in 0..12_usize {
            let (text, forbid) = &versions[turn % 2];
            fs::write(&profile, text).unwrap();
            write(&house, "nurses.cedar", forbid);
            raise_version(&house, &format!("3.{turn}.0"));
            let done = policy(&house, &["activate"]).await;
            assert_eq!(done.code, Some(0), "{}", done.err);
            if turn % 4 == 3 {
                write(&house, "nurses.cedar", "forbid (\n");
                assert_eq!(policy(&house, &["activate"]).await.code, Some(1));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let ((), one, two) = tokio::join!(change, load(nurse.clone()), load(nurse.clone()));
    assert!(one > 50 && two > 50, "{one} {two}");
    assert_eq!(events(&house, Event::PolicyRejected).len(), 3);
    assert_eq!(events(&house, Event::PolicyActivated).len(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_explained_from_the_trail() {
    let house = House::open().await;
    let mut billing = house.at_work("billing.shah").await;
    billing
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let page = billing.get(&house.url("/chart/notes")).await;
    let id = page.header("x-request-id").unwrap().to_owned();
    let explained = policy(&house, &["explain", "--request", &id]).await;
    assert_eq!(explained.code, Some(0), "{}", explained.err);
    for part in [
        "GET /chart/notes\n",
        "  who       a person: billing; second factor\n",
        "  on record ",
        "patient urn:example:riverside:pid|4\n",
        "refused (CG-3001): no policy permits it\n",
    ] {
        assert!(explained.out.contains(part), "{part}\n{}", explained.out);
    }
    let user = [
        "explain",
        "--user",
        "billing.shah",
        "--form",
        "pid=4",
        "POST /billing",
    ];
    let explained = policy(&house, &user).await;
    assert!(
        explained.out.contains("permit billing-accounts ("),
        "{}{}",
        explained.out,
        explained.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_is_signed_off_for_the_bundle_in_force_and_no_other() {
    let house = House::open().await;
    house.at_work("billing.shah").await;
    let shown = status(&house).await;
    assert!(
        shown.contains("LOOK  permission-review") && shown.contains("never signed off"),
        "{shown}"
    );
    let html = house.data_dir().join("review.html").display().to_string();
    let signed = policy(
        &house,
        &[
            "review",
            "--html",
            &html,
            "--sign-off",
            "--note",
            "as planned",
        ],
    )
    .await;
    assert_eq!(signed.code, Some(0), "{}", signed.err);
    assert!(
        signed.out.starts_with("signed off by demo-operator at "),
        "{}",
        signed.out
    );
    let page = fs::read_to_string(html).unwrap();
    assert!(
        page.contains("user billing.shah (riverside|")
            && page.contains("<th scope=\"row\">demographics")
    );
    let record = events(&house, Event::PermissionsReviewed).pop().unwrap();
    let digest = house
        .clinic
        .stages()
        .policies
        .active()
        .bundle()
        .digest()
        .to_owned();
    assert_eq!(record.detail["sha256"], digest);
    assert_eq!(record.detail["note"], "as planned");
    let shown = status(&house).await;
    assert!(
        shown.contains("ok    permission-review") && shown.contains("by demo-operator"),
        "{shown}"
    );
    let read = events(&house, Event::AuditRead);
    assert!(read.iter().any(|entry| {
        entry
            .detail
            .get("purpose")
            .is_some_and(|p| p == "permission review")
    }));

    // What was not put in force cannot be signed off.
    let other = house.data_dir().join("other");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(policies(&house)).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
        }
    }
    let other = other.display().to_string();
    let refused = policy(&house, &["review", "--policies", &other, "--sign-off"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(refused.err.contains("is in force"), "{}", refused.err);
}
