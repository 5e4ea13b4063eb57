//! `roles.toml`: which claim value of which issuer gives which role, until when.
//!
//! *Never*: a role by pattern or by default. A value that no grant names gives nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use super::problem::{Findings, line_of};
use super::question::Purpose;
use crate::request::Role;

/// Most grants of a bundle.
const MOST_GRANTS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoles {
    #[serde(default)]
    expiring: Vec<Spanned<String>>,
    #[serde(default)]
    grant: Vec<Spanned<RawGrant>>,
    #[serde(default)]
    purpose: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrant {
    role: Spanned<String>,
    claim: Spanned<String>,
    issuer: Option<Spanned<String>>,
    expires: Option<Spanned<toml::value::Datetime>>,
}

/// One grant of `roles.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleGrant {
    /// The role that it gives.
    pub role: Role,
    /// To whom: this value of the issuer's roles claim.
    pub claim: String,
    /// Only for this issuer; else for any.
    pub issuer: Option<String>,
    /// Until then.
    pub expires: Option<Timestamp>,
    /// Its line in `roles.toml`.
    pub line: usize,
}

impl RoleGrant {
    fn applies(&self, issuer: &str, value: &str, now: Timestamp) -> bool {
        self.claim == value
            && self.issuer.as_deref().is_none_or(|only| only == issuer)
            && self.expires.is_none_or(|expires| now < expires)
    }
}

/// The roles that someone has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granted {
    /// The roles.
    pub roles: BTreeSet<Role>,
    /// When the first of them ends; a session that relies on them must not outlast it.
    pub until: Option<Timestamp>,
}

/// All grants of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles {
    grants: Vec<RoleGrant>,
    purposes: BTreeMap<Role, Purpose>,
}

impl Roles {
    /// The grants, in the order of the file.
    #[must_use]
    pub fn grants(&self) -> &[RoleGrant] {
        &self.grants
    }

    /// What somebody with these roles uses charts for: what all of their roles that state something agree on.
    #[must_use]
    pub fn purpose(&self, roles: &BTreeSet<Role>) -> Purpose {
        let mut stated = roles.iter().filter_map(|role| self.purposes.get(role));
        match stated.next() {
            Some(first) if stated.all(|one| one == first) => *first,
            Some(_) | None => Purpose::Unknown,
        }
    }

    /// The roles that `issuer`'s claim `values` give at `now`.
    pub fn granted<'v>(
        &self,
        issuer: &str,
        values: impl IntoIterator<Item = &'v str>,
        now: Timestamp,
    ) -> Granted {
        // A role that two grants give ends with the later of them.
        let mut ends: BTreeMap<&Role, Option<Timestamp>> = BTreeMap::new();
        for value in values {
            for grant in self.grants.iter().filter(|g| g.applies(issuer, value, now)) {
                ends.entry(&grant.role)
                    .and_modify(|end| *end = later(*end, grant.expires))
                    .or_insert(grant.expires);
            }
        }
        Granted {
            until: ends.values().copied().flatten().min(),
            roles: ends.into_keys().cloned().collect(),
        }
    }

    /// Reads `roles.toml`. `known` are the schema's roles, if it could be read.
    pub(super) fn read(
        file: &Path,
        text: &str,
        known: Option<&BTreeSet<String>>,
        findings: &mut Findings,
    ) -> Self {
        let raw: RawRoles = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                findings.push(
                    file,
                    error.span().map(|span| line_of(text, span.start)),
                    error.message().trim_end(),
                    "Write `[[grant]]` tables with `role`, `claim` and, if wanted, `issuer` and `expires`.",
                );
                return Self::default();
            }
        };
        if raw.grant.len() > MOST_GRANTS {
            findings.push(
                file,
                None,
                format!("there are {} grants", raw.grant.len()),
                format!("A bundle holds {MOST_GRANTS} grants at most."),
            );
            return Self::default();
        }
        let mut reader = Reader {
            file,
            text,
            known,
            findings,
        };
        let expiring: BTreeSet<_> = raw
            .expiring
            .iter()
            .inspect(|role| reader.role(role))
            .map(|role| role.get_ref().clone())
            .collect();
        let grants = raw
            .grant
            .into_iter()
            .map(|grant| reader.grant(grant, &expiring))
            .collect();
        let purposes = raw
            .purpose
            .iter()
            .filter_map(|(role, code)| reader.purpose(role, code))
            .collect();
        Self { grants, purposes }
    }
}

