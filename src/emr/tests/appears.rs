//! Who appears in a list: what profiles may say of it, and what the shipped ones make of answers.

use super::*;

/// The patients of the outcome, and whether they are all, where a route of `profile` is answered so.
async fn listed(
    profile: &str,
    call: Call,
    kind: &str,
    body: &str,
) -> (Vec<(String, String)>, Option<String>) {
    let emrs = emrs(profile);
    let answer = status(200).header("content-type", kind);
    let answered = call.exchange(&emrs, answer).await.classified.into_answer();
    let mut listening = answered.listeners.unwrap().begin();
    for piece in body.as_bytes().chunks(5) {
        listening.hear(piece);
    }
    let end = crate::audit::outcome::End::Complete;
    let appeared = listening.appeared(end).unwrap_or_default();
    let patients = appeared.patients.into_iter();
    (
        patients.map(|p| (p.system, p.id)).collect(),
        appeared.unknown.map(|unheard| unheard.word().to_owned()),
    )
}

fn of(system: &str, ids: &[&str]) -> (Vec<(String, String)>, Option<String>) {
    let named = |id: &&str| (system.to_owned(), (*id).to_owned());
    (ids.iter().map(named).collect(), None)
}

const JSON: &str = "application/json";

#[tokio::test]
async fn lists_of_opal_name_their_patients() {
    let opal = |ids: &[&str]| of("urn:opal:patient", ids);
    let list = r#"[{"id":5,"demographics":[{"id":1,"patient_id":3,"hospital_number":"9"}]},
        {"id":6,"demographics":[{"id":2,"patient_id":4}]}]"#;
    let call = Call::get("/api/v0.1/patientlist/all/");
    assert_eq!(listed(OPAL, call, JSON, list).await, opal(&["3", "4"]));
    let page = r#"{"object_list":[{"patient_id":7,"count":1},{"patient_id":8}],"page_number":1}"#;
    let call = Call::get("/search/simple/?query=x");
    assert_eq!(listed(OPAL, call, JSON, page).await, opal(&["7", "8"]));
    let call = Call::new("POST", "/search/extract/").json("[]");
    assert_eq!(listed(OPAL, call, JSON, page).await, opal(&["7", "8"]));
    let found = r#"[{"id":3,"episodes":{"5":{"id":5}},"demographics":[{"id":1,"patient_id":3}]}]"#;
    let call = Call::get("/search/patient/?hospital_number=9");
    assert_eq!(listed(OPAL, call, JSON, found).await, opal(&["3"]));
    let call = Call::get("/api/v0.1/demographics/");
    let rows = r#"[{"id":1,"patient_id":3},{"id":2,"patient_id":4}]"#;
    assert_eq!(listed(OPAL, call, JSON, rows).await, opal(&["3", "4"]));
    // A chart is opened, not listed.
    let call = Call::get("/api/v0.1/patient/3/");
    let chart = r#"{"id":3,"patient_id":3}"#;
    assert_eq!(listed(OPAL, call, JSON, chart).await, opal(&[]));
}

