//! A policy bundle: a directory that is read, checked as a whole, and only then used.
//!
//! *Never*: half a bundle. Every problem of every file is collected, and one is enough to refuse.
//! *On failure*: [`BundleError`] with file, line and remedy of each problem.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedar_policy::Schema;

use super::calendars::Calendars;
use super::courses::{self, Course};
use super::files::{COURSES, Files, TABLES};
use super::manifest::{self, Issuer, Manifest};
use super::networks::Networks;
use super::problem::{BundleError, Findings};
use super::roles::Roles;
use super::rule::Rule;
use super::rules;
use super::tables::{Tables, Words};
use super::vocabulary::Vocabulary;

/// A bundle without a problem.
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: PathBuf,
    manifest: Manifest,
    vocabulary: Vocabulary,
    rules: Vec<Arc<Rule>>,
    roles: Roles,
    networks: Networks,
    calendars: Calendars,
    tables: Tables,
    courses: Arc<[Course]>,
    profiles: Arc<BTreeMap<PathBuf, String>>,
    digest: String,
    texts: Arc<BTreeMap<PathBuf, String>>,
}

impl Bundle {
    /// Reads and checks the bundle in `directory`.
    ///
    /// # Errors
    /// With every problem that was found.
    pub fn load(directory: &Path) -> Result<Self, BundleError> {
        let mut findings = Findings::default();
        let files = Files::read(directory, &mut findings);
        Self::read(directory, files, findings)
    }

    /// Checks a bundle whose files were kept ([`Bundle::texts`]); `directory` is where its problems are said to be.
    ///
    /// # Errors
    /// With every problem that was found.
    pub fn of_texts(
        directory: &Path,
        texts: BTreeMap<PathBuf, String>,
    ) -> Result<Self, BundleError> {
        Self::read(directory, Files::kept(texts), Findings::default())
    }

    /// The digest of the files in `directory`, whether or not they are a bundle that loads.
    #[must_use]
    pub fn digest_of(directory: &Path) -> String {
        Files::read(directory, &mut Findings::default()).digest()
    }

    fn read(directory: &Path, files: Files, mut findings: Findings) -> Result<Self, BundleError> {
        let manifest = files
            .text(manifest::FILE, &mut findings)
            .and_then(|text| Manifest::read(text, &mut findings));
        let schema = read_schema(&files, &mut findings);
        let rules = rules::read(&files, schema.as_ref().map(|(s, _)| s), &mut findings);
        let known = schema.as_ref().map(|(_, vocabulary)| vocabulary.roles());
        let grants = files
            .text("roles.toml", &mut findings)
            .map(|text| Roles::read(Path::new("roles.toml"), text, known, &mut findings));
        if let (Some(manifest), Some(grants)) = (&manifest, &grants) {
            manifest.judge(grants, &mut findings);
        }
        let networks = files
            .optional("networks.toml")
            .map_or_else(Networks::undefined, |text| {
                Networks::read(Path::new("networks.toml"), text, &mut findings)
            });
        let calendars = files
            .optional("calendars.toml")
            .map_or_else(Calendars::default, |text| {
                Calendars::read(Path::new("calendars.toml"), text, known, &mut findings)
            });
        for rule in &rules {
            unknown_shifts(rule, &calendars, &mut findings);
        }
        let ids = rules.iter().map(|rule| rule.id()).collect();
        let tables = schema.as_ref().map(|(_, vocabulary)| {
            let words = Words {
                vocabulary,
                networks: &networks,
                calendars: &calendars,
                policies: &ids,
            };
            Tables::read(files.within(TABLES), &words, &mut findings)
        });
        let courses = courses::read_all(files.within(COURSES), known, &mut findings);
        match (manifest, schema, grants) {
            (Some(manifest), Some((_, vocabulary)), Some(grants)) if findings.is_empty() => {
                Ok(Self {
                    directory: directory.to_owned(),
                    manifest,
                    vocabulary,
                    rules,
                    roles: grants,
                    networks,
                    calendars,
                    tables: tables.unwrap_or_default(),
                    courses: courses.into(),
                    profiles: Arc::new(files.profiles()),
                    digest: files.digest(),
                    texts: Arc::new(files.into_texts()),
                })
            }
            _incomplete => Err(findings.into_error(directory)),
        }
    }

    /// The directory that it was read from.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// The issuers that it expects people to sign in at; nothing where it does not say.
    #[must_use]
    pub fn issuers(&self) -> Option<&[Issuer]> {
        self.manifest.issuers.as_deref()
    }

