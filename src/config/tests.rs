//! What a misconfigured gateway says: each kind of problem, with its line and its remedy.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::Config;
use super::fixture::{Fixture, TEMPLATE, sole};
use super::issuer::ClientAuth;
use super::problem::Severity;

/// The line of the template on which `text` stands.
fn line_of(text: &str) -> usize {
    let before = TEMPLATE.split(text).next().unwrap();
    before.split('\n').count()
}

/// Replaces `from` by `to` in the template and expects one error on that line.
fn expect(from: &str, to: &str, message: &str, remedy: &str) {
    let fixture = Fixture::new();
    let reading = fixture.replaced(from, to);
    let problem = sole(&reading.problems);
    assert_eq!(problem.severity, Severity::Error, "{problem:?}");
    assert!(problem.message.contains(message), "{problem:?}");
    assert!(problem.remedy.contains(remedy), "{problem:?}");
    let added = to.matches('\n').count();
    let lines = line_of(from)..=line_of(from).saturating_add(added);
    let line = problem.place.as_ref().unwrap().line;
    assert!(
        lines.contains(&line),
        "line {line} is not in {lines:?}: {problem:?}"
    );
    assert!(Config::load_text(&fixture, &TEMPLATE.replacen(from, to, 1)).is_none());
}

impl Config {
    /// The configuration, if nothing is wrong with it.
    fn load_text(fixture: &Fixture, text: &str) -> Option<Self> {
        fixture.write("chartgate.toml", text);
        Self::load(&fixture.path("chartgate.toml")).ok()
    }
}

#[test]
fn the_shipped_configuration_loads_without_a_warning() {
    let fixture = Fixture::new();
    let reading = fixture.read(TEMPLATE);
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let config = Config::load_text(&fixture, TEMPLATE).unwrap();
    assert_eq!(config.identity.idle_timeout, Duration::from_mins(15));
    let ClientAuth::SecretBasic(secrets) = &config.identity.issuers[0].client_auth else {
        panic!("{:?}", config.identity.issuers[0].client_auth)
    };
    assert_eq!(secrets.current.expose(), "s3cret-for-tests");
    assert_eq!(config.emrs[0].hosts, ["emr.hospital.example"]);
    assert_eq!(
        config.certificates[0].chain,
        fixture.path("certs/server.pem")
    );
    assert_eq!(config.admin.operators[&0], "root");
}

#[test]
fn the_readmes_example_is_the_shipped_configuration() {
    let readme = include_str!("../../README.md");
    let example = readme
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    assert!(
        example == TEMPLATE,
        "copy src/cli/templates/chartgate.toml into README.md"
    );
}

/// Keys of the commented `[provisioning]` that name a file, or have no default.
const PROVISIONING: [&str; 5] = [
    "# [provisioning",
    "# issuer =",
    "# token_file =",
    "# networks =",
    "# known_by =",
];

/// There are sealed accounts only where this section is.
const EMERGENCY: [&str; 5] = [
    "# [identity.emergency]",
    "# networks =",
    "# lasts =",
    "# usable_for =",
    "# test_every =",
];

/// What its own test looks at (`read::care`); there are no feeds unless they are configured.
const CARE: [&str; 8] = [
    "# [care",
    "# system =",
    "# file =",
    "# refresh = \"1m\"",
    "# stale_after =",
    "# staff =",
    "# authorities =",
    "# after_discharge =",
];

/// What its own test looks at (`read::second_factor`).
const SECOND_FACTOR: [&str; 10] = [
    "# [identity.second_factor]",
    "# issuers =",
    "# methods =",
    "# rp_name =",
    "# rp_id =",
    "# enrolment =",
    "# invitation =",
    "# max_failures =",
    "# lockout =",
    "# max_authenticators =",
];

/// Refreshing is off unless it is configured.
const REFRESH: [&str; 3] = [
    "# [identity.issuer.refresh]",
    "# every = \"10m\"",
    "# grace = \"30m\"",
];

/// What its own test looks at (`read::links`, `read::keys`).
const LINKS: [&str; 1] = ["# [patient_links"];
const KEYS: [&str; 6] = [
    "# [keys.kms]",
    "# endpoint =",
    "# region =",
    "# key_id =",
    "# access_key_id =",
    "# secret_access_key_file =",
];

/// What is shown commented out because it has no default, or its place differs.
const SHOWN: [&str; 44] = [
    "# [client.",
    "# chrome =",
    "# edge =",
    "# firefox =",
    "# safari =",
    "# below =",
    "# unknown =",
    "# exempt =",
    "# text =",
    "# show_to =",
    "# ca =",
    "# client_certificate =",
    "# acr =",
    "# node =",
    "# workers =",
    "# [emr.identity]",
    "# user_header",
    "# roles_header",
    "# assertion =",
    "# basic =",
    "# time_zone =",
    "# [[notify.",
    "# name =",
    "# url =",
    "# secret_file =",
    "# min_level =",
    "# include =",
    "# host = \"mail",
    "# security =",
    "# from =",
    "# to =",
    "# target =",
    "# [[backup.source]]",
    "# [[segmentation.probe]]",
    "# name = \"other-",
    "# emr =",
    "# address =",
    "# from =",
    "# name = \"emr-",
    "# command =",
    "# timeout =",
    "# directory =",
    "# feed =",
    "# servers =",
];

