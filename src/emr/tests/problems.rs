//! Profiles with mistakes: every one is named, with its line.

use super::*;

fn problems(text: &str) -> Vec<(usize, String)> {
    let found = Profile::parse(text, "bad.toml").unwrap_err();
    assert!(
        found
            .iter()
            .all(|p| p.file == "bad.toml" && !p.remedy.is_empty())
    );
    found.into_iter().map(|p| (p.line, p.message)).collect()
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    let text = r#"version = 2
name = "x"
colour = "red"
patient_system = "urn:x"

[session]
cookies = []

[login]
route = "nowhere"
user = { form = "u", query = "u" }
success = { status = [99] }
bind_user = "same"

[[route]]
id = "a"
methods = ["GET", "CONNECT"]
path = "/a/%2f"
action = "Read"
section = "notes"

[[route]]
id = "a"
methods = ["GET"]
path = "/b"
action = "Reed"
section = "notes"

[[route]]
id = "c"
methods = ["GET"]
path = ["/c", "/c/{pid}"]
action = "Read"
section = "notes"
patient = { path = "pid" }
sensitivity = "X"
body_limit = "lots"

[[route]]
id = "c"
methods = ["GET"]
path = "/d"
action = "Unmapped"
section = "no tes"
patient = { form = "pid" }
selects = true
clears = true
unknown = 1
"#;
    let found = problems(text);
    let has = |line: usize, part: &str| {
        assert!(
            found.iter().any(|(l, m)| *l == line && m.contains(part)),
            "{line} {part}: {found:#?}"
        );
    };
    has(3, "colour");
    has(6, "no session cookie");
    has(9, "exactly one place");
    has(9, "`99` is not a status");
    has(17, "CONNECT");
    has(18, "/a/%2f");
    has(26, "Reed");
    has(35, "no `{pid}`");
    has(36, "`X`");
    has(37, "not a size");
    has(48, "unknown");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let head = "version = 1\nname = \"x\"\npatient_system = \"urn:x\"\n[session]\ncookies = [\"S\"]\n[[route]]\nid = \"r\"\n";
    let rest = "path = \"/r\"\naction = \"Read\"\nsection = \"notes\"\n";
    for (route, part) in [
        (
            "methods = [\"GET\"]\nselects = true\n",
            "must name exactly one",
        ),
        (
            "methods = [\"GET\"]\nselects = true\npatient = \"sticky\"\n",
            "must name exactly one",
        ),
        (
            "methods = [\"POST\"]\nselects = true\npatient = { json = \"/a/*\" }\n",
            "must name exactly one",
        ),
        (
            "methods = [\"GET\"]\nselects = true\nclears = true\npatient = { query = \"p\" }\n",
            "not both",
        ),
        (
            "methods = [\"GET\"]\nsuccess = { status = [200] }\n",
            "selects nobody",
        ),
        (
            "methods = [\"GET\"]\npatient = { form = \"p\" }\n",
            "no body to map",
        ),
        ("methods = [\"GET\"]\npatient = \"stickey\"\n", "stickey"),
        (
            "methods = [\"GET\"]\npatient = { query = \"p\", header = \"h\" }\n",
            "exactly one place",
        ),
        (
            "methods = [\"GET\"]\npatient = { json = \"p\" }\n",
            "not a JSON pointer",
        ),
        (
            "methods = [\"GET\"]\npatient_required = true\n",
            "nothing says where",
        ),
        (
            "methods = [\"POST\"]\nform = { a = true }\njson = { \"/b\" = true }\n",
            "not both",
        ),
        (
            "methods = [\"POST\"]\nform = { a = true }\nbody_limit = \"1GiB\"\n",
            "held in memory",
        ),
        (
            "methods = [\"POST\"]\njson = { \"/b/*\" = true }\n",
            "one value",
        ),
        ("methods = []\n", "no method"),
        ("methods = [\"get\"]\n", "`get`"),
        (
            "methods = [\"GET\"]\npatient = { query = \"p\" }\npatient_max_length = 0\n",
            "1 to 256",
        ),
        ("methods = [\"GET\"]\nallow = [\"dots\"]\n", "dots"),
    ] {
        let text = format!("{head}{route}{rest}");
        let found = problems(&text);
        assert!(
            found.iter().any(|(line, m)| *line >= 6 && m.contains(part)),
            "{route}: {found:#?}"
        );
    }
    let stateless = "version = 1\nname = \"x\"\n[[route]]\nid = \"r\"\nmethods = [\"GET\"]\npatient = \"sticky\"\n";
    assert!(
        problems(&format!("{stateless}{rest}"))[0]
            .1
            .contains("does not name")
    );
}

#[test]
fn broken_toml_and_missing_files_are_problems() {
    assert_eq!(
        problems("version = \nname = 'x'\n[[route]\n")
            .iter()
            .map(|p| p.0)
            .min(),
        Some(1)
    );
    assert!(
        problems("version = 1\nname = \"x\"")[0]
            .1
            .contains("no routes")
    );
    let missing = Profile::read(std::path::Path::new("/nonexistent/x.toml")).unwrap_err();
    assert_eq!((missing.len(), missing[0].line), (1, 0));
    assert!(missing[0].to_string().starts_with("/nonexistent/x.toml:0:"));
}

#[test]
fn a_step_up_demands_something_that_can_be_met() {
    let with = |step_up: &str| {
        format!(
            "version = 1\nname = \"x\"\n\n[[route]]\nid = \"r\"\nmethods = [\"GET\"]\npath = \"/a\"\naction = \"Navigate\"\nsection = \"shell\"\nstep_up = {step_up}\n"
        )
    };
    for (wrong, part) in [
        ("{ }", "demands nothing"),
        ("{ max_age = \"0s\" }", "one second to 24 hours"),
        ("{ max_age = \"1441m\" }", "one second to 24 hours"),
        ("{ max_age = \"soon\" }", "one second to 24 hours"),
        ("{ max_age = \"500ms\" }", "one second to 24 hours"),
        ("{ factor = \"any\" }", "not a factor"),
        ("{ factor = \"otp\" }", "not a factor"),
    ] {
        let found = problems(&with(wrong));
        assert!(
            found
                .iter()
                .any(|(line, m)| *line == 10 && m.contains(part)),
            "{wrong}: {found:#?}"
        );
    }
    let unknown = problems(&with("{ max_age = \"5m\", acr = \"x\" }"));
    assert!(unknown[0].1.contains("acr"), "{unknown:#?}");
    let text = with("{ max_age = \"5m\", factor = \"phishing-resistant\" }");
    let profile = Profile::parse(&text, "good.toml").unwrap();
    let recorded = profile.routes()[0].demand().as_recorded();
    assert_eq!(recorded, ["stepup=300s", "factor=phishing-resistant"]);
}
