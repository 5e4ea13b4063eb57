//! `bundle.toml`: the name and version of a bundle, and at which issuers its people are expected to sign in.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::problem::{Findings, line_of};
use super::roles::Roles;
use super::rule::is_name;

/// The file.
pub(super) const FILE: &str = "bundle.toml";
/// Most issuers of a bundle.
const MOST_ISSUERS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    name: Spanned<String>,
    version: Spanned<String>,
    issuers: Option<Spanned<Vec<Spanned<String>>>>,
}

/// An issuer that a bundle expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: String,
    /// Its line in `bundle.toml`.
    pub line: usize,
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The issuers that it expects; nothing where it does not say.
    pub issuers: Option<Vec<Issuer>>,
}

impl Manifest {
    pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Self> {
        let file = Path::new(FILE);
        let remedy = "Write `name = \"…\"` (lower-case letters, digits, hyphens), `version = \"…\"` and, if wanted, `issuers = [\"…\"]`.";
        let raw = match toml::from_str::<RawManifest>(text) {
            Ok(raw) => raw,
            Err(error) => {
                let line = error.span().map(|span| line_of(text, span.start));
                findings.push(file, line, error.message().trim_end(), remedy);
                return None;
            }
        };
        for (key, value, is_fit) in [
            ("name", &raw.name, is_name(raw.name.get_ref())),
            (
                "version",
                &raw.version,
                !raw.version.get_ref().trim().is_empty(),
            ),
        ] {
            if !is_fit {
                let line = Some(line_of(text, value.span().start));
                findings.push(file, line, format!("`{key}` cannot be used"), remedy);
            }
        }
        let issuers = raw.issuers.as_ref().map(|written| {
            let list = written.get_ref();
            if list.is_empty() || list.len() > MOST_ISSUERS {
                let line = Some(line_of(text, written.span().start));
                let problem = format!("`issuers` names nobody, or more than {MOST_ISSUERS}");
                findings.push(
                    file,
                    line,
                    problem,
                    "Name issuers of chartgate.toml, or leave it out.",
                );
            }
            let each = list.iter().map(|name| Issuer {
                name: name.get_ref().clone(),
                line: line_of(text, name.span().start),
            });
            each.collect()
        });
        Some(Self {
            name: raw.name.into_inner(),
            version: raw.version.into_inner(),
            issuers,
        })
    }

    /// A grant for an issuer that the bundle does not expect gives nobody a role.
    pub(super) fn judge(&self, roles: &Roles, findings: &mut Findings) {
        let Some(issuers) = &self.issuers else { return };
        for grant in roles.grants() {
            let Some(issuer) = &grant.issuer else {
                continue;
            };
            if issuers.iter().all(|known| known.name != *issuer) {
                let message =
                    format!("the issuer \"{issuer}\" of this grant is not among those of {FILE}");
                let remedy = "Correct it, or add it to `issuers` in bundle.toml.";
                findings.push(Path::new("roles.toml"), Some(grant.line), message, remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::tests::{SMALL, load};

    fn problems(manifest: &str, roles: &str) -> Vec<(String, Option<usize>)> {
        let files = [
            ("bundle.toml", manifest),
            ("roles.toml", roles),
            ("small.cedar", SMALL),
        ];
        match load(&files) {
            Ok(_) => Vec::new(),
            Err(error) => {
                let all = error.problems().iter();
                all.map(|one| (one.file.display().to_string(), one.line))
                    .collect()
            }
        }
    }

    #[test]
    fn issuers_that_are_expected_are_those_of_the_grants() {
        let roles = "[[grant]]\nrole = \"nurse\"\nclaim = \"a\"\n[[grant]]\nrole = \"nurse\"\nclaim = \"b\"\nissuer = \"partners\"\n";
        let with = |issuers: &str| format!("name = \"x\"\nversion = \"1\"\n{issuers}\n");
        assert_eq!(problems(&with(""), roles), []);
        assert_eq!(
            problems(&with("issuers = [\"hospital\", \"partners\"]"), roles),
            []
        );
        let other = problems(&with("issuers = [\"hospital\"]"), roles);
        assert_eq!(other, [("roles.toml".to_owned(), Some(4))]);
        let none = problems(&with("issuers = []"), "");
        assert_eq!(none, [("bundle.toml".to_owned(), Some(3))]);
        let unfit = problems("name = \"X\"\nversion = \" \"\n", "");
        assert_eq!(
            unfit.iter().map(|(_, line)| *line).collect::<Vec<_>>(),
            [Some(1), Some(2)]
        );
    }
}