/// Every line of the template that is commented out is a key that exists, with its default.
#[test]
fn what_the_template_shows_as_default_is_the_default() {
    let fixture = Fixture::new();
    let files = [
        "secrets/webhook",
        "certs/provider-ca.pem",
        "certs/emr-ca.pem",
        "certs/gateway.pem",
        "keys/assertion.pem",
    ];
    for file in files {
        fixture.write(file, "pem");
    }
    let is_key = |line: &str| {
        let key = line.trim_start_matches("# ");
        line.starts_with("# ") && (key.contains(" = ") || key.starts_with('['))
    };
    let is_skipped = |line: &str| {
        let mut all = SHOWN
            .iter()
            .chain(&SECOND_FACTOR)
            .chain(&PROVISIONING)
            .chain(&CARE)
            .chain(&LINKS)
            .chain(&KEYS)
            .chain(&EMERGENCY)
            .chain(&REFRESH);
        all.any(|skip| line.starts_with(skip))
    };
    let uncommented: Vec<&str> = TEMPLATE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_key(line) && !is_skipped(line) => key,
            Some(_) | None => line,
        })
        .collect();
    let uncommented = uncommented.join("\n");
    let reading = fixture.read(&uncommented);
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let plain = fixture.read(TEMPLATE).config.unwrap();
    assert_eq!(
        format!("{:?}", reading.config.unwrap()),
        format!("{plain:?}")
    );
    assert!(uncommented.contains("\nmax_header_bytes = \"32KiB\"\n"));
}

