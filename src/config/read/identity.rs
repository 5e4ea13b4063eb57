//! `[identity]` and its issuers.

use std::time::Duration;

use super::{all, optional_file};
use crate::config::second_factor::SecondFactor;
use crate::config::secrets;
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::{ClaimPointer, ShortName};
use crate::config::{Identity, Issuer, MfaEvidence, MfaRequire};

const ALGORITHMS: [&str; 9] = [
    "ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512",
];
const DEFAULT_ALGORITHMS: [&str; 3] = ["ES256", "RS256", "PS256"];

/// `[identity]`
pub(super) fn identity(root: &mut Section<'_>) -> Option<Identity> {
    let why = "add `[[identity.issuer]]`, the OpenID provider at which users sign in";
    let mut section = root.required_table("identity", why)?;
    let minutes = Duration::from_mins;
    let idle_timeout = section.within("idle_timeout", minutes(15), minutes(1)..=minutes(24 * 60));
    let absolute_timeout = section.within(
        "absolute_timeout",
        minutes(12 * 60),
        minutes(1)..=minutes(7 * 24 * 60),
    );
    let login_timeout = section.within("login_timeout", minutes(10), minutes(1)..=minutes(60));
    let clock_leeway = section.within("clock_leeway", minutes(1), Duration::ZERO..=minutes(5));
    if idle_timeout > absolute_timeout {
        let message = "`idle_timeout` is longer than `absolute_timeout`, so it would never apply";
        let remedy =
            "make `idle_timeout` the shorter one (15 minutes and 12 hours are the defaults)";
        section.error("idle_timeout", says(message, remedy));
    }
    let sections = section.tables("issuer");
    match sections.len() {
        0 => section.error("issuer", says("there is no identity provider", why)),
        1 => {}
        many => {
            let message = format!("{many} issuers are configured; one is supported");
            section.error("issuer", says(message, "keep one `[[identity.issuer]]`"));
        }
    }
    let second_factor = super::second_factor::second_factor(&mut section);
    let own = second_factor.as_ref();
    let issuers = all(sections.into_iter().map(|section| issuer(section, own)));
    let api = super::api::apis(&mut section, issuers.as_deref().unwrap_or_default());
    let client_certificates = super::api::client_certificates(&mut section);
    let lock = super::lock::lock(&mut section, idle_timeout);
    let held_posts = super::lock::held_posts(&mut section);
    section.done();
    Some(Identity {
        idle_timeout,
        absolute_timeout,
        login_timeout,
        clock_leeway,
        issuers: issuers?,
        second_factor,
        api: api?,
        client_certificates: client_certificates.ok()?,
        lock,
        held_posts,
    })
}

/// `[[identity.issuer]]`
fn issuer(mut section: Section<'_>, own: Option<&SecondFactor>) -> Option<Issuer> {
    let name: Option<ShortName> = section.required("name", "name = \"hospital\"");
    let url: Option<url::Url> = section.required(
        "url",
        "url = \"https://login.hospital.example/realms/staff\"",
    );
    if let Some(url) = &url
        && url.scheme() == "http"
        && !super::emr::is_loopback(url)
    {
        // SECURITY: over plain HTTP anyone on the way can hand out keys and sign in as everybody.
        let message = format!("the provider `{url}` would be reached without encryption");
        section.error(
            "url",
            says(
                message,
                "use its https URL; http is accepted on loopback only",
            ),
        );
    }
    let ca = optional_file(&mut section, "ca");
    let client_id = section.required("client_id", "client_id = \"chartgate\"");
    let client_secret = secret(&mut section, "client_secret_file");
    let scopes = section.or("scopes", vec!["profile".to_owned()]);
    let algorithms = section.or("algorithms", DEFAULT_ALGORITHMS.map(str::to_owned).to_vec());
    check_algorithms(&section, &algorithms);
    let request_acr = section.or("request_acr", Vec::new());
    let name_claim = section.or("name_claim", ClaimPointer("/preferred_username".to_owned()));
    let roles_claim = section.required("roles_claim", "roles_claim = \"/groups\"");
    let training_claim = section.optional("training_claim");
    let why = "add `[identity.issuer.mfa]` with `amr = [[\"pwd\", \"otp\"]]` or `acr = [..]`: what proves a second factor";
    // Without evidence of the provider nothing it says proves a second factor; the gateway's own then does.
    let has_own = |name: &ShortName| own.is_some_and(|own| own.issuers.contains(&name.0));
    let mfa = match section.optional_table("mfa") {
        Some(evidence) => Some(mfa(evidence)),
        None if name.as_ref().is_some_and(has_own) => Some(MfaEvidence {
            acr: Vec::new(),
            amr: Vec::new(),
            phishing_resistant: super::super::step_up::PhishingResistant::default(),
            require: MfaRequire::Any,
        }),
        None => section.required_table("mfa", why).map(mfa),
    };
    let refresh = super::refresh::refresh(&mut section);
    let logout = super::refresh::logout(&mut section);
    section.done();
    let ShortName(name) = name?;
    let ClaimPointer(roles_claim) = roles_claim?;
    Some(Issuer {
        name,
        url: url?,
        ca,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        algorithms,
        request_acr,
        mfa: mfa?,
        name_claim: name_claim.0,
        roles_claim,
        training_claim: training_claim.map(|ClaimPointer(pointer)| pointer),
        refresh,
        logout,
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

/// A one-line secret in the file that `key` names.
pub(super) fn secret(
    section: &mut Section<'_>,
    key: &'static str,
) -> Option<crate::secret::Secret<String>> {
    let path = super::path(
        section,
        key,
        &format!("{key} = \"secrets/{}\"", key.trim_end_matches("_file")),
    )?;
    line_of(section, key, &path)
}

/// The same where it may be left out.
pub(super) fn optional_secret(
    section: &mut Section<'_>,
    key: &'static str,
) -> Option<crate::secret::Secret<String>> {
    let text: String = section.optional(key)?;
    let path = section.document().source().resolve(&text);
    line_of(section, key, &path)
}

fn line_of(
    section: &Section<'_>,
    key: &str,
    path: &std::path::Path,
) -> Option<crate::secret::Secret<String>> {
    match secrets::read_line(path) {
        Ok(secret) => Some(secret),
        Err(said) => {
            section.error(key, said);
            None
        }
    }
}
