//! `[identity]`

use std::time::Duration;

use super::{all, issuer};
use crate::config::secrets;
use crate::config::section::Section;
use crate::config::sessions::BindTo;
use crate::config::source::says;
use crate::config::{Emr, Identity};

/// `[identity]`
pub(super) fn identity(root: &mut Section<'_>, emrs: Option<&[Emr]>) -> Option<Identity> {
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
    let sessions = super::sessions::sessions(&mut section, idle_timeout);
    let sections = section.tables("issuer");
    if sections.is_empty() {
        section.error("issuer", says("there is no identity provider", why));
    }
    let second_factor = super::second_factor::second_factor(&mut section);
    let ground = issuer::Ground {
        emrs,
        clock_leeway,
        second_factor: second_factor.as_ref(),
    };
    let issuers = all(sections.into_iter().map(|one| issuer::issuer(one, ground)));
    let api = super::api::apis(&mut section, issuers.as_deref().unwrap_or_default());
    let client_certificates = super::api::client_certificates(&mut section);
    let is_bound = sessions.binding.on.contains(&BindTo::ClientCertificate);
    if is_bound && matches!(client_certificates, Ok(None)) {
        let message = "sessions are bound to client certificates, and none are asked for";
        let remedy = "add `[identity.client_certificates]` with the `ca` of the devices";
        section.error("binding", says(message, remedy));
    }
    let lock = super::lock::lock(&mut section, idle_timeout);
    let held_posts = super::lock::held_posts(&mut section);
    let names = issuers.iter().flatten().map(|issuer| issuer.name.as_str());
    let emergency = super::emergency::emergency(&mut section, names);
    section.done();
    Some(Identity {
        idle_timeout,
        absolute_timeout,
        login_timeout,
        clock_leeway,
        sessions,
        issuers: issuers?,
        second_factor,
        api: api?,
        client_certificates: client_certificates.ok()?,
        lock,
        held_posts,
        emergency,
    })
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
        Ok(secret) => {
            section.document().names_file(section.key(key));
            Some(secret)
        }
        Err(said) => {
            section.error(key, said);
            None
        }
    }
}
