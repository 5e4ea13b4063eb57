//! Whose something is, learnt from answers: Opal's requests name episodes and entries, never patients.

use super::*;
use crate::emr::lessons::Listener;
use crate::request::facts::PatientSource;

/// Signs in to Opal: afterwards `sessionid={token}` is bound to the session.
pub(super) async fn opal_session(emrs: &Emrs, session: &'static str, token: &str) {
    let answer = redirect("/").header("set-cookie", format!("sessionid={token}; Path=/"));
    let call = Call::new("POST", "/accounts/login/").form("username=adams&password=x");
    let done = call.by("adams", session).exchange(emrs, answer).await;
    assert!(done.classified.login().is_some());
}

fn json() -> http::response::Builder {
    status(200).header("content-type", "application/json; charset=utf-8")
}

/// The listener that the answer to a call gets.
async fn listener(emrs: &Emrs, call: Call, answer: http::response::Builder) -> Option<Listener> {
    let done = call.exchange(emrs, answer).await;
    let listeners = done.classified.into_answer().listeners;
    listeners?.lessons.map(|listener| *listener)
}

/// Answers a call with this body, in pieces.
async fn answer_with(emrs: &Emrs, call: Call, answer: http::response::Builder, body: &str) {
    let Some(mut listener) = listener(emrs, call, answer).await else {
        return;
    };
    for piece in body.as_bytes().chunks(7) {
        assert!(listener.hear(piece));
    }
    listener.finish();
}

fn chart_of(patient: &str) -> String {
    format!("/api/v0.1/patient/{patient}/")
}

/// Shows the chart of a patient with one episode and, of every kind, one entry of the same number.
pub(super) async fn show_chart(emrs: &Emrs, token: &str, patient: &str, episode: &str) {
    let entry = format!(r#"[{{"id":{episode},"episode_id":{episode}}}]"#);
    let body = format!(
        r#"{{"id":{patient},"episodes":{{"{episode}":{{"id":{episode},"demographics":{entry},"allergies":{entry},
            "diagnosis":{entry},"past_medical_history":{entry},"inpatient_admission":{entry},"location":{entry},
            "treatment":{entry},"patient_consultation":{entry},"symptom_complex":{entry}}}}}}}"#
    );
    let call = Call::get(&chart_of(patient)).cookie(&format!("sessionid={token}"));
    answer_with(emrs, call, json(), &body).await;
}

