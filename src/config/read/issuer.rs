//! `[[identity.issuer]]`

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::client_auth::client_auth;
use super::optional_file;
use crate::config::issuer::{Callback, ClaimMapping, Issuer, MfaEvidence, MfaRequire, Par, Serves};
use crate::config::second_factor::SecondFactor;
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::step_up::PhishingResistant;
use crate::config::value::{ClaimPointer, Fault, HostName, ShortName, Value, one_of};
use crate::config::{Emr, request_claims};

const ALGORITHMS: [&str; 9] = [
    "ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512",
];
const DEFAULT_ALGORITHMS: [&str; 3] = ["ES256", "RS256", "PS256"];

/// Parameters of an authorization request that are the gateway's to set, or that would take the request out of its
/// hands.
const RESERVED: [&str; 22] = [
    "acr_values",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "registration",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

impl Value for Par {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [
            ("auto", Self::Auto),
            ("required", Self::Required),
            ("off", Self::Off),
        ];
        one_of(value, faults, &words)
    }
}

impl Value for Callback {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(
            value,
            faults,
            &[("shared", Self::Shared), ("own", Self::Own)],
        )
    }
}

/// One JSON pointer, or several.
#[derive(Debug)]
struct ClaimPointers(Vec<String>);

impl Value for ClaimPointers {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        if value.get_ref().as_array().is_none() {
            return ClaimPointer::read(value, faults).map(|one| Self(vec![one.0]));
        }
        let many: Vec<ClaimPointer> = Vec::read(value, faults)?;
        Some(Self(many.into_iter().map(|one| one.0).collect()))
    }
}

/// What an issuer is read against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'e> {
    /// The EMRs, where they could be read.
    pub(super) emrs: Option<&'e [Emr]>,
    /// `[identity] clock_leeway`
    pub(super) clock_leeway: Duration,
    /// The gateway's own second factor.
    pub(super) second_factor: Option<&'e SecondFactor>,
}

/// `[[identity.issuer]]`
pub(super) fn issuer(mut section: Section<'_>, ground: Ground<'_>) -> Option<Issuer> {
    let name: Option<ShortName> = section.required("name", "name = \"hospital\"");
    let label = section.optional("label");
    let url: Option<url::Url> = section.required(
        "url",
        "url = \"https://login.hospital.example/realms/staff\"",
    );
    encrypted(&section, "url", url.as_ref());
    let internal_url = internal_url(&mut section);
    let ca = optional_file(&mut section, "ca");
    let client_id = section.required("client_id", "client_id = \"chartgate\"");
    let client_auth = client_auth(&mut section);
    let scopes = section.or("scopes", vec!["profile".to_owned()]);
    let algorithms = section.or("algorithms", DEFAULT_ALGORITHMS.map(str::to_owned).to_vec());
    check_algorithms(&section, &algorithms);
    let request_acr = section.or("request_acr", Vec::new());
    let request_claims = request_claims(&mut section);
    let parameters = parameters(&mut section);
    let par = section.or("par", Par::Auto);
    let callback = section.or("callback", Callback::Shared);
    let serves = serves(&mut section, ground.emrs);
    let claims = claims(&mut section);
    let userinfo = section.or("userinfo", false);
    let groups_endpoint: Option<url::Url> = section.optional("groups_endpoint");
    encrypted(&section, "groups_endpoint", groups_endpoint.as_ref());
    let groups_value = groups_value(&mut section, groups_endpoint.as_ref());
    let clock_leeway = section.within(
        "clock_leeway",
        ground.clock_leeway,
        Duration::ZERO..=Duration::from_mins(5),
    );
    let why = "add `[identity.issuer.mfa]` with `amr = [[\"pwd\", \"otp\"]]` or `acr = [..]`: what proves a second factor";
    // Without evidence of the provider nothing it says proves a second factor; the gateway's own then does.
    let own = ground.second_factor;
    let has_own = |name: &ShortName| own.is_some_and(|own| own.issuers.contains(&name.0));
    let mfa = match section.optional_table("mfa") {
        Some(evidence) => Some(mfa(evidence)),
        None if name.as_ref().is_some_and(has_own) => Some(MfaEvidence {
            acr: Vec::new(),
            amr: Vec::new(),
            require: MfaRequire::Any,
            phishing_resistant: PhishingResistant::default(),
        }),
        None => section.required_table("mfa", why).map(mfa),
    };
    let refresh = super::refresh::refresh(&mut section);
    let logout = super::refresh::logout(&mut section);
    section.done();
    let ShortName(name) = name?;
    Some(Issuer {
        name,
        label,
        url: url?,
        internal_url,
        ca,
        client_id: client_id?,
        client_auth: client_auth?,
        scopes,
        algorithms,
        request_acr,
        request_claims,
        parameters,
        par,
        callback,
        serves,
        mfa: mfa?,
        claims: claims?,
        userinfo,
        groups_endpoint,
        groups_value,
        clock_leeway,
        refresh,
        logout,
    })
}

