//! Every route of the shipped profiles, and what they make of requests that try to look like another.

use proptest::prelude::*;

use super::*;

// One request a line: method, target and body; then the route, action, section and patients that it is.

const SAMPLE_REQUESTS: &str = r#"
GET /login => login-form Navigate shell
GET /static/clinic.css => static Navigate shell
GET /favicon.ico => static Navigate shell
GET /api/poll?since=3 => poll Navigate shell
GET /ws/notifications => notifications Navigate shell
GET /download?bytes=5 => diagnostics Navigate shell
GET /slow => slow Navigate shell
GET /error => diagnostics Navigate shell
DELETE /echo => echo Navigate shell
POST /echo a=1 => echo Navigate shell
GET / => worklist Search demographics
HEAD / => worklist Search demographics
GET /patients/search?q=ito => patient-search Search demographics
GET /registration => registration-form Read demographics
POST /patients/12/delete => patient-delete Delete demographics 12
GET /chart => chart Read summary 4
GET /chart/demographics => demographics Read demographics 4
POST /chart/demographics phone=1 => demographics-update Update demographics 4
GET /chart/notes => notes Read notes 4
POST /chart/notes text=x => note-create Create notes 4
GET /chart/orders => orders Read orders 4
POST /chart/orders what=x => order-create Order orders 4
POST /chart/orders/7/sign => order-sign Sign orders 4
GET /chart/results => results Read results 4
POST /chart/results test=x => result-create Create results 4
GET /chart/imaging => imaging Read imaging 4
GET /chart/medications => medications Read medications 4
POST /chart/medications drug=x => prescription-create Create medications 4
GET /chart/sensitive => sensitive Read sensitive 4
GET /chart/psychotherapy => psychotherapy Read sensitive 4
POST /chart/psychotherapy text=x => psychotherapy-note-create Create sensitive 4
GET /chart/documents => documents Read documents 4
GET /chart/documents/9 => document Read documents 4
POST /upload data => upload Create documents 4
GET /chart/print => print Print export 4
GET /chart/send => copy-form Read export 4
POST /chart/send recipient=x => copy-send Disclose export 4
GET /patients/12/export.csv => chart-export Export export 12
GET /reports/patients.csv => patients-export Export export
GET /billing => billing Read billing
POST /billing pid=12&code=x&amount=1 => charge-create Create billing 12
GET /schedule => schedule Read scheduling
POST /schedule at=x&pid=12 => appointment-create Create scheduling 12
GET /admin/users => users Administer administration
POST /admin/users username=x => users Administer administration
GET /admin/audit => emr-log Read log
GET /api/patients/12 => api-patient Read summary 12
POST /api/notes {"patient":{"id":12},"text":"x"} => api-note-create Create notes 12
GET /patients/select?set_pid=5 => patient-select Read demographics 5
POST /registration family=x => registration Create demographics
POST /login username=adams&password=x => login Navigate shell
GET /logout => logout Navigate shell
GET /chart/secret => unmapped Unmapped unmapped
POST /admin/audit => unmapped Unmapped unmapped
GET /ADMIN/users => unmapped Unmapped unmapped
GET /admin/users/ => unmapped Unmapped unmapped
GET /patients/12/export.csv/ => unmapped Unmapped unmapped
"#;

