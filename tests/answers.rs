//! A day at the sample clinic, asked for afterwards: queries, reports and exports through the running gateway.

mod activity;
mod balp;
mod configuration;
mod disclosures;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chartgate::audit::entry::Phase;
use chartgate::request::{Action, Event};
use http::StatusCode;
use serde_json::Value;

use crate::harness::House;
use crate::harness::process::{Ended, chartgate};

/// Everybody does something, and some of it is refused.
async fn a_day() -> House {
    let house = House::open().await;
    let mut doctor = house.at_work("dr.okafor").await;
    doctor.visit(&house.url("/patients/search?q=a")).await;
    doctor
        .visit(&house.url("/patients/search?q=nobody-of-this-name"))
        .await;
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    doctor.visit(&house.url("/chart/results")).await;
    for (path, fields) in [
        ("/chart/notes", vec![("text", "Feels better today.")]),
        ("/chart/orders", vec![("what", "CBC")]),
        ("/chart/orders/1/sign", vec![]),
    ] {
        doctor.post_form(&house.url(path), &fields).await;
    }
    doctor.get(&house.url("/chart/print")).await;
    doctor.get(&house.url("/some/new/page.php")).await;
    let mut desk = house.at_work("desk.moreau").await;
    desk.visit(&house.url("/patients/select?set_pid=5")).await;
    desk.post_form(&house.url("/chart/demographics"), &[("phone", "555-0100")])
        .await;
    let mut him = house.at_work("him.doyle").await;
    let page = him.get(&house.url("/patients/4/export.csv")).await;
    assert_eq!(page.status, StatusCode::OK);
    him.post_form(&house.url("/patients/7/delete"), &[]).await;
    him.visit(&house.url("/patients/select?set_pid=4")).await;
    let copy = [
        ("recipient", "County Court"),
        ("what", "notes"),
        ("purpose", "HLEGAL"),
    ];
    him.post_form(&house.url("/chart/send"), &copy).await;
    house
        .at_work("admin.kovacs")
        .await
        .get(&house.url("/admin/users"))
        .await;
    let mut billing = house.at_work("billing.shah").await;
    billing
        .visit(&house.url("/patients/select?set_pid=4"))
        .await;
    let page = billing.get(&house.url("/chart/notes")).await;
    assert_eq!(page.refusal(), Some("CG-3001"));
    let mut nobody = house.browser();
    house
        .sign_in(&mut nobody, "dr.weber", &house.url("/"))
        .await;
    doctor
        .post_form(&house.url("/.chartgate/logout"), &[])
        .await;
    // Every outcome is on record before the day is asked for.
    for entry in house.trail() {
        if entry.phase == Phase::Admit {
            house.outcome_of(entry.id).await;
        }
    }
    house
}

async fn ask(house: &House, command: &[&str]) -> Ended {
    let config = house.clinic.facts().config.display().to_string();
    let line = [command, &["--config", &config]].concat();
    let ended = chartgate(&line).await;
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.err);
    ended
}

fn documents(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_is_answered_reported_and_exported() {
    let house = a_day().await;
    rows_are_joined(&house).await;
    what_is_asked_for_is_looked_up(&house).await;
    reports_name_who_and_why(&house).await;
    exports_are_whole_and_on_record(&house).await;
    a_request_is_proven_to_somebody_else(&house).await;
    status_says_how_old_the_trail_is(&house).await;
}

async fn a_request_is_proven_to_somebody_else(house: &House) {
    let trail = house.trail();
    let mut admitted = trail.iter().filter(|entry| entry.phase == Phase::Admit);
    let admission = admitted.next().unwrap();
    let request = &admission.facts.as_ref().unwrap().request;
    let proof = ask(house, &["audit", "prove", request]).await;
    let folder = house.clinic.facts().config.parent().unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("proof.json"), &proof.out).unwrap();
    let (key, witness) = (path("keys/signing.pub"), path("witness/checkpoints"));
    let file = path("proof.json");
    let command = [
        "audit",
        "check-proof",
        &file,
        "--key",
        &key,
        "--witness",
        &witness,
        "--json",
    ];
    let checked = chartgate(&command).await;
    assert_eq!(checked.code, Some(0), "{} {}", checked.out, checked.err);
    let said: Value = serde_json::from_str(&checked.out).unwrap();
    let id = admission.id.to_string();
    let [admit, outcome] = &said["records"].as_array().unwrap()[..] else {
        panic!("{said}");
    };
    assert_eq!(admit["entry"]["id"], id);
    assert_eq!(
        (&outcome["entry"]["of"], &outcome["entry"]["phase"]),
        (&id.clone().into(), &"outcome".into())
    );
    // Nothing of any other record is in it.
    let other = trail
        .iter()
        .find(|entry| entry.id != admission.id && entry.of != Some(admission.id));
    assert!(!checked.out.contains(&other.unwrap().id.to_string()));
}

