//! Each shipped patch against the shape of its exploit and against honest requests.

use super::*;

/// One request a line: method, target and, in that order, a body or a header `name:value`; then the patch, or `passes`.
const CASES: &[(&str, &str)] = &[
    (ORTHANC, "POST /instances/ab/export => CVE-2023-33466"),
    (ORTHANC, "GET /instances/ab/preview => passes"),
    (
        ORTHANC,
        "POST /tools/execute-script => ORTHANC-EXECUTE-SCRIPT",
    ),
    (ORTHANC, "POST /tools/find {\"Level\":\"Study\"} => passes"),
    (
        ORTHANC,
        "POST /instances content-encoding:gzip => CVE-2026-5438",
    ),
    (
        ORTHANC,
        "POST /dicom-web/studies content-encoding:identity => passes",
    ),
    (
        ORTHANC,
        "POST /instances content-type:application/zip => CVE-2026-5439",
    ),
    (
        ORTHANC,
        "POST /instances content-type:application/dicom => passes",
    ),
    (ORTHANC, "POST /instances => passes"),
    (SAMPLE, "GET /chart/documents/9 => passes"),
    (SAMPLE, "GET /chart/documents/9.bak => RIVERSIDE-2026-01"),
    (
        OPENEMR,
        "GET /interface/logview/logview.php?sortby=(select+1) => OPENEMR-1782",
    ),
    (
        OPENEMR,
        "GET /interface/logview/logview.php?sortby=user&sortby=x => OPENEMR-1782",
    ),
    (
        OPENEMR,
        "GET /interface/logview/logview.php?SORTBY=user => OPENEMR-1782",
    ),
    (
        OPENEMR,
        "POST /interface/logview/logview.php sortby=if(1,1,1) => OPENEMR-1782",
    ),
    (
        OPENEMR,
        "GET /interface/logview/logview.php?sortby=user => passes",
    ),
    (
        OPENEMR,
        "POST /interface/logview/logview.php sortby=date&x=1 => passes",
    ),
    (
        OPENEMR,
        "GET /apis/default/api/patient?_sort=if(1=1,lname,fname) => CVE-2026-24908",
    ),
    (
        OPENEMR,
        "GET /apis/default/fhir/Patient?_sort=-birthdate,family => passes",
    ),
    (
        OPENEMR,
        "POST /interface/super/edit_list.php newlistname=x'+x => OPENEMR-1579",
    ),
    (
        OPENEMR,
        "POST /interface/super/edit_list.php newlistname=My+list => passes",
    ),
    (
        OPENEMR,
        "GET /custom/ajax_download.php?fileName=..%2fsqlconf.php => CVE-2019-14530",
    ),
    (
        OPENEMR,
        "GET /custom/ajax_download.php?fileName=QRDA_III.xml => passes",
    ),
    (
        OPENEMR,
        "POST /interface/super/manage_site_files.php => CVE-2018-15139",
    ),
    (
        OPENEMR,
        "GET /interface/super/manage_site_files.php => passes",
    ),
    (
        OPENMRS,
        "POST /openmrs/ws/rest/v1/patient content-type:text/xml => CVE-2018-19276",
    ),
    (
        OPENMRS,
        "GET /openmrs/ws/rest/v1/patient?q=a content-type:application/xml => CVE-2018-19276",
    ),
    (
        OPENMRS,
        "POST /openmrs/ws/rest/v1/patient {\"a\":1} => passes",
    ),
    (OPENMRS, "GET /openmrs/ws/rest/v1/patient?q=obama => passes"),
    (
        OSCAR,
        "GET /oscar/loginfailed.jsp?errormsg=%3Cb%3E => OSCAR-ERRORMSG-XSS",
    ),
    (
        OSCAR,
        "GET /oscar/loginfailed.jsp?errormsg=Your+account+is+locked. => passes",
    ),
    (
        OSCAR,
        "POST /oscar/lab/CMLlabUpload.do => OSCAR-UNAUTH-ENDPOINTS",
    ),
    (OSCAR, "GET /oscar/ws/rs/record => OSCAR-UNAUTH-ENDPOINTS"),
    (
        OSCAR,
        "GET /oscar/lab/CA/ALL/labDisplay.jsp?segmentID=4 => passes",
    ),
    (
        OSCAR,
        "POST /oscar/oscarReport/RptByExample.do sql=x => OSCAR-REPORT-BY-EXAMPLE",
    ),
];

fn call(request: &str) -> Call {
    let mut words = request.splitn(3, ' ');
    let call = Call::new(words.next().unwrap(), words.next().unwrap());
    match words.next() {
        None => call,
        Some(json) if json.starts_with('{') => call.json(json),
        Some(header) if header.starts_with("content-") => {
            let (name, value) = header.split_once(':').unwrap();
            call.header(name, value)
        }
        Some(form) => call.form(form),
    }
}

#[tokio::test]
async fn exploits_are_refused_and_honest_requests_pass() {
    for (profile, line) in CASES {
        let (request, expected) = line.split_once(" => ").unwrap();
        let emrs = emrs(profile);
        let refused = call(request).map(&emrs).await.err();
        let patch = refused
            .as_ref()
            .filter(|refused| refused.refusal() == Refusal::Patched)
            .and_then(|refused| refused.facts().mapping.as_ref()?.inspected.patch.clone());
        assert_eq!(patch.as_deref().unwrap_or("passes"), expected, "{line}");
        let emr = emrs.emr(0).unwrap();
        let hits: u64 = emr
            .profile()
            .patches()
            .iter()
            .map(|patch| patch.hits())
            .sum();
        assert_eq!(hits, u64::from(expected != "passes"), "{line}");
        // A document needs a chart; nothing else stands in the way of an honest request.
        let other = refused.map(|refused| refused.refusal());
        let is_bound = matches!(
            other,
            Some(Refusal::PatientUnknown | Refusal::Patched) | None
        );
        assert!(is_bound, "{line}: {other:?}");
    }
}