/// The later of two ends; no end is the latest.
fn later(one: Option<Timestamp>, two: Option<Timestamp>) -> Option<Timestamp> {
    Some(one?.max(two?))
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    known: Option<&'a BTreeSet<String>>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn wrong<T>(&mut self, at: &Spanned<T>, message: String, remedy: &str) {
        let line = line_of(self.text, at.span().start);
        self.findings.push(self.file, Some(line), message, remedy);
    }

    fn role(&mut self, role: &Spanned<String>) {
        if self
            .known
            .is_some_and(|known| !known.contains(role.get_ref()))
        {
            self.wrong(
                role,
                format!("the role \"{}\" is not in the schema", role.get_ref()),
                "Use a role that schema.cedarschema lists under `entity Role`, or add it there.",
            );
        }
    }

    fn purpose(
        &mut self,
        role: &Spanned<String>,
        code: &Spanned<String>,
    ) -> Option<(Role, Purpose)> {
        self.role(role);
        let read = Purpose::by_code(code.get_ref());
        if read.is_none() {
            let known: Vec<_> = Purpose::ALL.iter().map(|one| one.code()).collect();
            self.wrong(
                code,
                format!("\"{}\" is no purpose of use", code.get_ref()),
                &format!("Use one of {}.", known.join(", ")),
            );
        }
        Some((Role::new(role.get_ref()), read?))
    }

    fn filled(&mut self, what: &str, value: &Spanned<String>) {
        if value.get_ref().trim().is_empty() {
            self.wrong(
                value,
                format!("`{what}` is empty"),
                "Write the exact value that the identity provider sends.",
            );
        }
    }

    fn grant(&mut self, grant: Spanned<RawGrant>, expiring: &BTreeSet<String>) -> RoleGrant {
        let line = line_of(self.text, grant.span().start);
        let raw = grant.into_inner();
        self.role(&raw.role);
        self.filled("claim", &raw.claim);
        if let Some(issuer) = &raw.issuer {
            self.filled("issuer", issuer);
        }
        if raw.expires.is_none() && expiring.contains(raw.role.get_ref()) {
            self.wrong(
                &raw.role,
                format!("the grant of \"{}\" has no `expires`", raw.role.get_ref()),
                "Roles listed under `expiring` are granted for a limited time: add `expires`.",
            );
        }
        let expires = raw.expires.and_then(|expires| {
            let parsed = expires.get_ref().to_string().parse::<Timestamp>();
            if parsed.is_err() {
                self.wrong(
                    &expires,
                    "`expires` names no exact moment".to_owned(),
                    "Write date, time and offset, as in 2027-06-30T23:59:59Z.",
                );
            }
            parsed.ok()
        });
        RoleGrant {
            role: Role::new(raw.role.get_ref()),
            claim: raw.claim.into_inner(),
            issuer: raw.issuer.map(Spanned::into_inner),
            expires,
            line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Roles, Vec<super::super::problem::Problem>) {
        let known = ["nurse", "physician", "vendor"]
            .map(str::to_owned)
            .into_iter()
            .collect();
        let mut findings = Findings::default();
        let roles = Roles::read(Path::new("roles.toml"), text, Some(&known), &mut findings);
        let problems = findings.into_error(Path::new("p")).problems().to_vec();
        (roles, problems)
    }

    fn sound(text: &str) -> Roles {
        let (roles, problems) = read(text);
        assert_eq!(problems, []);
        roles
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn names(granted: &Granted) -> Vec<&str> {
        granted.roles.iter().map(Role::as_str).collect()
    }

    #[test]
    fn a_value_gives_its_role_for_its_issuer_until_it_expires() {
        let roles = sound(
            r#"
            [[grant]]
            role = "nurse"
            claim = "emr-nurses"
            [[grant]]
            role = "vendor"
            claim = "support"
            issuer = "partners"
            expires = 2026-06-01T00:00:00Z
            "#,
        );
        let before = at("2026-05-31T23:59:59Z");
        let values = ["emr-nurses", "support", "other"];
        let granted = roles.granted("partners", values, before);
        assert_eq!(names(&granted), ["nurse", "vendor"]);
        assert_eq!(granted.until, Some(at("2026-06-01T00:00:00Z")));
        assert_eq!(names(&roles.granted("main", values, before)), ["nurse"]);
        let after = roles.granted("partners", values, at("2026-06-01T00:00:00Z"));
        assert_eq!((names(&after), after.until), (vec!["nurse"], None));
        assert_eq!(
            names(&roles.granted("main", ["EMR-NURSES"], before)),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn a_role_given_twice_ends_with_the_later_grant() {
        let roles = sound(
            r#"
            [[grant]]
            role = "nurse"
            claim = "a"
            expires = 2026-06-01T00:00:00Z
            [[grant]]
            role = "nurse"
            claim = "b"
            expires = 2026-07-01T00:00:00Z
            [[grant]]
            role = "nurse"
            claim = "c"
            "#,
        );
        let now = at("2026-01-01T00:00:00Z");
        assert_eq!(
            roles.granted("main", ["b", "a"], now).until,
            Some(at("2026-07-01T00:00:00Z"))
        );
        assert_eq!(roles.granted("main", ["a", "c", "b"], now).until, None);
    }

    #[test]
    fn every_problem_is_found_with_its_line() {
        let (_, problems) = read(
            "expiring = [\"vendor\", \"stranger\"]\n[[grant]]\nrole = \"nurze\"\nclaim = \"\"\n[[grant]]\nrole = \"vendor\"\nclaim = \"x\"\n[[grant]]\nrole = \"nurse\"\nclaim = \"y\"\nexpires = 2026-06-01\n",
        );
        let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(
            lines,
            [Some(1), Some(3), Some(4), Some(6), Some(11)],
            "{problems:#?}"
        );
    }

    #[test]
    fn roles_say_what_charts_are_used_for_where_they_agree() {
        let given =
            sound("[purpose]\nnurse = \"TREAT\"\nphysician = \"TREAT\"\nvendor = \"HOPERAT\"\n");
        let purpose =
            |names: &[&str]| given.purpose(&names.iter().map(|name| Role::new(name)).collect());
        assert_eq!(
            purpose(&["nurse", "physician", "other"]),
            Purpose::Treatment
        );
        assert_eq!(purpose(&["nurse", "vendor"]), Purpose::Unknown);
        assert_eq!(purpose(&[]), Purpose::Unknown);
        let (_, problems) = read("[purpose]\nnurze = \"TREAT\"\nnurse = \"FUN\"\n");
        let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [Some(2), Some(3)], "{problems:#?}");
    }

    #[test]
    fn an_unknown_key_does_not_load() {
        let (roles, problems) = read("[[grant]]\nrole = \"nurse\"\nclaim = \"x\"\nexpiry = 1\n");
        assert!(roles.grants().is_empty());
        assert_eq!(problems[0].line, Some(4), "{problems:#?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|\n|\\[\\[grant\\]\\]|role = |claim = |\"){0,40}") {
            read(&text);
        }
    }
}