const OPAL_REQUESTS: &str = r#"
GET /templates/api/v0.1/patient/1/ => api-out-of-place Administer administration
GET /assets/x/api/v0.1/patient/1/ => api-out-of-place Administer administration
GET /templates/xapi/v0.1/patient/1/ => api-out-of-place Administer administration
POST /accounts/login/?next=/ username=adams&password=x&next=/ => login Navigate shell
POST /admin/login/?next=/admin/ username=adams&password=x => login Navigate shell
GET /accounts/login/?next=/ => login-form Navigate shell
GET /accounts/logout/ => logout Navigate shell
POST /accounts/change-password a=1 => account Navigate shell
GET / => shell Navigate shell
GET /assets/js/lib/angular.js => assets Navigate shell
GET /templates/episode_detail.html/3 => template-episode Read summary 3
GET /templates/modals/diagnosis.html/ => templates Navigate shell
GET /search/simple/?query=Adams => search-simple Search demographics
GET /search/patient/?hospital_number=1 => search-number Search demographics
POST /search/extract/ [] => search-advanced Search summary
DELETE /search/filters/3/ => search-filters Search demographics
GET /api/v0.1/patientlist/mine/ => patient-list Search demographics
GET /api/v0.1/patient/3/ => patient Read summary 3
GET /api/v0.1/patientrecordaccess/3/ => patient-access-log Read log 3
GET /api/v0.1/episode/3/ => episode Read summary 3
PUT /api/v0.1/episode/3/ {} => episode-update Update summary 3
POST /api/v0.1/episode/ {"demographics":{"hospital_number":"MRN000003"}} => episode-create Create demographics MRN000003
POST /api/v0.1/episode/ {"demographics":{}} => episode-create Create demographics
GET /api/v0.1/tagging/3/ => tagging Read summary 3
PUT /api/v0.1/tagging/3/ {} => tagging-update Update summary 3
GET /api/v0.1/diagnosis/ => list-all Export export
GET /api/v0.1/demographics/3/ => demographics Read demographics 3
POST /api/v0.1/demographics/ {"episode_id":3,"condition":"Sepsis"} => demographics-create Create demographics 3
PUT /api/v0.1/demographics/3/ {"episode_id":3,"condition":"Sepsis"} => demographics-update Update demographics 3
GET /api/v0.1/allergies/3/ => summary-entry Read summary 3
POST /api/v0.1/diagnosis/ {"episode_id":3,"condition":"Sepsis"} => summary-create Update summary 3
PUT /api/v0.1/diagnosis/3/ {"episode_id":3,"condition":"Sepsis"} => summary-update Update summary 3
GET /api/v0.1/treatment/3/ => medication-entry Read medications 3
POST /api/v0.1/treatment/ {"episode_id":3,"condition":"Sepsis"} => medication-create Create medications 3
PUT /api/v0.1/treatment/3/ {"episode_id":3,"condition":"Sepsis"} => medication-update Update medications 3
GET /api/v0.1/symptom_complex/3/ => note-entry Read notes 3
POST /api/v0.1/patient_consultation/ {"episode_id":3,"condition":"Sepsis"} => note-create Create notes 3
PATCH /api/v0.1/symptom_complex/3/ {"episode_id":3,"condition":"Sepsis"} => note-update Update notes 3
DELETE /api/v0.1/diagnosis/3/ => entry-delete Delete summary 3
GET /pathway/detail/add_patient => pathway-form Navigate shell
POST /pathway/detail/add_patient {} => pathway-register Create demographics
GET /pathway/detail/add/3 => pathway-read Read summary 3
GET /pathway/detail/add/3/3 => pathway-read-episode Read summary 3
POST /pathway/detail/add/3 {"allergies":[{"id":3,"drug":"x"}]} => pathway-update Update summary 3
POST /pathway/detail/add/3/3 {"diagnosis":[{"condition":"x"}]} => pathway-update-episode Update summary 3
POST /search/extract/download criteria=[] => extract Export export
GET /api/v0.1/referencedata/ => api-shell Navigate shell
GET /admin/ => admin Administer administration
POST /admin/auth/user/1/change/ a=1 => admin Administer administration
GET /api/v0.1/patient/3.json => unmapped Unmapped unmapped
GET /xapi/v0.1/patient/3/ => api-out-of-place Administer administration
"#;

const ORTHANC_REQUESTS: &str = r#"
GET /app/explorer.html => explorer Navigate shell
GET /system => server Navigate shell
GET /patients?expand => patients Search imaging
GET /studies?expand => lists Search imaging
POST /tools/find {"Level":"Patient","Query":{"PatientID":"1"}} => find-patients Search imaging
POST /tools/find {"Level":"Study","Query":{"PatientID":"1"}} => find Search imaging
POST /tools/lookup 1CT1 => lookup Search imaging
GET /dicom-web/studies?PatientID=1&includefield=a&includefield=b => qido Search imaging
GET /patients/ab12-cd34/archive => patient-archive Export export ab12-cd34
GET /studies/ab/archive => archive Export export
GET /instances/ab/file => file Export export
GET /instances/ab/attachments/dicom/data => file Export export
GET /patients/ab/attachments/x/data => patient-archive Export export ab
POST /tools/create-archive {} => bulk-out Export export
POST /patients/ab/anonymize {} => anonymize-patient Export export ab
POST /studies/ab/anonymize {} => anonymize Export export
POST /modalities/x/store [] => send Disclose export
POST /instances data => upload Create imaging
POST /dicom-web/studies data => upload Create imaging
POST /patients/AB/modify {} => modify-patient Update imaging ab
POST /series/ab/modify {} => modify Update imaging
DELETE /patients/ab => delete-patient Delete imaging ab
DELETE /studies/ab => delete Delete imaging
POST /studies/ab/merge {} => rearrange Delete imaging
POST /instances/ab/export /etc/x => write-file patched CVE-2023-33466
POST /tools/execute-script x => tools patched ORTHANC-EXECUTE-SCRIPT
POST /tools/reset => tools Administer administration
GET /tools/find => tools Administer administration
PUT /modalities/x {} => administration Administer administration
GET /changes => administration Administer administration
GET /patients/ab => patient Read imaging ab
GET /patients/ab/studies => patient Read imaging ab
GET /instances/ab/preview => images Read imaging
GET /dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1 => wado-rs Read imaging
GET /wado?studyUID=1.2&objectUID=1.3 => wado-uri Read imaging
PUT /instances/ab/metadata/x x => unmapped Unmapped unmapped
"#;