/// SECURITY: over plain HTTP anyone on the way can hand out keys and sign in as everybody.
fn encrypted(section: &Section<'_>, key: &str, url: Option<&url::Url>) {
    if let Some(url) = url
        && url.scheme() == "http"
        && !super::emr::is_loopback(url)
    {
        let message = format!("the provider `{url}` would be reached without encryption");
        let remedy = "use its https URL; http is accepted on loopback only";
        section.error(key, says(message, remedy));
    }
}

/// Where the gateway itself reaches the provider: an origin, no more.
fn internal_url(section: &mut Section<'_>) -> Option<url::Url> {
    let url: url::Url = section.optional("internal_url")?;
    encrypted(section, "internal_url", Some(&url));
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let message = format!("`{url}` has more than scheme, host and port");
        let remedy =
            "write `internal_url = \"https://idp.internal:8443\"`; paths are those of `url`";
        section.error("internal_url", says(message, remedy));
    }
    Some(url)
}

/// `request_claims`: the `claims` parameter as JSON.
fn request_claims(section: &mut Section<'_>) -> Option<String> {
    let text: String = section.optional("request_claims")?;
    match request_claims::read(&text) {
        Ok(compact) => Some(compact),
        Err(message) => {
            let remedy = "write JSON like '{\"id_token\": {\"acr\": {\"essential\": true}}}' (OIDC Core §5.5)";
            section.error("request_claims", says(message, remedy));
            None
        }
    }
}

/// `[identity.issuer.parameters]`
fn parameters(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let parameters: BTreeMap<String, String> = section.map("parameters").unwrap_or_default();
    for name in parameters.keys() {
        let key = format!("parameters.{name}");
        if RESERVED.contains(&name.as_str()) {
            // SECURITY: a second `state`, `nonce` or `redirect_uri` would leave to the provider which of them counts.
            let message = format!("the parameter `{name}` is set by the gateway itself");
            section.error(
                &key,
                says(message, "remove it; there are keys for what can be chosen"),
            );
        } else if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        {
            let message = format!("`{name}` is not the name of a parameter");
            section.error(&key, says(message, "use letters, digits, `_`, `-` and `.`"));
        }
    }
    parameters
}

/// `emrs`, `hosts` and `email_domains`
fn serves(section: &mut Section<'_>, emrs: Option<&[Emr]>) -> Serves {
    let names: Option<Vec<String>> = section.optional("emrs");
    let written: Option<Vec<HostName>> = section.optional("hosts");
    let domains: Vec<HostName> = section.or("email_domains", Vec::new());
    let is_empty = |key: &str| {
        let message = format!("`{key}` is empty, so nobody could use this provider");
        section.error(
            key,
            says(
                message,
                "name some, or leave it out: the provider is then for all",
            ),
        );
    };
    if names.as_ref().is_some_and(Vec::is_empty) {
        is_empty("emrs");
    }
    if written.as_ref().is_some_and(Vec::is_empty) {
        is_empty("hosts");
    }
    let mut hosts: Vec<String> = written.into_iter().flatten().map(|host| host.0).collect();
    if let Some(emrs) = emrs {
        for (index, host) in hosts.iter().enumerate() {
            if !emrs.iter().any(|emr| emr.hosts.contains(host)) {
                let message = format!("no EMR has the host `{host}`");
                section.error(
                    &format!("hosts[{index}]"),
                    says(message, "name a host of an `[[emr]]`"),
                );
            }
        }
        for (index, name) in names.iter().flatten().enumerate() {
            if let Some(emr) = emrs.iter().find(|emr| emr.name == *name) {
                hosts.extend(emr.hosts.iter().cloned());
            } else {
                let message = format!("there is no EMR called `{name}`");
                section.error(
                    &format!("emrs[{index}]"),
                    says(message, "name an `[[emr]]`"),
                );
            }
        }
    }
    Serves {
        hosts,
        email_domains: domains.into_iter().map(|domain| domain.0).collect(),
    }
}

