//! The texts that `init` writes, with the operator's choices filled in.

use std::path::Path;

use url::Url;

use crate::config::load::read_text;
use crate::config::problem::{Problem, Problems};
use crate::config::source::Source;

/// The configuration that the README shows, with these choices in it.
pub(super) const TEMPLATE: &str = include_str!("../templates/chartgate.toml");
/// What must not be committed.
pub(super) const GITIGNORE: &str = "keys/\nsecrets/\ndata/\nbackups/\nwitness/\ncerts/*.key\n";
/// The template's host.
pub(super) const HOST: &str = "emr.hospital.example";
/// The template's EMR.
pub(super) const EMR_URL: &str = "http://127.0.0.1:8080";
/// The template's profile.
pub(super) const PROFILE: &str = "opal";
/// The template's provider.
pub(super) const ISSUER: &str = "https://login.hospital.example/realms/staff";
/// The template's client id.
pub(super) const CLIENT_ID: &str = "chartgate";

/// What the operator chose.
#[derive(Debug)]
pub(super) struct Choices<'c> {
    /// The public host.
    pub(super) host: &'c str,
    /// The EMR.
    pub(super) emr_url: &'c Url,
    /// The profile's name.
    pub(super) profile: &'c str,
    /// Whether plain http to the EMR is confirmed.
    pub(super) allow_plain_http: bool,
    /// The provider.
    pub(super) issuer: &'c Url,
    /// The client id.
    pub(super) client_id: &'c str,
}

/// The template with the choices.
///
/// # Errors
/// The problems that a choice would cause; those of files that are still to come are not among them.
pub(super) fn fill(choices: &Choices<'_>, directory: &Path) -> Result<String, Problems> {
    let origin = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let mut text = TEMPLATE
        .replace(ISSUER, &origin(choices.issuer))
        .replace(HOST, choices.host)
        .replace(EMR_URL, &origin(choices.emr_url))
        .replace(
            &format!("emr/{PROFILE}.toml"),
            &format!("emr/{}.toml", choices.profile),
        )
        .replace(
            &format!("client_id = \"{CLIENT_ID}\""),
            &format!("client_id = \"{}\"", choices.client_id),
        );
    if choices.allow_plain_http {
        text = text.replace("# allow_plain_http = false", "allow_plain_http = true");
    }
    let reading = read_text(Source::new(directory.join("chartgate.toml"), text.clone()));
    let mut problems = Problems::default();
    reading
        .problems
        .iter()
        .filter(|problem| is_of_a_choice(problem))
        .cloned()
        .for_each(|problem| problems.push(problem));
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !choices.profile.chars().all(simple) {
        problems.push(crate::config::problem::of_file(
            directory,
            format!("`{}` is not the name of a profile", choices.profile),
            "name a file of `policies/emr/` without its `.toml`".to_owned(),
        ));
    }
    let errors = problems.count(crate::config::problem::Severity::Error);
    if errors == 0 { Ok(text) } else { Err(problems) }
}

/// Whether a choice of the operator is to blame: the text itself, or one of the keys that were filled in.
fn is_of_a_choice(problem: &Problem) -> bool {
    const FILLED: [&str; 4] = [
        "emr[0].hosts",
        "emr[0].backend.url",
        "identity.issuer[0].url",
        "identity.issuer[0].client_id",
    ];
    let key = problem.key.as_str();
    key.is_empty() || FILLED.contains(&key)
}

/// What to do next.
pub(super) fn next_steps(directory: &str) -> String {
    format!(
        "
Next:
  1. Register Chartgate with the identity provider (chartgate.toml lists the addresses) and put the client
     secret into {directory}/secrets/client_secret (chmod 600).
  2. Read {directory}/chartgate.toml and {directory}/policies.
  3. chartgate check --config {directory}/chartgate.toml
  4. chartgate serve --config {directory}/chartgate.toml

certs/server.pem is for trying out: its CA is certs/ca.pem, whose key was thrown away. Replace it before users come."
    )
}