    /// Its roles and sections.
    #[must_use]
    pub const fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Its policies, by file and line.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter().map(AsRef::as_ref)
    }

    /// Who has which role.
    #[must_use]
    pub const fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The network zones.
    #[must_use]
    pub const fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Shifts and booked windows.
    #[must_use]
    pub const fn calendars(&self) -> &Calendars {
        &self.calendars
    }

    /// What its authors expect of it.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The courses that people have to do, by id.
    #[must_use]
    pub const fn courses(&self) -> &Arc<[Course]> {
        &self.courses
    }

    /// The texts of its EMR profiles, by path (`emr/opal.toml`).
    #[must_use]
    pub fn profiles(&self) -> &BTreeMap<PathBuf, String> {
        &self.profiles
    }

    /// The texts of all of its files, by path, as they were read.
    #[must_use]
    pub fn texts(&self) -> &BTreeMap<PathBuf, String> {
        &self.texts
    }

    /// The signatures of its digest: the text of `bundle.sig`, if it has one.
    #[must_use]
    pub fn signature(&self) -> Option<&str> {
        Files::signature(&self.texts)
    }

    /// SHA-256 over all of its files but the README and the signatures, in hex: that of the lines which `sha256sum` prints for them, in
    /// the order of their names. Two bundles with one digest are one bundle.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its policies, to be shared with what is compiled from them.
    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

/// A shift that no calendar has is never in force: a permit would never apply, and nobody would see why.
fn unknown_shifts(rule: &Rule, calendars: &Calendars, findings: &mut Findings) {
    for name in rule.shifts().iter().filter(|name| !calendars.has(name)) {
        findings.push(
            rule.file(),
            Some(rule.line()),
            format!(
                "the policy \"{}\" asks for the shift \"{name}\", and there is none",
                rule.id()
            ),
            "Add it to calendars.toml as a `[[shift]]` or `[[window]]`, or use one that is there.",
        );
    }
}