/// The keys that end in `_claim`, and what is done with the values.
fn claims(section: &mut Section<'_>) -> Option<ClaimMapping> {
    let pointer = |section: &mut Section<'_>, key, default: &str| {
        section.or(key, ClaimPointer(default.to_owned())).0
    };
    let subject = pointer(section, "subject_claim", "/sub");
    let name = pointer(section, "name_claim", "/preferred_username");
    let strip: Option<HostName> = section.optional("name_strip_domain");
    let name_suffix: Option<String> = section.optional("name_suffix");
    if let Some(suffix) = &name_suffix
        && !is_suffix(suffix)
    {
        let message = format!("`{suffix}` cannot end a user name");
        let remedy = "write `name_suffix = \"@partner\"`: `@`, then letters, digits, `.` and `-`";
        section.error("name_suffix", says(message, remedy));
    }
    let roles: Option<ClaimPointers> = section.required("roles_claim", "roles_claim = \"/groups\"");
    if roles.as_ref().is_some_and(|roles| roles.0.is_empty()) {
        section.error(
            "roles_claim",
            says("no claim is named", "name the claim with groups or roles"),
        );
    }
    let (email, require_email_domains) = email(section);
    let training: Option<ClaimPointer> = section.optional("training_claim");
    let department: Option<ClaimPointer> = section.optional("department_claim");
    let departments: BTreeMap<String, String> = section.map("departments").unwrap_or_default();
    if department.is_none() && !departments.is_empty() {
        let message = "`departments` names values of no claim";
        section.error(
            "departments",
            says(message, "add `department_claim = \"/department\"`"),
        );
    }
    Some(ClaimMapping {
        subject,
        name,
        name_strip_domain: strip.map(|domain| domain.0),
        name_suffix,
        roles: roles?.0,
        require_email_domains,
        email,
        department: department.map(|pointer| pointer.0),
        departments,
        training: training.map(|pointer| pointer.0),
    })
}

/// `email_claim` and `require_email_domains`
fn email(section: &mut Section<'_>) -> (String, Vec<String>) {
    let claim: Option<ClaimPointer> = section.optional("email_claim");
    let domains: Vec<HostName> = section.or("require_email_domains", Vec::new());
    if claim.is_some() && domains.is_empty() {
        let message = "`email_claim` is read for `require_email_domains` only";
        section.error(
            "email_claim",
            says(message, "add the domains, or remove it"),
        );
    }
    (
        claim.map_or_else(|| "/email".to_owned(), |claim| claim.0),
        domains.into_iter().map(|domain| domain.0).collect(),
    )
}

/// `groups_value`
fn groups_value(section: &mut Section<'_>, endpoint: Option<&url::Url>) -> String {
    let value: Option<ClaimPointer> = section.optional("groups_value");
    if value.is_some() && endpoint.is_none() {
        let message = "`groups_value` is read for `groups_endpoint` only";
        section.error(
            "groups_value",
            says(message, "add the endpoint, or remove it"),
        );
    }
    value.map_or_else(|| "/id".to_owned(), |value| value.0)
}

fn is_suffix(suffix: &str) -> bool {
    suffix.strip_prefix('@').is_some_and(|rest| {
        !rest.is_empty()
            && rest.len() <= 63
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
    })
}

/// `[identity.issuer.mfa]`
fn mfa(mut section: Section<'_>) -> MfaEvidence {
    let evidence = MfaEvidence {
        acr: section.or("acr", Vec::new()),
        amr: section.or("amr", Vec::new()),
        require: section.or("require", MfaRequire::Any),
        phishing_resistant: super::step_up::phishing_resistant(&mut section),
    };
    let empty_set = evidence.amr.iter().any(Vec::is_empty);
    if empty_set || (evidence.acr.is_empty() && evidence.amr.is_empty()) {
        // SECURITY: an empty set holds for everybody, so a single factor would pass for two.
        let message = "nothing is named that proves a second factor";
        let remedy = "name `amr` sets such as [\"pwd\", \"otp\"], or `acr` values of the provider";
        section.error("amr", says(message, remedy));
    }
    section.done();
    evidence
}

pub(super) fn check_algorithms(section: &Section<'_>, algorithms: &[String]) {
    let remedy = format!("choose from {}", ALGORITHMS.join(", "));
    if algorithms.is_empty() {
        section.error(
            "algorithms",
            says("no signature algorithm is accepted", remedy.clone()),
        );
    }
    for (index, algorithm) in algorithms.iter().enumerate() {
        if ALGORITHMS.contains(&algorithm.as_str()) {
            continue;
        }
        let lower = algorithm.to_ascii_lowercase();
        // SECURITY: `none` needs no key at all; with HS* whoever knows the client secret signs tokens.
        let message = if lower == "none" {
            "`none` would accept tokens that nobody signed".to_owned()
        } else if lower.starts_with("hs") {
            format!("`{algorithm}` would accept tokens signed with a shared secret")
        } else {
            format!("`{algorithm}` is not a signature algorithm that is accepted")
        };
        section.error(
            &format!("algorithms[{index}]"),
            says(message, remedy.clone()),
        );
    }
}