async fn check(profile: &str, cookie: Option<&str>, emrs: &Emrs, requests: &str) {
    let mut reached = BTreeSet::new();
    for line in requests.lines().filter(|line| !line.is_empty()) {
        let (request, expected) = line.split_once(" => ").unwrap();
        let words: Vec<&str> = request.split(' ').collect();
        let mut call = Call::new(words[0], words[1]);
        if let Some(cookie) = cookie {
            call = call.cookie(cookie);
        }
        call = match words.get(2) {
            Some(body) if body.starts_with(['{', '[']) => call.json(body),
            Some(body) => call.form(body),
            None => call,
        };
        let mapped = match call.map(emrs).await {
            Ok(mapped) => mapped,
            Err(refused) if refused.refusal() == Refusal::Patched => {
                let mapping = refused.facts().mapping.as_deref().unwrap();
                let patch = mapping.inspected.patch.as_deref().unwrap();
                assert_eq!(
                    format!("{} patched {patch}", mapping.route),
                    expected,
                    "{line}"
                );
                reached.insert(mapping.route.clone());
                continue;
            }
            Err(refused) => panic!("{line}: {:?}", refused.refusal()),
        };
        let mapping = mapped.mapping();
        let mut found = vec![&*mapping.route, mapping.action.name(), &mapping.section];
        found.extend(mapping.patients.iter().map(|patient| patient.id.as_str()));
        assert_eq!(found.join(" "), expected, "{line}");
        assert_eq!(mapped.received().facts().mapping.as_deref(), Some(mapping));
        assert_eq!(mapped.received().parts().target.as_str(), words[1]);
        reached.insert(mapping.route.clone());
    }
    let profile = Profile::parse(profile, "x").unwrap();
    for route in profile.routes() {
        assert!(
            reached.contains(route.id()),
            "no request for route {}",
            route.id()
        );
    }
}

#[tokio::test]
async fn sample_clinic() {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    select(&emrs, "t", "4").await;
    check(SAMPLE, Some("CLINICSESSID=t"), &emrs, SAMPLE_REQUESTS).await;
}