#[test]
fn every_shipped_patch_is_tried() {
    for text in [SAMPLE, OPAL, ORTHANC, OPENEMR, OPENMRS, OSCAR] {
        for patch in Profile::parse(text, "x").unwrap().patches() {
            let ending = format!("=> {}", patch.id());
            assert!(
                CASES.iter().any(|(_, case)| case.ends_with(&ending)),
                "{}",
                patch.id()
            );
            assert!(!patch.title().is_empty() && !patch.source().is_empty());
        }
    }
}

fn patched(patch: &str) -> String {
    format!(
        "version = 1\nname = \"x\"\n[[route]]\nid = \"r\"\nmethods = [\"*\"]\npath = \"/a/**\"\naction = \"Read\"\nsection = \"notes\"\n{patch}"
    )
}

const PATCH: &str = r#"
[[patch]]
id = "P-1"
title = "t"
source = "s"
expires = 2026-06-30
methods = ["POST"]
path = "/a/{name}"
field = { form = "f" }
allow = "[0-9]+"
"#;

#[tokio::test]
async fn a_patch_has_the_body_read_and_fits_the_whole_value() {
    let emrs = emrs(&patched(PATCH));
    let post = |body: &str| Call::new("POST", "/a/x").form(body);
    assert_eq!(post("f=12").refusal(&emrs).await, None);
    assert_eq!(post("g=x").refusal(&emrs).await, None);
    for body in ["f=12%0a", "f=", "f=12x", "f=1&f=2", "f[]=1", "f=%ff"] {
        assert_eq!(
            post(body).refusal(&emrs).await,
            Some(Refusal::Patched),
            "{body}"
        );
    }
    let json = Call::new("POST", "/a/x").json("{}");
    assert_eq!(json.refusal(&emrs).await, Some(Refusal::UnsupportedBody));
    // Elsewhere on the route nothing is read.
    let deeper = Call::new("POST", "/a/x/y").json("{}");
    assert_eq!(deeper.refusal(&emrs).await, None);
}

#[tokio::test]
async fn a_body_that_no_route_reads_is_not_waved_through() {
    let emrs = emrs(&patched(&PATCH.replace("/a/{name}", "/b")));
    let unmapped = Call::new("POST", "/b").form("f=12");
    assert_eq!(unmapped.refusal(&emrs).await, Some(Refusal::Patched));
}

#[test]
fn hits_go_on_counting_over_a_reload() {
    let profile = |text: &str| Profile::parse(text, "x").unwrap();
    let (one, two) = (profile(&patched(PATCH)), profile(&patched(PATCH)));
    one.patches()[0].count();
    two.continue_counts(&one);
    assert_eq!(two.patches()[0].hits(), 1);
}

#[test]
fn expired_unmapped_and_overlapping_patches_are_reported() {
    use crate::emr::profile::FindingKind;
    let second = PATCH.replace("P-1", "P-2").replace("{name}", "x");
    let stray = PATCH.replace("P-1", "P-3").replace("/a/{name}", "/z");
    let text = patched(&format!("{PATCH}{second}{stray}"));
    let profile = Profile::parse(&text, "x").unwrap();
    let report = |day| -> Vec<(FindingKind, String)> {
        let found = profile.patch_report(day).into_iter();
        found.map(|f| (f.kind, f.route)).collect()
    };
    let standing = [
        (FindingKind::PatchOverlap, "P-2".to_owned()),
        (FindingKind::PatchUnmapped, "P-3".to_owned()),
    ];
    assert_eq!(report(jiff::civil::date(2026, 6, 30)), standing);
    let later = report(jiff::civil::date(2026, 7, 1));
    let expired = later
        .iter()
        .filter(|(kind, _)| *kind == FindingKind::PatchExpired);
    assert_eq!(expired.count(), 3);
}

#[test]
fn patches_with_mistakes_are_named() {
    for (from, to, says) in [
        ("allow = \"[0-9]+\"", "allow = \"[0-9\"", "cannot be used"),
        (
            "allow = \"[0-9]+\"",
            "allow = \"(a{999}){999}\"",
            "cannot be used",
        ),
        ("allow = \"[0-9]+\"", "", "go together"),
        ("field = { form = \"f\" }", "", "go together"),
        (
            "{ form = \"f\" }",
            "{ path = \"nobody\" }",
            "has no `{nobody}`",
        ),
        (
            "{ form = \"f\" }",
            "[{ form = \"f\" }, { json = \"/f\" }]",
            "not both",
        ),
        ("[\"POST\"]", "[\"GET\"]", "no body"),
        ("2026-06-30", "2026-06-30T10:00:00Z", "not a date"),
        ("2026-06-30", "\"soon\"", "datetime"),
        ("\"P-1\"", "\"P 1\"", "an id is"),
        ("title = \"t\"", "title = \"\"", "`title` is empty"),
        ("title = \"t\"", "titel = \"t\"", "titel"),
    ] {
        let text = patched(&PATCH.replace(from, to));
        let problems = Profile::parse(&text, "x").unwrap_err();
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(all.join("\n").contains(says), "{to}: {all:?}");
    }
    let twice = Profile::parse(&patched(&format!("{PATCH}{PATCH}")), "x").unwrap_err();
    assert!(twice[0].message.contains("already on line"));
    let text = patched("").replace("[[route]]", "[inspect]\nbody = \"form\"\n[[route]]");
    assert!(
        Profile::parse(&text, "x").unwrap_err()[0]
            .message
            .contains("belongs to a route")
    );
}