async fn what_is_asked_for_is_looked_up(house: &House) {
    let rows = async |filters: &[&str]| {
        let command = [&["audit", "query", "--format", "json"], filters].concat();
        documents(&ask(house, &command).await.out)
    };
    let every = rows(&[]).await;
    let of = |key: &str, value: &str| every.iter().filter(|row| row[key] == value).count();
    assert!(of("outcome", "complete") > 5 && of("event", "login") > 3);
    let complete = rows(&["--outcome", "complete"]).await;
    assert_eq!(complete.len(), of("outcome", "complete"));
    let logins = rows(&["--event", "login"]).await;
    assert_eq!(logins.len(), of("event", "login"));
    let here = rows(&["--address", "127.0.0.0/8", "--action", "export"]).await;
    assert_eq!(here.len(), of("action", "Export"));
    assert!(rows(&["--address", "192.0.2.7"]).await.is_empty());
    let request = every.iter().find(|row| row["action"] == "Export");
    let request = request.and_then(|row| row["request"].as_str()).unwrap();
    assert_eq!(rows(&["--request", request]).await.len(), 1);
    let said = ask(house, &["audit", "reindex"]).await;
    assert!(
        said.out.contains("on record") && said.err.contains("100%"),
        "{}{}",
        said.out,
        said.err
    );
    assert_eq!(rows(&["--event", "index-rebuilt"]).await.len(), 1);
}

async fn rows_are_joined(house: &House) {
    let trail = house.trail();
    let about = |entry: &&chartgate::audit::entry::Entry| entry.phase == Phase::Admit;
    let admitted = trail.iter().filter(about).count();
    let all = ask(house, &["audit", "query", "--format", "json"]).await;
    let rows = documents(&all.out);
    let requests: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "request").collect();
    assert_eq!(requests.len(), admitted);
    assert!(
        requests.iter().all(|row| row["outcome"] != "open"),
        "{}",
        all.out
    );
    let seqs: BTreeSet<u64> = rows
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs.len(), rows.len());

    let command = [
        "audit",
        "query",
        "--patient",
        "4",
        "--decision",
        "deny",
        "--since",
        "1h",
        "--format",
        "json",
    ];
    let denied = documents(&ask(house, &command).await.out);
    assert!(!denied.is_empty());
    for row in &denied {
        assert_eq!(
            (&row["refusal"], &row["patients"][0]),
            (&"CG-3001".into(), &"4".into()),
            "{row}"
        );
    }
    let command = [
        "audit",
        "query",
        "--action",
        "export",
        "--sort",
        "bytes_out",
        "--descending",
        "--limit",
        "1",
        "--format",
        "json",
    ];
    let exported = documents(&ask(house, &command).await.out);
    assert_eq!(exported.len(), 1);
    assert_eq!(exported[0]["user"], "him.doyle");
    assert!(exported[0]["bytes_out"].as_u64().unwrap() > 0);
    let table = ask(house, &["audit", "query", "--user", "billing.shah"]).await;
    assert!(
        table.out.contains("CG-3001") && !table.out.contains("dr.okafor"),
        "{}",
        table.out
    );
    let future = ask(
        house,
        &[
            "audit",
            "query",
            "--since",
            "2099-01-01",
            "--format",
            "json",
        ],
    )
    .await;
    assert_eq!(future.out, "");
}