#[tokio::test]
async fn lists_of_the_other_profiles_name_their_patients() {
    let oid = "0123abcd-0123abcd-0123abcd-0123abcd-0123abcd";
    let uuid = "0195f1a0-0000-7000-8000-00000000000a";
    let ids = format!("[\"{oid}\"]");
    let orthanc = of("urn:orthanc:patient", &[oid]);
    let call = Call::get("/patients");
    assert_eq!(listed(ORTHANC, call, JSON, &ids).await, orthanc);
    let call = Call::get("/patients?expand");
    let whole = format!("[{{\"ID\":\"{oid}\",\"MainDicomTags\":{{\"PatientID\":\"1\"}}}}]");
    assert_eq!(listed(ORTHANC, call, JSON, &whole).await, orthanc);
    let find = |level: &str| Call::new("POST", "/tools/find").json(level);
    let call = find(r#"{"Level":"Patient","Query":{}}"#);
    assert_eq!(listed(ORTHANC, call, JSON, &ids).await, orthanc);
    let call = find(r#"{"Level":"Study","Query":{}}"#);
    assert_eq!(
        listed(ORTHANC, call, JSON, &ids).await,
        of("", &[]),
        "studies"
    );
    let call = find(r#"{"Level":"Study","Expand":true,"Query":{}}"#);
    let study = format!(
        "[{{\"ID\":\"{}\",\"ParentPatient\":\"{oid}\"}}]",
        oid.replace('0', "1")
    );
    assert_eq!(listed(ORTHANC, call, JSON, &study).await, orthanc);
    let call = Call::new("POST", "/tools/lookup").body("text/plain", "1");
    let found =
        format!(r#"[{{"Path":"/patients/{oid}","Type":"Patient"}},{{"Path":"/studies/{oid}"}}]"#);
    assert_eq!(listed(ORTHANC, call, JSON, &found).await, orthanc);
    let call = Call::get("/dicom-web/studies?PatientName=A");
    let qido = r#"[{"00100010":{"vr":"PN"},"00100020":{"Value":["MRN000003"],"vr":"LO"}}]"#;
    let by_number = of("urn:dicom:patient-id", &["MRN000003"]);
    assert_eq!(
        listed(ORTHANC, call, "application/dicom+json", qido).await,
        by_number
    );

    let openemr = |ids: &[&str]| of("urn:openemr:pid", ids);
    let call = Call::get("/interface/main/finder/dynamic_finder_ajax.php?sEcho=1");
    let rows = r#"{"sEcho":1,"aaData":[{"DT_RowId":"pid_4","0":"Ann"},{"DT_RowId":"pid_5"}]}"#;
    let html = "text/html; charset=utf-8";
    assert_eq!(
        listed(OPENEMR, call, html, rows).await,
        openemr(&["4", "5"])
    );
    let call = Call::get("/interface/main/finder/patient_select.php");
    let page = "<table><tr class='head'><tr class='oneresult' id='4'><td class='srName'>A</td></tr></table>";
    assert_eq!(listed(OPENEMR, call, html, page).await, openemr(&["4"]));
    let call = Call::get("/apis/default/api/patient");
    let data = r#"{"validationErrors":[],"data":[{"pid":"4","uuid":"x"}]}"#;
    assert_eq!(listed(OPENEMR, call, JSON, data).await, openemr(&["4"]));
    let call = Call::get("/apis/default/fhir/Patient");
    let bundle =
        format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"id":"{uuid}"}}}}]}}"#);
    let kind = "application/fhir+json";
    assert_eq!(
        listed(OPENEMR, call, kind, &bundle).await,
        of("urn:openemr:uuid", &[uuid])
    );

    let call = Call::get("/openmrs/ws/rest/v1/patient?q=a");
    let results =
        format!(r#"{{"results":[{{"uuid":"{uuid}","display":"A","links":[{{"uuid":"x"}}]}}]}}"#);
    assert_eq!(
        listed(OPENMRS, call, JSON, &results).await,
        of("urn:openmrs:uuid", &[uuid])
    );

    let call = Call::get("/oscar/demographic/demographicsearchresults.jsp");
    let page = "<td class=\"demoIdSearch\"><a href=\"#\" onclick=\"popup(700,1027,'demographiccontrol.jsp?demographic_no=12&displaymode=edit')\" >12</a>
        <td><a href='../appointment/add.jsp?demographic_no=13&x=1'>B</a>";
    assert_eq!(
        listed(OSCAR, call, html, page).await,
        of("urn:oscar:demographic", &["12", "13"])
    );
}

#[tokio::test]
async fn lists_of_the_sample_clinic_name_their_patients() {
    let clinic = |ids: &[&str]| of("urn:example:riverside:pid", ids);
    let page = "<section class=banner data-pid=9></section><nav><a href='/patients/search'>x</a></nav><main>
        <tr><td><a href=\"/patients/select?set_pid=4\">A</a></td></tr><tr><td><a href=\"/patients/select?set_pid=5\">B</a>";
    for path in ["/", "/patients/search?q=a"] {
        let found = listed(SAMPLE, Call::get(path), "text/html; charset=utf-8", page).await;
        assert_eq!(found, clinic(&["4", "5"]), "{path}");
    }
    let call = Call::get("/reports/patients.csv");
    let rows = "\"pid\",\"mrn\"\r\n\"4\",\"MRN1\"\r\n\"5\",\"MRN2\"\r\n";
    let found = listed(SAMPLE, call, "text/csv; charset=utf-8", rows).await;
    assert_eq!(found, clinic(&["4", "5"]));
    // A page of which no rule speaks is not heard, whatever is in it.
    let found = listed(SAMPLE, Call::get("/schedule"), "text/html", page).await;
    assert_eq!(found, clinic(&[]));
}