#[test]
fn the_receivers_that_the_template_shows_are_read() {
    let fixture = Fixture::new();
    fixture.write("secrets/webhook", "a-secret-of-the-receiver");
    let (head, shown) = TEMPLATE.split_once("# [[notify.webhook]]\n").unwrap();
    let (shown, rest) = shown.split_once("[log]").unwrap();
    let shown = shown.replace("# ", "");
    let reading = fixture.read(&format!("{head}[[notify.webhook]]\n{shown}[log]{rest}"));
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let notify = reading.config.unwrap().notify;
    assert_eq!((notify.webhooks.len(), notify.mails.len()), (1, 1));
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let fixture = Fixture::new();
    let text = TEMPLATE
        .replace("\"0.0.0.0:443\", ", "\"0.0.0.0\", ")
        .replace("idle_timeout = \"15m\"", "idle_timeout = \"15\"")
        .replace("name = \"emr\"", "name = \"The EMR\"")
        .replace("[log]", "[log]\nlevel = \"debug\"");
    let problems = fixture.read(&text).problems;
    let lines: Vec<usize> = problems
        .iter()
        .map(|problem| problem.place.as_ref().unwrap().line)
        .collect();
    assert_eq!(lines.len(), 4, "{problems}");
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn syntax_errors_are_reported_with_their_line() {
    expect(
        "idle_timeout = \"15m\"",
        "idle_timeout = 15m",
        "this is not TOML",
        "correct the syntax",
    );
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    expect(
        "redirect_http",
        "redirect_htpp",
        "`redirect_htpp` is not known in [server]",
        "did you mean `redirect_http`?",
    );
    expect(
        "error_pages =",
        "error_page =",
        "`error_page` is not known in [emr]",
        "did you mean `error_pages`?",
    );
    expect(
        "[limits]",
        "[limit]\n[limits]",
        "the file's top level",
        "did you mean `limits`?",
    );
}

#[test]
fn a_secret_by_value_is_refused_and_not_shown() {
    let fixture = Fixture::new();
    let reading = fixture.replaced(
        "client_secret_file = \"secrets/client_secret\"",
        "client_secret = \"hunter2\"",
    );
    let shown = reading.problems.to_string();
    assert!(
        shown.contains("use `client_secret_file = \"path\"`"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// Lines of the template whose keys have no default, the full name of each key, and how the remedy starts.
const REQUIRED: &[(&str, &str, &str)] = &[
    (
        "listen = [\"0.0.0.0:443\", \"[::]:443\"]",
        "server.listen",
        "add `listen = ",
    ),
    (
        "url = \"https://login.hospital.example/realms/staff\"",
        "identity.issuer[0].url",
        "add `url = ",
    ),
    (
        "client_id = \"chartgate\"",
        "identity.issuer[0].client_id",
        "add `client_id = ",
    ),
    (
        "client_secret_file = \"secrets/client_secret\"",
        "identity.issuer[0].client_secret_file",
        "add `client_secret_file = ",
    ),
    (
        "roles_claim = \"/groups\"",
        "identity.issuer[0].roles_claim",
        "add `roles_claim = ",
    ),
    (
        "hosts = [\"emr.hospital.example\"]",
        "emr[0].hosts",
        "add `hosts = ",
    ),
    (
        "profile = \"policies/emr/opal.toml\"",
        "emr[0].profile",
        "add `profile = ",
    ),
    (
        "url = \"http://127.0.0.1:8080\"",
        "emr[0].backend.url",
        "add `url = ",
    ),
    (
        "directory = \"policies\"",
        "policy.directory",
        "add `directory = ",
    ),
    (
        "directory = \"data/trail\"",
        "audit.directory",
        "add `directory = ",
    ),
    (
        "master_key = \"keys/master.key\"",
        "audit.master_key",
        "add `master_key = ",
    ),
    (
        "signing_key = \"keys/signing.key\"",
        "audit.signing_key",
        "add `signing_key = ",
    ),
    (
        "witnesses = [\"witness/checkpoints\"]",
        "audit.witnesses",
        "add `witnesses = ",
    ),
    ("path = \"data/store.redb\"", "store.path", "add `path = "),
    ("key = \"keys/store.key\"", "store.key", "add `key = "),
    (
        "socket = \"data/admin.sock\"",
        "admin.socket",
        "add `socket = ",
    ),
];

#[test]
fn what_decides_about_security_has_no_default() {
    for &(from, key, remedy) in REQUIRED {
        let fixture = Fixture::new();
        let reading = fixture.replaced(&format!("\n{from}"), "\n");
        let problem = sole(&reading.problems);
        assert_eq!(problem.key, key);
        assert!(problem.message.contains("is missing"), "{problem:?}");
        assert!(problem.remedy.starts_with(remedy), "{problem:?}");
        assert!(problem.place.is_some(), "{problem:?}");
        assert!(reading.config.is_none());
    }
}

#[test]
fn an_empty_file_names_every_section_that_is_missing() {
    let problems = Fixture::new().read("").problems;
    let keys: Vec<&str> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "server",
            "certificate",
            "emr",
            "identity",
            "policy",
            "audit",
            "store",
            "admin"
        ]
    );
}

#[test]
fn values_are_parsed_with_precise_messages() {
    expect(
        "absolute_timeout = \"12h\"",
        "absolute_timeout = \"12 hours\"",
        "` hours` is not a unit",
        "write a duration",
    );
    expect(
        "absolute_timeout = \"12h\"",
        "absolute_timeout = 12",
        "this must be a duration, not an integer",
        "\"15m\"",
    );
    expect(
        "absolute_timeout = \"12h\"",
        "absolute_timeout = \"1000d\"",
        "outside of 1m to 7d",
        "the default is 12h",
    );
    expect(
        "user = \"1200/1m burst 300\"",
        "user = \"1200/1m\"",
        "requests/interval burst requests",
        "write a rate",
    );
    expect(
        "Export = \"20/1h burst 10\"",
        "Export = \"0/1h burst 10\"",
        "must be more than zero",
        "write a rate",
    );
    expect(
        "format = \"json\"",
        "format = \"xml\"",
        "`xml` is not \"json\" or \"text\"",
        "write \"json\" or \"text\"",
    );
    expect(
        "filter = \"info\"",
        "filter = \"chartgate=loud\"",
        "the filter cannot be read",
        "write a level",
    );
    expect(
        "0 = \"root\"",
        "root = \"root\"\n0 = \"root\"",
        "not the numeric id",
        "id -u NAME",
    );
    expect(
        "hosts = [\"emr.hospital.example\"]",
        "hosts = [\"https://emr.hospital.example\"]",
        "is not a host name",
        "without scheme",
    );
    expect(
        "hosts = [\"emr.hospital.example\"]",
        "hosts = [\"10.0.0.1\"]",
        "is an address",
        "host name",
    );
    expect(
        "roles_claim = \"/groups\"",
        "roles_claim = \"groups\"",
        "must start with `/`",
        "JSON pointer",
    );
    expect(
        "listen = [\"0.0.0.0:443\", \"[::]:443\"]",
        "listen = \"0.0.0.0:443\"",
        "must be a list",
        "write a list",
    );
    expect(
        "# max_keys = 100000",
        "max_keys = -5",
        "-5 is negative",
        "whole number",
    );
}

#[test]
fn secrets_must_be_closed_files() {
    let fixture = Fixture::new();
    for (file, key) in [
        (
            "secrets/client_secret",
            "identity.issuer[0].client_secret_file",
        ),
        ("certs/server.key", "certificate[0].key"),
        ("keys/master.key", "audit.master_key"),
        ("keys/signing.key", "audit.signing_key"),
        ("keys/store.key", "store.key"),
    ] {
        fs::set_permissions(fixture.path(file), Permissions::from_mode(0o644)).unwrap();
        let reading = fixture.read(TEMPLATE);
        let problem = sole(&reading.problems);
        assert_eq!(problem.key, key);
        assert!(
            problem
                .message
                .contains("by others than its owner (mode 0644)"),
            "{problem:?}"
        );
        assert!(problem.remedy.starts_with("chmod 600 "), "{problem:?}");
        fs::set_permissions(fixture.path(file), Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn files_must_exist() {
    for (from, to) in [
        (
            "client_secret_file = \"secrets/client_secret\"",
            "client_secret_file = \"nowhere\"",
        ),
        ("key = \"certs/server.key\"", "key = \"nowhere\""),
        ("chain = \"certs/server.pem\"", "chain = \"nowhere\""),
        (
            "profile = \"policies/emr/opal.toml\"",
            "profile = \"nowhere\"",
        ),
        ("# ca = \"certs/emr-ca.pem\"", "ca = \"nowhere\""),
    ] {
        if to.starts_with("ca") {
            let fixture = Fixture::new();
            let reading = fixture.replaced(from, to);
            assert!(
                reading
                    .problems
                    .to_string()
                    .contains("nowhere` cannot be read"),
                "{}",
                reading.problems
            );
        } else {
            expect(
                from,
                to,
                "nowhere` cannot be read",
                "relative paths start at",
            );
        }
    }
    expect(
        "directory = \"policies\"",
        "directory = \"nowhere\"",
        "is not a directory",
        "chartgate init",
    );
}

#[test]
fn the_second_factor_must_be_something() {
    let amr = "amr = [[\"pwd\", \"otp\"], [\"pwd\", \"hwk\"], [\"mfa\"]]";
    expect(
        amr,
        "amr = []",
        "nothing is named that proves a second factor",
        "name `amr` sets",
    );
    expect(
        amr,
        "amr = [[\"mfa\"], []]",
        "nothing is named that proves a second factor",
        "name `amr` sets",
    );
    let fixture = Fixture::new();
    let text = TEMPLATE
        .replace("[identity.issuer.mfa]\n", "")
        .replace(amr, "")
        .replace("require = \"any\"", "");
    let problem = sole(&fixture.read(&text).problems).clone();
    assert_eq!(problem.key, "identity.issuer[0].mfa");
    assert!(problem.remedy.contains("[identity.issuer.mfa]"));
}

#[test]
fn what_proves_a_factor_that_cannot_be_phished_must_be_something() {
    let from = "# phishing_resistant_acr = []";
    for (to, message, remedy) in [
        (
            "phishing_resistant_amr = [[\"hwk\"], []]",
            "a set of `amr` values is empty",
            "[\"hwk\"]",
        ),
        (
            "phishing_resistant_acr = [\"a b\"]",
            "can be asked for",
            "visible ASCII",
        ),
        (
            "phishing_resistant_acr = [\"a\\\"b\"]",
            "can be asked for",
            "visible ASCII",
        ),
    ] {
        expect(from, to, message, remedy);
    }
    let fixture = Fixture::new();
    let none = fixture.read(TEMPLATE).config.unwrap();
    assert!(none.identity.issuers[0].mfa.phishing_resistant.is_empty());
    let text = TEMPLATE.replace(from, "phishing_resistant_acr = [\"phrh\"]");
    let config = fixture.read(&text).config.unwrap();
    let named = &config.identity.issuers[0].mfa.phishing_resistant;
    assert_eq!(named.acr, ["phrh"]);
}

#[test]
fn tokens_must_be_signed_by_the_provider() {
    let from = "# algorithms = [\"ES256\", \"RS256\", \"PS256\"]";
    expect(
        from,
        "algorithms = [\"ES256\", \"none\"]",
        "nobody signed",
        "choose from ES256",
    );
    expect(
        from,
        "algorithms = [\"HS256\"]",
        "shared secret",
        "choose from ES256",
    );
    expect(
        from,
        "algorithms = [\"ES255\"]",
        "not a signature algorithm",
        "choose from ES256",
    );
    expect(
        from,
        "algorithms = []",
        "no signature algorithm",
        "choose from ES256",
    );
}

#[test]
fn the_provider_is_reached_by_https() {
    let from = "url = \"https://login.hospital.example/realms/staff\"";
    expect(
        from,
        "url = \"http://login.hospital.example/\"",
        "without encryption",
        "https URL",
    );
    expect(
        from,
        "url = \"https://me:secret@login.hospital.example/\"",
        "carries a user name",
        "http or https URL",
    );
    expect(
        from,
        "url = \"ldap://login.hospital.example/\"",
        "is not an http or https URL",
        "http or https URL",
    );
    let fixture = Fixture::new();
    assert!(
        fixture
            .replaced(from, "url = \"http://localhost:9000/\"")
            .problems
            .is_empty()
    );
}

#[test]
fn plain_http_to_an_emr_must_be_confirmed() {
    let from = "url = \"http://127.0.0.1:8080\"";
    let remote = "url = \"http://emr.internal:8080\"";
    expect(
        from,
        remote,
        "is not encrypted",
        "`allow_plain_http = true`",
    );
    let fixture = Fixture::new();
    let text = TEMPLATE
        .replace(from, remote)
        .replace("# allow_plain_http = false", "allow_plain_http = true");
    let problem = sole(&fixture.read(&text).problems).clone();
    assert_eq!(
        (problem.severity, problem.key.as_str()),
        (Severity::Warning, "emr[0].backend.url")
    );
    assert!(Config::load_text(&fixture, &text).is_some());
    expect(
        from,
        "url = \"http://127.0.0.1:8080/emr\"",
        "has a path or query",
        "`url = \"http://127.0.0.1:8080\"`",
    );
    expect(
        from,
        &format!("ca = \"policies/emr/opal.toml\"\n{from}"),
        "`ca` has no use",
        "https URL",
    );
}

#[test]
fn an_idle_limit_beyond_the_absolute_one_is_refused() {
    expect(
        "idle_timeout = \"15m\"",
        "idle_timeout = \"13h\"",
        "longer than `absolute_timeout`",
        "the shorter one",
    );
}

#[test]
fn limits_must_fit_together() {
    let limits = "# [server.limits]\n";
    expect(
        limits,
        "[server.limits]\nmax_connections_per_address = 20000\n",
        "only 10000 in total",
        "lower",
    );
    expect(
        "# trusted_proxies = []",
        "trusted_proxies = [\"0.0.0.0/0\"]",
        "from everybody",
        "name the addresses",
    );
    expect(
        "# trusted_proxies = []",
        "trusted_proxies = [\"proxy\"]",
        "is not a network",
        "write a network",
    );
}

#[test]
fn listeners_must_not_collide() {
    let from = "redirect_http = [\"0.0.0.0:80\", \"[::]:80\"]";
    expect(
        from,
        "redirect_http = [\"127.0.0.1:443\"]",
        "taken by `server.listen[0]`",
        "its own address or port",
    );
    expect(
        "listen = \"127.0.0.1:9090\"",
        "listen = \"127.0.0.1:80\"",
        "taken by `server.redirect_http[0]`",
        "its own",
    );
}

#[test]
fn an_open_metrics_port_is_a_warning() {
    let fixture = Fixture::new();
    let reading = fixture.replaced("listen = \"127.0.0.1:9090\"", "listen = \"0.0.0.0:9090\"");
    assert_eq!(sole(&reading.problems).severity, Severity::Warning);
    let reading = fixture.replaced("0 = \"root\"", "");
    assert!(sole(&reading.problems).message.contains("nobody may use"));
}

#[test]
fn emrs_must_be_told_apart() {
    let fixture = Fixture::new();
    let second = "\n[[emr]]\nname = \"emr\"\nhosts = [\"EMR.hospital.example\"]\nprofile = \"policies/emr/opal.toml\"\n\
                  [emr.backend]\nurl = \"http://127.0.0.1:8081\"\n";
    let problems = fixture.read(&format!("{TEMPLATE}{second}")).problems;
    let keys: Vec<&str> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(keys, ["emr[1].name", "emr[1].hosts[0]"]);
    let first = TEMPLATE.lines().count();
    let lines: Vec<usize> = problems
        .iter()
        .map(|problem| problem.place.as_ref().unwrap().line)
        .collect();
    assert_eq!(lines, [first + 3, first + 4]);
}

/// Some back ends (Orthanc) close a connection that was idle for a second.
#[test]
fn a_backend_may_be_left_within_a_second_and_has_its_own_breaker() {
    let fixture = Fixture::new();
    let from = "# idle_timeout = \"15s\"";
    let to = "idle_timeout = \"500ms\"\nbreaker_failures = 2\nbreaker_pause = \"1m\"";
    let reading = fixture.replaced(from, to);
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let config = reading.config.unwrap();
    let backend = &config.emrs[0].backend;
    assert_eq!(backend.idle_timeout, Duration::from_millis(500));
    assert_eq!(backend.breaker_failures, 2);
    assert_eq!(backend.breaker_pause, Duration::from_mins(1));
    let reading = fixture.replaced(from, "idle_timeout = \"10ms\"");
    assert!(sole(&reading.problems).message.contains("outside of 50ms"));
    let reading = fixture.replaced(from, "breaker_failures = 0");
    assert!(sole(&reading.problems).message.contains("outside of 1"));
}

#[test]
fn every_host_needs_a_certificate() {
    expect(
        "hosts = [\"emr.hospital.example\"]",
        "hosts = [\"lab.hospital.example\"]",
        "no certificate is for `lab.hospital.example`",
        "subject alternative names",
    );
}

#[test]
fn a_certificate_needs_its_own_key() {
    let fixture = Fixture::new();
    let other =
        rcgen::generate_simple_self_signed(vec!["emr.hospital.example".to_owned()]).unwrap();
    fixture.write("certs/server.key", &other.signing_key.serialize_pem());
    let problem = sole(&fixture.read(TEMPLATE).problems).clone();
    assert_eq!(problem.key, "certificate[0].key");
    assert!(
        problem
            .message
            .contains("does not belong to the certificate")
    );
    fixture.write("certs/server.pem", "not a certificate");
    let problem = sole(&fixture.read(TEMPLATE).problems).clone();
    assert_eq!(problem.key, "certificate[0].chain");
}

#[test]
fn a_witness_must_not_share_the_trails_fate() {
    let from = "witnesses = [\"witness/checkpoints\"]";
    expect(
        from,
        "witnesses = [\"data/trail/checkpoints\"]",
        "inside the trail's own directory",
        "best on another disk",
    );
    expect(
        from,
        "witnesses = [\"x/../data/trail/checkpoints\"]",
        "inside the trail's own directory",
        "best on another disk",
    );
    expect(
        from,
        "witnesses = []",
        "no witness outside",
        "add `witnesses",
    );
    expect(from, "witnesses = [\"w\", \"./w\"]", "named twice", "once");
    let fixture = Fixture::new();
    assert!(
        fixture
            .replaced(from, "witnesses = [\"data/trail/../w\"]")
            .problems
            .is_empty()
    );
}

#[test]
fn headers_that_carry_the_message_are_not_given_away() {
    let from = "# [emr.identity]";
    expect(
        from,
        "[emr.identity]\nuser_header = \"Host\"",
        "belongs to HTTP",
        "X-Remote-User",
    );
    let twice = "[emr.identity]\nuser_header = \"X-User\"\nroles_header = \"x-user\"";
    expect(from, twice, "used for two things", "its own header");
    let basic =
        "[emr.identity]\nbasic = { username = \"a:b\", password_file = \"secrets/client_secret\" }";
    expect(from, basic, "with a colon", "no colon");
}

#[test]
fn a_file_that_is_not_there_is_one_problem() {
    let fixture = Fixture::new();
    let problems = Config::load(&fixture.path("chartgate.toml")).unwrap_err();
    let problem = sole(&problems);
    assert!(problem.place.is_none());
    assert!(problem.remedy.contains("--config FILE"));
}

#[test]
fn a_backup_that_would_not_do_is_refused() {
    const TARGET: &str = "target = { directory = \"backups\" }";
    const SOURCE: &str = "# schedule = \"24h\"";
    let source = |text: &str| format!("{SOURCE}\n[[backup.source]]\nname = \"emr\"\n{text}\n");
    expect(
        TARGET,
        "target = {}",
        "a directory or a bucket",
        "directory = ",
    );
    expect(
        TARGET,
        "target = { directory = \"data/trail/backups\" }",
        "shares a directory with what it saves",
        "a directory of their own",
    );
    expect(
        "key = \"keys/backup.key\"",
        "key = \"keys/master.key\"",
        "is a key of what is backed up",
        "a key of their own",
    );
    expect(
        "# max_age = \"36h\"",
        "max_age = \"20h\"",
        "not longer than `schedule`",
        "half as long again",
    );
    expect(
        SOURCE,
        &source("directory = \"keys\""),
        "holds private keys",
        "keep keys out",
    );
    expect(
        SOURCE,
        &source("directory = \"backups/emr\""),
        "lie inside each other",
        "separate them",
    );
    expect(
        SOURCE,
        &source("command = []"),
        "a directory or a command",
        "pg_dump",
    );
    let bucket = "target = { s3 = { endpoint = \"http://s3.hospital.example\", bucket = \"b\", access_key_id = \"a\", secret_access_key_file = \"secrets/client_secret\" } }";
    expect(TARGET, bucket, "by http over a network", "use https");
}

#[test]
fn a_probe_that_would_find_nothing_out_is_refused() {
    const ADMIN: &str = "[admin]\n";
    let probe = |text: &str| format!("[[segmentation.probe]]\nname = \"p\"\n{text}\n\n{ADMIN}");
    expect(
        ADMIN,
        &probe("emr = \"emr\""),
        "neither `address` nor `from`",
        "another address",
    );
    expect(
        ADMIN,
        &probe("emr = \"other\"\naddress = \"h:1\""),
        "no EMR called `other`",
        "`[[emr]]`",
    );
    for address in ["h", "h:0", "h:x", ":80", "http://h:80", "::1:80"] {
        let text = format!("emr = \"emr\"\naddress = \"{address}\"");
        expect(
            ADMIN,
            &probe(&text),
            "is not a host with a port",
            "emr.internal:8443",
        );
    }
    let fixture = Fixture::new();
    let reading = fixture.replaced(ADMIN, &probe("emr = \"emr\"\nfrom = \"10.1.0.7\""));
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let probes = reading.config.unwrap().segmentation.probes;
    assert_eq!(
        (probes[0].host.as_str(), probes[0].port),
        ("127.0.0.1", 8080)
    );
}

const BROWSERS: &str = "[client.browsers]\nchrome = 120\nsafari = \"16.4\"\nbelow = \"refuse\"\nunknown = \"warn\"\nexempt = [\"WardKiosk\"]\n";
const BANNER: &str = "[client.sign_in_banner]\ntext = \"\"\"\nOne.\n\nTwo.\"\"\"\n";

fn with_client(section: &str) -> String {
    TEMPLATE.replacen("[limits]", &format!("{section}\n[limits]"), 1)
}

#[test]
fn what_is_asked_of_browsers_and_people_is_read() {
    use super::client::{BrowserVersion, Reaction, Readers};
    let fixture = Fixture::new();
    let config = Config::load_text(&fixture, &with_client(&format!("{BROWSERS}{BANNER}"))).unwrap();
    let browsers = config.client.browsers.unwrap();
    assert_eq!(browsers.chrome, BrowserVersion::parse("120"));
    assert_eq!(browsers.safari, BrowserVersion::parse("16.4"));
    assert_eq!(browsers.edge, None);
    assert_eq!(
        (browsers.below, browsers.unknown),
        (Reaction::Refuse, Reaction::Warn)
    );
    let banner = config.client.sign_in_banner.unwrap();
    assert_eq!(
        (banner.text.as_str(), banner.show_to),
        ("One.\n\nTwo.", Readers::Everyone)
    );
    fixture.write("banner.txt", "\u{fc}ber\r\nuns\n");
    let from_file = "[client.sign_in_banner]\nfile = \"banner.txt\"\nshow_to = \"browsers\"\n";
    let config = Config::load_text(&fixture, &with_client(from_file)).unwrap();
    assert_eq!(config.client.sign_in_banner.unwrap().text, "\u{fc}ber\nuns");
    let bare = Config::load_text(&fixture, TEMPLATE).unwrap();
    assert_eq!(bare.client, super::client::Client::default());
}

#[test]
fn nonsense_about_browsers_and_banners_is_a_problem() {
    let fixture = Fixture::new();
    fixture.write("long.txt", &"x".repeat(9000));
    for (section, about) in [
        (
            "[client.browsers]\nfirefox = 1\nchrome = \"new\"",
            "a version",
        ),
        ("[client.browsers]\nchrome = -1", "a version"),
        ("[client.browsers]\nchrome = 0x78", "a version"),
        (
            "[client.browsers]\nchrome = 120\nbelow = \"block\"",
            "is not \"allow\"",
        ),
        (
            "[client.browsers]\nchrome = 120\nbelow = \"allow\"",
            "nothing follows",
        ),
        ("[client.browsers]\nbelow = \"warn\"", "no minimum version"),
        (
            "[client.browsers]\nchrome = 120\nexempt = [\"a b\"]",
            "not the name",
        ),
        (
            "[client.browsers]\nchrome = 120\nexempt = [\"mozilla\"]",
            "of every age",
        ),
        ("[client.browsers]\nopera = 1\nchrome = 1", "not known"),
        ("[client.sign_in_banner]", "no text"),
        (
            "[client.sign_in_banner]\ntext = \"a\"\nfile = \"b\"",
            "two texts",
        ),
        (
            "[client.sign_in_banner]\ntext = \"a\\u0007\"",
            "control characters",
        ),
        ("[client.sign_in_banner]\nfile = \"long.txt\"", "8 KiB"),
        (
            "[client.sign_in_banner]\nfile = \"none.txt\"",
            "cannot be read",
        ),
        (
            "[client.sign_in_banner]\ntext = \"a\"\nshow_to = \"some\"",
            "is not \"everyone\"",
        ),
    ] {
        let reading = fixture.read(&with_client(section));
        let mut problems = reading.problems.iter();
        assert!(
            problems.any(|problem| problem.message.contains(about) && !problem.remedy.is_empty()),
            "{section}: {}",
            reading.problems
        );
    }
}

#[test]
fn what_the_template_shows_for_clients_is_read() {
    let fixture = Fixture::new();
    let (head, shown) = TEMPLATE.split_once("# [client.browsers]\n").unwrap();
    let (shown, rest) = shown.split_once("\n\n# Requests per interval").unwrap();
    let is_key = |line: &&str| line.contains(" = ") || line.starts_with("# [");
    let shown: Vec<&str> = shown
        .lines()
        .filter(is_key)
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let shown = shown.join("\n");
    let text = format!("{head}[client.browsers]\n{shown}\n\n# Requests per interval{rest}");
    let reading = fixture.read(&text);
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let client = reading.config.unwrap().client;
    let browsers = client.browsers.unwrap();
    assert!(browsers.edge.is_some() && browsers.exempt.is_empty());
    // What is shown for what may be left out is the default.
    assert_eq!(
        (browsers.below, browsers.unknown),
        (
            super::client::Reaction::Warn,
            super::client::Reaction::Allow
        )
    );
    let banner = client.sign_in_banner.unwrap();
    assert_eq!(banner.show_to, super::client::Readers::Everyone);
}

/// A configuration with these witnesses and what they name.
fn witnessed(witnesses: &str) -> super::load::Reading {
    let fixture = Fixture::new();
    for name in ["token", "s3-secret"] {
        fixture.write(&format!("secrets/{name}"), "s3cret-for-tests\n");
    }
    fixture.write("certs/ca.pem", "");
    fixture.replaced(
        "witnesses = [\"witness/checkpoints\"]",
        &format!("witnesses = [{witnesses}]"),
    )
}

#[test]
fn witnesses_are_files_endpoints_receivers_and_buckets() {
    use super::witness::Witness;
    let reading = witnessed(
        "\"w\", { https = \"https://witness.example:8443/gw1\", ca = \"certs/ca.pem\",\n certificate = \"certs/server.pem\", \
         key = \"certs/server.key\", token_file = \"secrets/token\" }, { syslog = \"log.example\" },\n \
         { s3 = { endpoint = \"https://s3.example\", bucket = \"b\", prefix = \"gw1\", access_key_id = \"a\", \
         secret_access_key_file = \"secrets/s3-secret\" }, lock_years = 7, every = \"5m\" }",
    );
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let witnesses = reading.config.unwrap().audit.witnesses;
    let shown: Vec<String> = witnesses[1..].iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "https://witness.example:8443/gw1",
            "syslog log.example:6514",
            "s3 https://s3.example/b/gw1/"
        ]
    );
    assert!(matches!(&witnesses[0], Witness::File(path) if path.ends_with("w")));
    let Witness::Https(endpoint) = &witnesses[1] else {
        panic!("{witnesses:?}");
    };
    assert!(endpoint.client.is_some() && endpoint.token.is_some() && endpoint.cosigner.is_none());
    let Witness::S3(bucket) = &witnesses[3] else {
        panic!("{witnesses:?}");
    };
    assert_eq!(
        (bucket.lock_years, bucket.every),
        (7, Duration::from_mins(5))
    );
    let elsewhere: Vec<bool> = witnesses.iter().map(Witness::is_elsewhere).collect();
    assert_eq!(elsewhere, [false, true, true, true]);
    assert!(!format!("{witnesses:?}").contains("s3cret"));
}

#[test]
fn a_witness_that_is_written_wrong_is_said() {
    for (written, message) in [
        (
            "{ https = \"http://witness.example\" }",
            "by http over a network",
        ),
        (
            "{ https = \"https://w\", syslog = \"l\" }",
            "must be one of",
        ),
        ("{ ca = \"certs/ca.pem\" }", "must be one of"),
        ("{ syslog = \"l:0\" }", "is not a host"),
        (
            "{ https = \"https://w\", key = \"certs/server.key\" }",
            "belong together",
        ),
        (
            "{ https = \"https://w\", tokn_file = \"x\" }",
            "is not known",
        ),
        (
            "{ https = \"https://w\" }, { https = \"https://w/\" }",
            "named twice",
        ),
        ("7", "a text that is not empty"),
        (
            "\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"",
            "more than",
        ),
    ] {
        let reading = witnessed(written);
        assert!(
            reading.problems.iter().any(|problem| {
                problem.message.contains(message) || problem.remedy.contains(message)
            }),
            "{written}: {}",
            reading.problems
        );
    }
}

#[test]
fn time_servers_are_hosts_with_a_port_or_without() {
    let fixture = Fixture::new();
    let clock = |text: &str| fixture.read(&format!("{TEMPLATE}\n[clock]\n{text}\n"));
    let reading = clock("servers = [\"ntp1.example\", \"10.0.0.1:1123\", \"::1\"]\npoll = \"16s\"");
    assert!(reading.problems.is_empty(), "{}", reading.problems);
    let read = reading.config.unwrap().clock;
    let shown: Vec<String> = read.servers.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["ntp1.example:123", "10.0.0.1:1123", "[::1]:123"]);
    for (text, message) in [
        ("servers = [\"a b\"]", "is not a host"),
        ("servers = [\"a:0\"]", "is not a host"),
        ("servers = [\"a\", \"A:123\"]", "named twice"),
        ("poll = \"1s\"", "outside of 16s"),
        ("most_offset = \"2m\"", "outside of"),
    ] {
        let problem = sole(&clock(text).problems).clone();
        assert!(problem.message.contains(message), "{problem:?}");
    }
}