#[tokio::test]
async fn opal() {
    let emrs = emrs(OPAL);
    links::opal_session(&emrs, "s1", "t").await;
    links::show_chart(&emrs, "t", "3", "3").await;
    check(OPAL, Some("sessionid=t"), &emrs, OPAL_REQUESTS).await;
    let call = Call::new("POST", "/api/v0.1/diagnosis/")
        .cookie("sessionid=t")
        .json(r#"{"episode_id":3}"#);
    let mapped = call.map(&emrs).await.unwrap();
    assert_eq!(
        mapped
            .mapping()
            .fields
            .get("/episode_id")
            .map(String::as_str),
        Some("3")
    );
}

#[tokio::test]
async fn orthanc() {
    let emrs = emrs(ORTHANC);
    check(ORTHANC, None, &emrs, ORTHANC_REQUESTS).await;
    let mapped = Call::get("/dicom-web/studies/1.2/metadata")
        .map(&emrs)
        .await
        .unwrap();
    assert_eq!(
        mapped.mapping().fields.get("study").map(String::as_str),
        Some("1.2")
    );
}

#[test]
fn shipped_profiles_have_no_findings() {
    for (text, file) in [
        (SAMPLE, "sample-clinic"),
        (OPAL, "opal"),
        (ORTHANC, "orthanc"),
        (OPENEMR, "openemr"),
        (OPENMRS, "openmrs"),
        (OSCAR, "oscar"),
    ] {
        let profile = Profile::parse(text, file).unwrap();
        assert_eq!(profile.name(), file);
        assert_eq!(profile.report(), [], "{file}");
        assert_eq!(
            profile.patch_report(jiff::civil::date(2026, 12, 1)),
            [],
            "{file}"
        );
    }
}

#[tokio::test]
async fn behaviour_of_routes() {
    let emrs = emrs(SAMPLE);
    let mapped = Call::get("/api/poll").map(&emrs).await.unwrap();
    assert!(mapped.mapping().poll && mapped.traits().no_store && !mapped.traits().websocket);
    let mapped = Call::get("/ws/notifications")
        .upgrade("websocket")
        .map(&emrs)
        .await
        .unwrap();
    assert!(mapped.traits().websocket);
    for (target, protocol) in [
        ("/echo", "websocket"),
        ("/nowhere", "websocket"),
        ("/ws/notifications", "h2c"),
    ] {
        let refusal = Call::get(target).upgrade(protocol).refusal(&emrs).await;
        assert_eq!(refusal, Some(Refusal::UpgradeRefused), "{target}");
    }
    let mapped = Call::get("/nowhere").map(&emrs).await.unwrap();
    assert!(mapped.traits().no_store && !mapped.traits().pass_authorization);
    let mapped = Call::get("/patients/search?q=Ito")
        .map(&emrs)
        .await
        .unwrap();
    assert_eq!(
        mapped.mapping().fields.get("q").map(String::as_str),
        Some("Ito")
    );
}

#[tokio::test]
async fn a_patient_spelt_differently_is_no_patient() {
    let sample = emrs(SAMPLE);
    for pid in [
        "04",
        "+4",
        "-4",
        "4.0",
        "%204",
        "4%20",
        "%EF%BC%94",
        "4,5",
        "abc",
        "9999999999",
    ] {
        let refusal = Call::get(&format!("/api/patients/{pid}"))
            .refusal(&sample)
            .await;
        assert_eq!(refusal, Some(Refusal::AmbiguousTarget), "{pid}");
        let refusal = Call::get(&format!("/patients/select?set_pid={pid}"))
            .refusal(&sample)
            .await;
        assert_eq!(refusal, Some(Refusal::AmbiguousTarget), "{pid}");
    }
    let opal = emrs(OPAL);
    for pid in ["01", "+1", "%EF%BC%91"] {
        let refusal = Call::get(&format!("/api/v0.1/patient/{pid}/"))
            .refusal(&opal)
            .await;
        assert_eq!(refusal, Some(Refusal::AmbiguousTarget), "{pid}");
    }
}

/// oauth2-proxy CVE-2025-54576, CVE-2026-41059, Traefik CVE-2023-47106: the query, `#` or an escape made a
/// protected path look public.
#[tokio::test]
async fn nothing_makes_a_protected_path_look_public() {
    let emrs = emrs(SAMPLE);
    let route = |target: &'static str| {
        let emrs = &emrs;
        async move {
            Call::get(target)
                .map(emrs)
                .await
                .map(|m| m.mapping().route.clone())
                .map_err(|r| r.refusal())
        }
    };
    assert_eq!(
        route("/admin/users?x=/static/a").await.as_deref(),
        Ok("users")
    );
    assert_eq!(
        route("/admin/users?/static/../x").await,
        Err(Refusal::ValueBlocked)
    );
    assert_eq!(
        route("/admin/users%3F/static/").await.as_deref(),
        Ok("unmapped")
    );
    assert_eq!(
        route("/admin/users%23/static/").await.as_deref(),
        Ok("unmapped")
    );
    assert_eq!(route("/%61dmin/users").await.as_deref(), Ok("users"));
    for target in [
        "/static//admin/users",
        "//admin/users",
        "/static/;/admin/users",
        "/static/a%2Fb",
        "/static/a%3Bb",
        "/static/%2541",
    ] {
        assert_eq!(
            route(target).await,
            Err(Refusal::AmbiguousTarget),
            "{target}"
        );
    }
}

static SHIPPED: std::sync::LazyLock<[Emrs; 3]> =
    std::sync::LazyLock::new(|| [SAMPLE, OPAL, ORTHANC].map(emrs));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever the bytes: the target that was mapped is the target that is forwarded, and nothing panics.
    #[test]
    fn the_mapped_target_is_the_forwarded_one(
        method in "(GET|POST|PUT|HEAD|DELETE)",
        raw in "/(chart|admin|api|patients|static|%2e|%61|[ -~]){0,3}(/(users|notes|4|[ -~]{0,6})){0,3}(\\?[ -~]{0,20})?",
        body in "[ -~]{0,30}",
        cookie in "[ -:<-~]{0,20}(; CLINICSESSID=[a-z]{0,3}){0,2}",
    ) {
        let Ok(target) = Target::parse_str(&raw) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for emrs in SHIPPED.iter() {
            let mut call = Call::new(&method, &raw).form(&body);
            if let Ok(value) = HeaderValue::from_str(&cookie) {
                call.headers.insert("cookie", value);
            }
            if let Ok(mapped) = runtime.block_on(call.map(emrs)) {
                prop_assert_eq!(mapped.received().parts().target.as_str(), target.as_str());
                prop_assert_eq!(&mapped.received().facts().path, target.path());
                let (identified, _, _) = mapped.into_parts();
                let (received, ..) = identified.into_parts();
                let (_, forwarded, ..) = received.into_parts();
                let sent = runtime.block_on(forwarded.collect()).unwrap().to_bytes();
                prop_assert_eq!(sent.as_ref(), body.as_bytes());
            }
        }
    }
}