#[tokio::test]
async fn only_lists_are_asked_for_as_plain_text() {
    let emrs = emrs(SAMPLE);
    for (path, is_list) in [
        ("/patients/search", true),
        ("/reports/patients.csv", true),
        ("/schedule", false),
    ] {
        let mapped = Call::get(path).map(&emrs).await.unwrap();
        assert_eq!(mapped.is_listened_to(), is_list, "{path}");
    }
}

const ROUTE: &str = r#"version = 1
name = "x"
patient_system = "urn:x"
[[route]]
id = "list"
methods = ["GET"]
path = "/list"
action = "Search"
section = "demographics"
"#;

fn problems(appears: &str) -> Vec<String> {
    match Profile::parse(&format!("{ROUTE}{appears}\n"), "bad.toml") {
        Ok(_) => Vec::new(),
        Err(found) => {
            assert!(found.iter().all(|p| !p.remedy.is_empty()));
            assert!(found.iter().all(|p| p.line == 10), "{found:?}");
            found.into_iter().map(|p| p.message).collect()
        }
    }
}

#[test]
fn what_a_profile_says_of_lists_holds_together() {
    let fine = r#"appears = [{ json = "/*/id" }, { html = "tr[data-pid] > td:nth-child(2)", attribute = "data-pid" },
        { csv = "MRN", patient_system = "urn:mrn", patient_pattern = "token", patient_max_length = 12 },
        { json = "/x", strip = "pid_" }, { html = "a", attribute = "href", query = "pid" }]"#;
    assert_eq!(problems(fine), Vec::<String>::new());
    for (appears, part) in [
        ("{ }", "one of `json`, `html` and `csv`"),
        (
            "{ json = \"/x\", csv = \"x\" }",
            "one of `json`, `html` and `csv`",
        ),
        ("{ json = \"x\" }", "`x` is not a JSON pointer"),
        (
            "{ html = \"td:has(a)\" }",
            "`td:has(a)` cannot be looked for",
        ),
        ("{ html = \"\" }", "cannot be looked for"),
        (
            "{ html = \"td\", attribute = \"\" }",
            "the attribute has no name",
        ),
        (
            "{ json = \"/x\", attribute = \"id\" }",
            "only elements of a page have attributes",
        ),
        ("{ csv = \" \" }", "the column has no name"),
        (
            "{ csv = \"x\", strip = \"a\", query = \"b\" }",
            "both say which part",
        ),
        (
            "{ csv = \"x\", strip = \"\" }",
            "nothing is written in `strip` or `query`",
        ),
        (
            "{ csv = \"x\", patient_max_length = 900 }",
            "1 to 256 characters",
        ),
        (
            "{ csv = \"x\", patient_pattern = \"digit\" }",
            "unknown variant `digit`",
        ),
        ("{ xml = \"x\" }", "unknown field `xml`"),
    ] {
        let found = problems(&format!("appears = [{appears}]"));
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{appears}: {found:?}"
        );
    }
    let many = vec!["{ csv = \"x\" }"; 17].join(", ");
    let found = problems(&format!("appears = [{many}]"));
    assert_eq!(found, ["17 places, of at most 16"]);
    let live = format!("{ROUTE}appears = [{{ csv = \"x\" }}]\nwebsocket = true\n");
    let found = Profile::parse(&live, "x").unwrap_err();
    assert!(found[0].message.contains("never end"), "{found:?}");
    let nobody = ROUTE.replace("patient_system = \"urn:x\"\n", "");
    let found = Profile::parse(&format!("{nobody}appears = [{{ csv = \"x\" }}]\n"), "x");
    assert!(found.unwrap_err()[0].message.contains("numbering system"));
    let own = "appears = [{ csv = \"x\", patient_system = \"urn:y\" }]\n";
    assert!(Profile::parse(&format!("{nobody}{own}"), "x").is_ok());
}
