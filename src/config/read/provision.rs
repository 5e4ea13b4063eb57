//! `[provisioning]`

use super::identity::{optional_secret, secret};
use crate::config::Identity;
use crate::config::provision::{KnownBy, Provisioning, Scim};
use crate::config::section::Section;
use crate::config::source::says;
use crate::secret::Secret;

/// Shorter tokens can be guessed.
const SHORTEST_TOKEN: usize = 32;

/// `[provisioning]`
pub(super) fn provisioning(
    root: &mut Section<'_>,
    identity: Option<&Identity>,
) -> Option<Provisioning> {
    let mut section = root.optional_table("provisioning")?;
    let issuer: Option<String> = section.required("issuer", "issuer = \"hospital\"");
    if let (Some(issuer), Some(identity)) = (&issuer, identity)
        && identity.issuers.iter().all(|known| known.name != *issuer)
    {
        let message = format!("no `[[identity.issuer]]` is named `{issuer}`");
        let remedy = "name the issuer at which these people sign in";
        section.error("issuer", says(message, remedy));
    }
    let scim = section.optional_table("scim").map(scim);
    // Not looked for here: a feed that comes later is taken over then, and one that is missing is an alarm.
    let feed = section
        .optional::<String>("feed")
        .map(|path| section.document().source().resolve(&path));
    let feed_most = section.within("feed_most", 50_u64, 1..=100_000);
    if scim.is_none() && feed.is_none() {
        let message =
            "neither `feed` nor `[provisioning.scim]` is there, so nothing would be learned";
        let remedy = "name a CSV file of the personnel system, or open the SCIM endpoint";
        section.error("issuer", says(message, remedy));
    }
    section.done();
    Some(Provisioning {
        issuer: issuer?,
        scim: match scim {
            Some(scim) => Some(scim?),
            None => None,
        },
        feed,
        feed_most: usize::try_from(feed_most).unwrap_or(usize::MAX),
    })
}

/// `[provisioning.scim]`
fn scim(mut section: Section<'_>) -> Option<Scim> {
    let token = secret(&mut section, "token_file");
    let previous_token = optional_secret(&mut section, "previous_token_file");
    let long_enough = |token: &Secret<String>| token.expose().len() >= SHORTEST_TOKEN;
    if [&token, &previous_token]
        .into_iter()
        .flatten()
        .any(|token| !long_enough(token))
    {
        let message = format!("a token has fewer than {SHORTEST_TOKEN} characters");
        let remedy = "make one with `openssl rand -base64 33`";
        section.error("token_file", says(message, remedy));
    }
    let networks = section.or("networks", Vec::new());
    let word = section.or("known_by", "userName".to_owned());
    let known_by = match word.as_str() {
        "userName" => KnownBy::UserName,
        "externalId" => KnownBy::ExternalId,
        other => {
            let message = format!("`{other}` is no attribute that names who signs in");
            let remedy =
                "choose \"userName\" (the user's name) or \"externalId\" (the issuer's `sub`)";
            section.error("known_by", says(message, remedy));
            KnownBy::UserName
        }
    };
    section.done();
    Some(Scim {
        token: token?,
        previous_token,
        networks,
        known_by,
    })
}
