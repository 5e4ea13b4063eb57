//! What an `[[identity.issuer]]` may say, and what it is told.

use super::fixture::{Fixture, TEMPLATE, sole};
use super::issuer::{AssertionAudience, ClientAuth, Issuer, Par};
use super::problem::{Problems, Severity};

const SECRET: &str = "client_secret_file = \"secrets/client_secret\"\n";
const ROLES: &str = "roles_claim = \"/groups\"\n";
const EMR: &str = "[[emr]]\n# The name on every record.\n";

fn with(fixture: &Fixture, more: &str) -> (Option<Vec<Issuer>>, Problems) {
    let text = TEMPLATE.replacen(ROLES, &format!("{ROLES}{more}\n"), 1);
    let reading = fixture.read(&text);
    (reading.config.map(|c| c.identity.issuers), reading.problems)
}

fn read(more: &str) -> Issuer {
    let (issuers, problems) = with(&Fixture::new(), more);
    assert!(problems.is_empty(), "{more}: {problems}");
    issuers.unwrap().remove(0)
}

fn refused(more: &str, key: &str, message: &str) {
    let (_, problems) = with(&Fixture::new(), more);
    // That nobody could sign in then is warned of, too.
    let mut errors = problems.iter().filter(|p| p.severity == Severity::Error);
    let problem = errors.next().unwrap();
    assert!(errors.next().is_none(), "{problems}");
    assert_eq!(problem.key, format!("identity.issuer[0].{key}"), "{more}");
    assert!(problem.message.contains(message), "{problem:?}");
}

#[test]
fn every_key_is_read() {
    let issuer = read(
        r#"label = "Staff"
internal_url = "https://idp.internal:8443"
request_claims = '{"id_token": {"acr": {"essential": true}}}'
par = "required"
callback = "own"
emrs = ["emr"]
email_domains = ["Hospital.example"]
subject_claim = "/oid"
name_strip_domain = "hospital.example"
name_suffix = "@staff"
email_claim = "/upn"
require_email_domains = ["hospital.example"]
department_claim = "/department"
training_claim = "/training_valid_until"
userinfo = true
groups_endpoint = "https://graph.example/groups"
groups_value = "/displayName"
clock_leeway = "2m"
parameters = { domain_hint = "hospital.example" }
departments = { "4711" = "cardiology" }
previous_client_secret_file = "secrets/client_secret""#,
    );
    assert_eq!(issuer.par, Par::Required);
    assert_eq!(issuer.serves.hosts, ["emr.hospital.example"]);
    assert_eq!(issuer.serves.email_domains, ["hospital.example"]);
    assert_eq!(issuer.claims.departments["4711"], "cardiology");
    let training = issuer.claims.training.as_deref();
    assert_eq!(training, Some("/training_valid_until"));
    assert_eq!(issuer.parameters["domain_hint"], "hospital.example");
    assert_eq!(issuer.clock_leeway.as_secs(), 120);
    assert_eq!(
        issuer.discovery().as_str(),
        "https://idp.internal:8443/realms/staff/.well-known/openid-configuration"
    );
    let inner = "https://idp.internal:8443/x?y".parse().unwrap();
    assert_eq!(
        issuer.outward(&inner).as_str(),
        "https://login.hospital.example/x?y"
    );
    let ClientAuth::SecretBasic(secrets) = issuer.client_auth else {
        panic!()
    };
    assert!(secrets.previous.is_some());
    // Several claims give roles.
    let text = TEMPLATE.replacen(ROLES, "roles_claim = [\"/groups\", \"/roles\"]\n", 1);
    let config = Fixture::new().read(&text).config.unwrap();
    assert_eq!(
        config.identity.issuers[0].claims.roles,
        ["/groups", "/roles"]
    );
}

#[test]
fn what_cannot_work_is_said() {
    for name in [
        "state",
        "nonce",
        "redirect_uri",
        "request_uri",
        "client_secret",
        "prompt",
    ] {
        let more = format!("parameters = {{ {name} = \"x\" }}");
        refused(
            &more,
            &format!("parameters.{name}"),
            "set by the gateway itself",
        );
    }
    refused(
        "parameters = { \"a b\" = \"x\" }",
        "parameters.a b",
        "not the name",
    );
    refused(
        "internal_url = \"http://idp.internal:8080\"",
        "internal_url",
        "without encryption",
    );
    refused(
        "internal_url = \"https://idp.internal/x\"",
        "internal_url",
        "more than scheme",
    );
    refused(
        "groups_endpoint = \"http://graph.example/\"",
        "groups_endpoint",
        "without encryption",
    );
    refused(
        "groups_value = \"/id\"",
        "groups_value",
        "`groups_endpoint` only",
    );
    refused(
        "email_claim = \"/upn\"",
        "email_claim",
        "`require_email_domains` only",
    );
    refused("departments = { a = \"b\" }", "departments", "no claim");
    refused(
        "request_claims = '{\"id_token\": 1}'",
        "request_claims",
        "`id_token`",
    );
    refused("emrs = [\"other\"]", "emrs[0]", "no EMR called `other`");
    refused("hosts = [\"x.example\"]", "hosts[0]", "no EMR has the host");
    refused("emrs = []", "emrs", "is empty");
    refused(
        "name_suffix = \"partner\"",
        "name_suffix",
        "cannot end a user name",
    );
    refused("clock_leeway = \"10m\"", "clock_leeway", "outside");
    refused(
        "client_key_file = \"keys/master.key\"",
        "client_key_file",
        "no meaning with",
    );
    refused("client_auth = \"none\"", "client_auth", "is not");
}