async fn reports_name_who_and_why(house: &House) {
    let page = house.data_dir().join("patient-4.html");
    let page_name = page.to_str().unwrap();
    let command = [
        "report", "patient", "4", "--format", "html", "--output", page_name,
    ];
    ask(house, &command).await;
    let html = std::fs::read_to_string(&page).unwrap();
    for part in [
        "dr.okafor",
        "him.doyle",
        "billing.shah",
        "refused CG-3001",
        "care relation unknown; by ",
        "Export",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let text = ask(house, &["report", "patient", "4", "--without-staff"]).await;
    assert!(
        text.out.contains("staff member 1") && !text.out.contains("okafor"),
        "{}",
        text.out
    );
    let user = ask(house, &["report", "user", "desk.moreau"]).await;
    assert!(
        user.out.contains("What user desk.moreau did"),
        "{}",
        user.out
    );
    let activity = ask(house, &["report", "activity", "--format", "csv"]).await;
    assert!(activity.out.lines().count() > 4, "{}", activity.out);
    let config = house.clinic.facts().config.display().to_string();
    let again = chartgate(&[&command[..], &["--config", &config]].concat()).await;
    assert_eq!(again.code, Some(64), "an existing file is not overwritten");
}

async fn exports_are_whole_and_on_record(house: &House) {
    let mut sums = BTreeMap::new();
    for format in ["fhir", "ocsf", "csv", "jsonl"] {
        let file = house.data_dir().join(format!("export.{format}"));
        let name = file.to_str().unwrap();
        let ended = ask(
            house,
            &["audit", "export", "--format", format, "--output", name],
        )
        .await;
        let sum = std::fs::read_to_string(file.with_extension(format!("{format}.sha256"))).unwrap();
        let sum = sum.split(' ').next().unwrap().to_owned();
        assert!(ended.err.contains(&sum), "{}", ended.err);
        sums.insert(format, sum);
    }
    let trail = house.trail();
    for (format, sum) in &sums {
        let exported = trail.iter().find(|entry| {
            entry.event == Some(Event::AuditExported) && entry.detail["format"] == **format
        });
        let detail = &exported.unwrap().detail;
        assert_eq!(
            (&detail["sha256"], &detail["operator"]),
            (sum, &"demo-operator".to_owned())
        );
    }
    let read = |format: &str| {
        std::fs::read_to_string(house.data_dir().join(format!("export.{format}"))).unwrap()
    };
    let events = documents(&read("fhir"));
    let found = balp::check_all(&events);
    for profile in [
        "PatientRead",
        "Query",
        "PatientQuery",
        "PatientCreate",
        "PatientUpdate",
        "PrivacyDisclosure.Source",
    ] {
        assert!(found.contains(profile), "{profile} {found:?}");
    }
    let shapes: BTreeSet<&str> = events
        .iter()
        .filter_map(|e| e["type"]["code"].as_str())
        .collect();
    for code in ["rest", "110114", "110100", "110101"] {
        assert!(shapes.contains(code), "{code} {shapes:?}");
    }
    // The raw records are the trail itself, up to the reading that asked for them.
    let raw = documents(&read("jsonl"));
    for (index, document) in raw.iter().enumerate() {
        assert_eq!(document["seq"].as_u64().unwrap(), index as u64 + 1);
        assert_eq!(document["entry"]["id"], trail[index].id.to_string());
    }
    let csv = read("csv");
    let outcomes = raw
        .iter()
        .filter(|d| d["entry"]["phase"] == "outcome")
        .count();
    assert!(csv.lines().count() <= raw.len() - outcomes + 1);
    let ocsf = documents(&read("ocsf"));
    let classes: BTreeSet<u64> = ocsf
        .iter()
        .filter_map(|e| e["class_uid"].as_u64())
        .collect();
    assert!(
        classes.is_superset(&BTreeSet::from([3002, 4002, 6002, 6003])),
        "{classes:?}"
    );
    actions_are_all_there(&trail);
}

/// The day has what the exports are to be tried with.
fn actions_are_all_there(trail: &[chartgate::audit::entry::Entry]) {
    let actions: BTreeSet<Action> = trail
        .iter()
        .filter_map(|entry| Some(entry.facts.as_ref()?.mapping.as_ref()?.action))
        .collect();
    for action in Action::ALL {
        assert!(actions.contains(action), "{action:?}");
    }
}

async fn status_says_how_old_the_trail_is(house: &House) {
    let config = house.clinic.facts().config.display().to_string();
    let status = chartgate(&["status", "--config", &config]).await;
    assert!(
        status.out.contains("kept 6 calendar years"),
        "{}",
        status.out
    );
    let listed = ask(house, &["audit", "retention"]).await;
    assert!(listed.out.contains("nothing is older"), "{}", listed.out);
    let applied = ask(house, &["audit", "retention", "--apply", "--yes"]).await;
    assert!(
        applied.out.contains("nothing is removed"),
        "{}",
        applied.out
    );
    let apply = ["audit", "retention", "--apply", "--config", &config];
    let refused = chartgate(&apply).await;
    assert_eq!(refused.code, Some(64), "{}", refused.out);
    assert!(refused.err.contains("add --yes"), "{}", refused.err);
    assert!(Path::new(&config).exists());
}