fn write(episode: &str) -> Call {
    let body = format!(r#"{{"episode_id":{episode},"condition":"Sepsis"}}"#);
    Call::new("POST", "/api/v0.1/diagnosis/")
        .cookie("sessionid=t")
        .json(&body)
}

async fn at_work() -> Emrs {
    let emrs = emrs(OPAL);
    opal_session(&emrs, "s1", "t").await;
    emrs
}

#[tokio::test]
async fn a_write_is_about_the_patient_whose_chart_named_the_episode() {
    let emrs = at_work().await;
    let unknown = Err(Refusal::PatientUnknown);
    assert_eq!(patients(write("5"), &emrs).await, unknown, "no chart yet");
    show_chart(&emrs, "t", "3", "5").await;
    let mapped = write("5").map(&emrs).await.unwrap();
    let patient = &mapped.mapping().patients[0];
    assert_eq!(
        (patient.id.as_str(), patient.system.as_str()),
        ("3", "urn:opal:patient")
    );
    assert_eq!(patient.source, PatientSource::Linked);
    assert_eq!(mapped.mapping().fields["/episode_id"], "5");
    // Guessing numbers leads nowhere, and nobody else's session was told anything.
    for episode in ["6", "50", "0"] {
        assert_eq!(patients(write(episode), &emrs).await, unknown, "{episode}");
    }
    for spelt in ["\"05\"", "5.0", "\"5 \"", "[5]"] {
        assert_eq!(
            patients(write(spelt), &emrs).await,
            Err(Refusal::MalformedBody),
            "{spelt}"
        );
    }
    opal_session(&emrs, "s2", "u").await;
    let other = write("5").by("adams", "s2");
    let mut other = other;
    other
        .headers
        .insert("cookie", HeaderValue::from_static("sessionid=u"));
    assert_eq!(patients(other, &emrs).await, unknown);
    let without = Call::new("POST", "/api/v0.1/diagnosis/").json(r#"{"episode_id":5}"#);
    assert_eq!(patients(without, &emrs).await, unknown);
    let nothing = Call::new("POST", "/api/v0.1/diagnosis/")
        .cookie("sessionid=t")
        .json("{}");
    assert_eq!(patients(nothing, &emrs).await, unknown);
}

#[tokio::test]
async fn the_newest_answer_counts() {
    let emrs = at_work().await;
    show_chart(&emrs, "t", "3", "5").await;
    show_chart(&emrs, "t", "4", "5").await;
    assert_eq!(patients(write("5"), &emrs).await, Ok(vec!["4".into()]));
}

#[tokio::test]
async fn no_entry_is_moved_to_another_patient() {
    let emrs = at_work().await;
    show_chart(&emrs, "t", "3", "5").await;
    show_chart(&emrs, "t", "4", "6").await;
    let put = |path: &str, body: &str| Call::new("PUT", path).cookie("sessionid=t").json(body);
    let post = |path: &str, body: &str| Call::new("POST", path).cookie("sessionid=t").json(body);
    let entry = "/api/v0.1/diagnosis/5/";
    for fine in [
        put(entry, r#"{"id":5,"episode_id":5,"condition":"x"}"#),
        put(entry, r#"{"condition":"x"}"#),
        put(entry, r#"{"id":null,"episode_id":null,"patient_id":3}"#),
        put("/api/v0.1/episode/5/", r#"{"id":5,"patient_id":3}"#),
        post(
            "/pathway/detail/add/3/5",
            r#"{"diagnosis":[{"id":5,"episode_id":5}],"allergies":[{}]}"#,
        ),
    ] {
        assert_eq!(patients(fine, &emrs).await, Ok(vec!["3".into()]));
    }
    for moved in [
        put(entry, r#"{"id":6,"episode_id":5}"#),
        put(entry, r#"{"id":5,"episode_id":6}"#),
        put(entry, r#"{"id":5,"patient_id":4}"#),
        put("/api/v0.1/episode/5/", r#"{"patient_id":4}"#),
        put("/api/v0.1/episode/5/", r#"{"id":6}"#),
        post("/api/v0.1/diagnosis/", r#"{"episode_id":5,"id":6}"#),
        post("/api/v0.1/allergies/", r#"{"episode_id":5,"patient_id":4}"#),
        post("/pathway/detail/add/3/6", "{}"),
        post(
            "/pathway/detail/add/3/5",
            r#"{"diagnosis":[{"id":5},{"id":6}]}"#,
        ),
        post(
            "/pathway/detail/add/3",
            r#"{"treatment":[{"episode_id":6}]}"#,
        ),
    ] {
        let target = moved.target.clone();
        let body = String::from_utf8_lossy(&moved.body).into_owned();
        let refusal = moved.refusal(&emrs).await;
        assert_eq!(refusal, Some(Refusal::AmbiguousField), "{target} {body}");
    }
    for unknown in [
        put("/api/v0.1/diagnosis/9/", r#"{"episode_id":5}"#),
        put(entry, r#"{"id":9,"episode_id":5}"#),
        put(entry, r#"{"id":5,"episode_id":9}"#),
        post("/api/v0.1/diagnosis/", r#"{"episode_id":5,"id":9}"#),
        post("/pathway/detail/add/3/9", "{}"),
        Call::new("DELETE", "/api/v0.1/diagnosis/9/").cookie("sessionid=t"),
        Call::get("/api/v0.1/treatment/9/").cookie("sessionid=t"),
    ] {
        let target = unknown.target.clone();
        assert_eq!(
            unknown.refusal(&emrs).await,
            Some(Refusal::PatientUnknown),
            "{target}"
        );
    }
}

#[tokio::test]
async fn lists_and_new_entries_teach_too() {
    let emrs = at_work().await;
    let list = Call::get("/api/v0.1/patientlist/all/").cookie("sessionid=t");
    let body = r#"[{"id":5,"demographics":[{"id":1,"patient_id":3}],"diagnosis":[{"id":8}]},
        {"id":6,"demographics":[{"id":2,"patient_id":4}]}, {"id":7,"demographics":[]},
        {"id":8,"demographics":[{"patient_id":"04"}]}]"#;
    answer_with(&emrs, list, json(), body).await;
    assert_eq!(patients(write("5"), &emrs).await, Ok(vec!["3".into()]));
    assert_eq!(patients(write("6"), &emrs).await, Ok(vec!["4".into()]));
    for nobody in ["7", "8"] {
        assert_eq!(
            patients(write(nobody), &emrs).await,
            Err(Refusal::PatientUnknown)
        );
    }
    let entry = |id: u32| Call::get(&format!("/api/v0.1/diagnosis/{id}/")).cookie("sessionid=t");
    assert_eq!(patients(entry(8), &emrs).await, Ok(vec!["3".into()]));
    assert_eq!(
        patients(entry(9), &emrs).await,
        Err(Refusal::PatientUnknown)
    );
    let created = json().status(201);
    answer_with(&emrs, write("6"), created, r#"{"id":9,"episode_id":6}"#).await;
    assert_eq!(patients(entry(9), &emrs).await, Ok(vec!["4".into()]));
    // The kind of the entry is the one of the path that was written to.
    let drug = Call::get("/api/v0.1/treatment/9/").cookie("sessionid=t");
    assert_eq!(patients(drug, &emrs).await, Err(Refusal::PatientUnknown));
}

#[tokio::test]
async fn what_is_no_whole_plain_good_answer_teaches_nothing() {
    let emrs = at_work().await;
    let chart = || Call::get(&chart_of("3")).cookie("sessionid=t");
    let good = r#"{"episodes":{"5":{"id":5}}}"#;
    for answer in [
        json().status(404),
        json().status(302),
        json().header("content-encoding", "gzip"),
        status(200).header("content-type", "text/html"),
        status(200),
    ] {
        assert!(listener(&emrs, chart(), answer).await.is_none());
    }
    // Nobody listens where the profile says nothing, or in no session.
    let search = Call::get("/search/simple/?query=x").cookie("sessionid=t");
    assert!(listener(&emrs, search, json()).await.is_none());
    assert!(
        listener(&emrs, Call::get(&chart_of("3")), json())
            .await
            .is_none()
    );
    for body in [
        "",
        "{",
        r#"{"episodes":{"5":{"id":5}}}x"#,
        r#"{"episodes":{"5":{"id":5,"id":6}}}"#,
        r#"{"episodes":{"5":{"id":[5]}}}"#,
        r#"{"Episodes":{"5":{"id":5}}}"#,
        r#"{"episodes":{"5":{"id":"05"}}}"#,
    ] {
        answer_with(&emrs, chart(), json(), body).await;
        assert_eq!(
            patients(write("5"), &emrs).await,
            Err(Refusal::PatientUnknown),
            "{body}"
        );
    }
    // An answer that broke off.
    let mut broken = listener(&emrs, chart(), json()).await.unwrap();
    assert!(broken.hear(good.as_bytes()));
    drop(broken);
    assert_eq!(
        patients(write("5"), &emrs).await,
        Err(Refusal::PatientUnknown)
    );
    // One that is longer than what is kept.
    let mut long = listener(&emrs, chart(), json()).await.unwrap();
    let piece = vec![b' '; 1024 * 1024];
    assert_eq!((0..6).take_while(|_| long.hear(&piece)).count(), 4);
    answer_with(&emrs, chart(), json(), good).await;
    assert_eq!(patients(write("5"), &emrs).await, Ok(vec!["3".into()]));
}

#[tokio::test]
async fn only_a_route_that_is_listened_to_asks_for_plain_text() {
    let emrs = at_work().await;
    let chart = Call::get(&chart_of("3")).cookie("sessionid=t");
    assert!(chart.map(&emrs).await.unwrap().is_listened_to());
    let shell = Call::get("/").cookie("sessionid=t");
    assert!(!shell.map(&emrs).await.unwrap().is_listened_to());
}

const HEAD: &str = r#"version = 1
name = "x"
patient_system = "urn:x"
[session]
cookies = ["s"]
"#;

fn problems(routes: &str) -> Vec<(usize, String)> {
    let text = format!("{HEAD}{routes}");
    match Profile::parse(&text, "bad.toml") {
        Ok(_) => Vec::new(),
        Err(found) => {
            assert!(found.iter().all(|p| !p.remedy.is_empty()));
            found.into_iter().map(|p| (p.line, p.message)).collect()
        }
    }
}

const CHART: &str = r#"[[route]]
id = "chart"
methods = ["GET"]
path = "/chart/{pid}"
action = "Read"
section = "summary"
patient = { path = "pid" }
learns = [{ link = "visit", json = "/visits/*/id" }]
"#;

const VISIT: &str = r#"[[route]]
id = "visit"
methods = ["POST"]
path = ["/visit/{visit}", "/visits/{visit}"]
action = "Update"
section = "summary"
patient = { via = "visit", path = "visit" }
"#;

#[test]
fn what_a_profile_says_of_links_holds_together() {
    assert_eq!(problems(&format!("{CHART}{VISIT}")), []);
    let has = |routes: &str, line: usize, part: &str| {
        let found = problems(routes);
        let named = found
            .iter()
            .any(|(at, text)| *at == line && text.contains(part));
        assert!(named, "{line} {part}: {found:?}\n{routes}");
    };
    has(VISIT, 7, "no answer teaches whose `visit` is");
    has(CHART, 7, "no request relies on the link `visit`");
    let both = format!("{CHART}{VISIT}");
    has(
        &both.replace("via = \"visit\"", "via = \"vist\""),
        15,
        "no answer teaches whose `vist` is",
    );
    has(
        &both.replace("via = \"visit\"", "via = [\"visit\", \"a\", \"b\"]"),
        20,
        "3 links for 2 paths",
    );
    has(
        &both.replace("via = \"visit\"", "via = [\"visit\", \"\"]"),
        20,
        "a link has no name",
    );
    has(
        &both.replace("/visits/*/id", "visits"),
        13,
        "`visits` is not a JSON pointer",
    );
    has(
        &both.replace(
            "json = \"/visits/*/id\"",
            "json = \"/id\", patient = \"/a/*\"",
        ),
        13,
        "one patient",
    );
    has(
        &both.replace("patient = { path = \"pid\" }\n", ""),
        12,
        "nothing says whose",
    );
    has(
        &both.replacen(
            "methods = [\"GET\"]",
            "methods = [\"GET\"]\nwebsocket = true",
            1,
        ),
        14,
        "never end",
    );
    has(
        &format!("{both}same_patient = [{{ json = \"/pid\" }}, {{ json = \"pid\" }}]\n"),
        21,
        "`pid` is not a JSON pointer",
    );
    let nobody = VISIT.replace(
        "patient = { via = \"visit\", path = \"visit\" }",
        "same_patient = [{ via = \"visit\", path = \"visit\" }]",
    );
    has(&format!("{CHART}{nobody}"), 15, "it names none");
    has(
        &format!("{both}selects = true\n"),
        21,
        "must name exactly one",
    );
    let login = "[login]\nroute = \"visit\"\nuser = { via = \"visit\", form = \"u\" }\nsuccess = { status = [302] }\nbind_user = \"same\"\n";
    has(&format!("{login}{both}"), 6, "nobody's number");
}

#[test]
fn links_need_an_emr_session() {
    let text = format!("{HEAD}{CHART}{VISIT}").replace("[session]\ncookies = [\"s\"]\n", "");
    let found = Profile::parse(&text, "bad.toml").unwrap_err();
    assert!(
        found.iter().any(|p| p.message.contains("EMR session")),
        "{found:?}"
    );
}