#[test]
fn a_client_may_prove_itself_by_a_key_or_a_certificate() {
    let fixture = Fixture::new();
    let pair = rcgen::KeyPair::generate().unwrap();
    fixture.write("keys/client.pem", &pair.serialize_pem());
    let read = |text: &str| {
        let text = TEMPLATE.replacen(SECRET, text, 1);
        let reading = fixture.read(&text);
        let issuers = reading.config.map(|c| c.identity.issuers);
        (
            issuers.map(|mut issuers| issuers.remove(0).client_auth),
            reading.problems,
        )
    };
    let by_key = "client_auth = \"private_key_jwt\"\nclient_key_file = \"keys/client.pem\"\nclient_assertion_audience = \"token_endpoint\"\nclient_certificate_file = \"certs/server.pem\"\n";
    let (auth, problems) = read(by_key);
    assert!(problems.is_empty(), "{problems}");
    let Some(ClientAuth::PrivateKeyJwt { keys, audience }) = auth else {
        panic!()
    };
    assert_eq!(audience, AssertionAudience::TokenEndpoint);
    assert_eq!(keys.current.certificate().unwrap().len(), 43);
    let (_, problems) = read(&format!(
        "{by_key}previous_client_key_file = \"keys/client.pem\"\n"
    ));
    assert!(sole(&problems).message.contains("have one id"));
    let (_, problems) = read(&format!("{by_key}{SECRET}"));
    assert_eq!(sole(&problems).key, "identity.issuer[0].client_secret_file");
    let by_certificate = "client_auth = \"tls_client_auth\"\nclient_certificate_file = \"certs/server.pem\"\nclient_key_file = \"KEY\"\n";
    let (auth, problems) = read(&by_certificate.replace("KEY", "certs/server.key"));
    assert!(problems.is_empty(), "{problems}");
    assert!(auth.unwrap().certificate().is_some());
    let (_, problems) = read(&by_certificate.replace("KEY", "keys/client.pem"));
    assert_eq!(
        sole(&problems).key,
        "identity.issuer[0].client_certificate_file"
    );
    let (_, problems) =
        read("client_auth = \"private_key_jwt\"\nclient_key_file = \"keys/master.key\"\n");
    assert!(sole(&problems).message.contains("no private key"));
}

/// The template with a second issuer before its EMR.
fn two(first: &str, second: &str) -> Problems {
    let fixture = Fixture::new();
    let one = TEMPLATE.replacen(ROLES, &format!("{ROLES}{first}\n"), 1);
    let other = format!(
        "[[identity.issuer]]\nurl = \"https://partner.example\"\nclient_id = \"c\"\n{SECRET}{ROLES}{second}\n[identity.issuer.mfa]\namr = [[\"mfa\"]]\n\n{EMR}"
    );
    assert!(one.contains(EMR));
    let text = one.replacen(EMR, &other, 1);
    fixture.read(&text).problems
}

#[test]
fn several_issuers_are_told_apart() {
    let none = two("", "name = \"partner\"");
    assert!(none.is_empty(), "{none}");
    let same = two("", "name = \"hospital\"");
    assert_eq!(sole(&same).key, "identity.issuer[1].name");
    let domains = two(
        "email_domains = [\"a.example\"]",
        "name = \"partner\"\nemail_domains = [\"b.example\", \"A.example\"]",
    );
    assert_eq!(sole(&domains).key, "identity.issuer[1].email_domains[1]");
    let suffixes = two(
        "name_suffix = \"@partner\"",
        "name = \"partner\"\nname_suffix = \"@partner\"",
    );
    assert_eq!(sole(&suffixes).key, "identity.issuer[1].name_suffix");
}

/// SECURITY: `dr.adams` of a partner would be the hospital's `dr.adams` to an EMR that is told names.
#[test]
fn an_emr_that_is_told_names_is_not_told_those_of_two_issuers() {
    let fixture = Fixture::new();
    let header = "[emr.identity]\nuser_header = \"X-Remote-User\"\n\n[emr.backend]\n";
    let text = |suffix: &str| {
        let other = format!(
            "[[identity.issuer]]\nname = \"partner\"\nurl = \"https://partner.example\"\nclient_id = \"c\"\n{SECRET}{ROLES}{suffix}\n[identity.issuer.mfa]\namr = [[\"mfa\"]]\n\n{EMR}"
        );
        TEMPLATE
            .replacen(EMR, &other, 1)
            .replacen("[emr.backend]\n", header, 1)
    };
    let problems = fixture.read(&text("")).problems;
    assert_eq!(sole(&problems).key, "emr[0].identity.user_header");
    let problems = fixture.read(&text("name_suffix = \"@partner\"")).problems;
    assert!(problems.is_empty(), "{problems}");
}