fn read_schema(files: &Files, findings: &mut Findings) -> Option<(Schema, Vocabulary)> {
    let file = Path::new("schema.cedarschema");
    let text = files.text("schema.cedarschema", findings)?;
    let remedy = "Compare it with the shipped schema.cedarschema.";
    let schema = match Schema::from_cedarschema_str(text) {
        Ok((schema, warnings)) => {
            for warning in warnings {
                findings.diagnostic(file, text, &warning, remedy);
            }
            schema
        }
        Err(error) => {
            findings.diagnostic(file, text, &error, remedy);
            return None;
        }
    };
    match Vocabulary::read(text, &schema) {
        Ok(vocabulary) => Some((schema, vocabulary)),
        Err(errors) => {
            for error in errors {
                findings.push(file, None, error.to_string(), remedy);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::problem::Problem;
    use crate::policy::tests::{SHIPPED, SMALL, directory, load};

    /// The problems of a sound bundle with these files beside or in place of its own.
    fn problems(files: &[(&str, &str)]) -> Vec<Problem> {
        load(files).expect_err("problems").problems().to_vec()
    }

    /// The one problem of a policy file with `text` from its third line on.
    fn problem_of(text: &str) -> Problem {
        let found = problems(&[("more.cedar", &format!("\n\n{text}"))]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].file, Path::new("more.cedar"));
        assert!(!found[0].remedy.is_empty());
        found[0].clone()
    }

    #[test]
    fn the_shipped_bundle_loads_and_names_its_policies() {
        assert_eq!(SHIPPED.name(), "chartgate-hospital");
        assert!(SHIPPED.policies().all(|rule| !rule.doc().is_empty()));
        let rule = SHIPPED
            .policies()
            .find(|rule| rule.id() == "him-export")
            .expect("him-export");
        assert_eq!(rule.file(), Path::new("office.cedar"));
        assert_eq!(rule.obligations().as_recorded(), ["stepup=300s"]);
        let text = fs::read_to_string(SHIPPED.directory().join(rule.file())).expect("text");
        let line = text.lines().nth(rule.line() - 1).expect("its line");
        assert_eq!(line, "@id(\"him-export\")");
    }

    #[test]
    fn an_unknown_word_does_not_load() {
        for (text, line, says) in [
            (
                r#"@id("a") @doc("x") permit (principal in Role::"nurze", action, resource);"#,
                3,
                "nurze",
            ),
            (
                r#"@id("a") @doc("x") permit (principal, action, resource == Section::"note");"#,
                3,
                "note",
            ),
            (
                r#"@id("a") @doc("x") permit (principal, action == Action::"Reed", resource);"#,
                3,
                "Reed",
            ),
            (
                "@id(\"a\") @doc(\"x\")\npermit (principal, action, resource)\nwhen { context.mfaa };",
                5,
                "mfaa",
            ),
            (
                "@id(\"a\") @doc(\"x\") permit (principal, action, resource)\nwhen { context.patient == Patient::\"1\" };",
                4,
                "patient",
            ),
            (
                "@id(\"a\") @doc(\"x\")\n@watermark(\"on\")\npermit (principal, action, resource);",
                3,
                "watermark",
            ),
        ] {
            let problem = problem_of(text);
            assert_eq!(problem.line, Some(line), "{problem:?}");
            assert!(problem.message.contains(says), "{problem:?}");
        }
    }

    #[test]
    fn a_policy_has_a_name_a_meaning_and_no_stray_obligation() {
        for (text, says) in [
            (
                r#"@doc("x") permit (principal, action, resource);"#,
                "no usable `@id`",
            ),
            (
                r#"@id("A b") @doc("x") permit (principal, action, resource);"#,
                "no usable `@id`",
            ),
            (
                r#"@id("a") permit (principal, action, resource);"#,
                "no `@doc`",
            ),
            (
                r#"@id("a") @doc("x") @stepup("soon") permit (principal, action, resource);"#,
                "soon",
            ),
            (
                r#"@id("a") @doc("x") @stepup("5m") forbid (principal, action, resource);"#,
                "carries an obligation",
            ),
            (r"permit (principal, action", "unexpected"),
            (
                r#"@id("a") @doc("x") permit (principal == ?principal, action, resource);"#,
                "template",
            ),
            (
                r#"@id("a") @doc("x") forbid (principal, action, resource) when { false };"#,
                "impossible",
            ),
        ] {
            let problem = problem_of(text);
            assert!(problem.message.contains(says), "{problem:?}");
        }
    }

    #[test]
    fn every_problem_of_every_file_is_reported_at_once() {
        let found = problems(&[
            ("bundle.toml", "name = \"My Bundle\"\nversion = \"1\"\n"),
            ("roles.toml", "[[grant]]\nrole = \"nurze\"\nclaim = \"x\"\n"),
            ("small.cedar", SMALL),
            ("twice.cedar", SMALL),
            ("broken.cedar", "permit (\n"),
            ("lockdown.ceder", "forbid (principal, action, resource);"),
        ]);
        let files: Vec<_> = found
            .iter()
            .map(|problem| (problem.file.to_str().expect("text"), problem.line))
            .collect();
        assert_eq!(
            files,
            [
                ("broken.cedar", Some(1)),
                ("bundle.toml", Some(1)),
                ("lockdown.ceder", None),
                ("roles.toml", Some(2)),
                ("twice.cedar", Some(2)),
                ("twice.cedar", Some(7)),
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn a_schema_that_does_not_fit_the_gateway_does_not_load() {
        let shipped =
            fs::read_to_string(SHIPPED.directory().join("schema.cedarschema")).expect("the schema");
        for (from, to) in [
            ("  mfa: Bool,", "  mfa: Bool, ward: String,"),
            ("  mfa: Bool,", "  mfa: Long,"),
            ("  lockdown: Long,", ""),
            ("patient?: Patient,", "patient: Patient,"),
            ("principal: [User, Service]", "principal: [User]"),
            ("Navigate, Unmapped", "Navigate"),
            (
                "entity User in [Role];",
                "entity User in [Role] { ward: String };",
            ),
            ("entity User in [Role];", "entity User;"),
            ("entity Patient;", "entity Patient"),
        ] {
            assert!(shipped.contains(from), "{from}");
            let changed = shipped.replacen(from, to, 1);
            let found = problems(&[("schema.cedarschema", &changed), ("small.cedar", SMALL)]);
            assert!(
                found
                    .iter()
                    .any(|problem| problem.file == Path::new("schema.cedarschema")),
                "{to}: {found:#?}"
            );
        }
        let grown = shipped.replacen("\"vendor\",", "\"vendor\", \"dietician\",", 1);
        let bundle = load(&[("schema.cedarschema", &grown)]).expect("a role more");
        assert!(bundle.vocabulary().roles().contains("dietician"));
    }

    #[test]
    fn a_missing_file_is_a_problem_and_a_hidden_one_is_none() {
        let place = directory(&[("small.cedar", SMALL), (".small.cedar.swp", "x")]);
        assert!(Bundle::load(place.path()).is_ok());
        fs::remove_file(place.path().join("roles.toml")).expect("removed");
        let found = Bundle::load(place.path()).expect_err("no roles");
        assert_eq!(found.problems()[0].file, Path::new("roles.toml"));
        let nowhere = Bundle::load(&place.path().join("nowhere")).expect_err("nothing there");
        assert!(!nowhere.problems().is_empty());
    }

    #[test]
    fn problems_name_policies_as_their_author_does() {
        let problem = problem_of(
            r#"@id("mine") @doc("x") permit (principal, action, resource) when { context.mfa == 1 };"#,
        );
        assert!(problem.to_string().contains("`mine`"), "{problem}");
    }
}
