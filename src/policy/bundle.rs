//! A policy bundle: a directory that is read, checked as a whole, and only then used.
//!
//! *Never*: half a bundle. Every problem of every file is collected, and one is enough to refuse.
//! *On failure*: [`BundleError`] with file, line and remedy of each problem.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
use serde::Deserialize;

use super::problem::{BundleError, Findings, line_of};
use super::roles::Roles;
use super::rule::{Rule, is_name};
use super::vocabulary::Vocabulary;

/// Most bytes of one file.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// Most files of one bundle's directory.
const MOST_FILES: usize = 1_000;
/// Most policies of one bundle.
const MOST_POLICIES: usize = 20_000;

/// Files beside `*.cedar` that a bundle may hold. Anything else is taken for a misspelt policy file.
const OTHER_FILES: &[&str] = &[
    "bundle.toml",
    "schema.cedarschema",
    "roles.toml",
    "README.md",
];

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    name: String,
    version: String,
}

/// A bundle without a problem.
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: PathBuf,
    name: String,
    version: String,
    vocabulary: Vocabulary,
    rules: Vec<Arc<Rule>>,
    roles: Roles,
}

impl Bundle {
    /// Reads and checks the bundle in `directory`.
    ///
    /// # Errors
    /// With every problem that was found.
    pub fn load(directory: &Path) -> Result<Self, BundleError> {
        let mut findings = Findings::default();
        let files = Files::read(directory, &mut findings);
        let manifest = read_manifest(&files, &mut findings);
        let schema = read_schema(&files, &mut findings);
        let rules = read_rules(&files, schema.as_ref().map(|(s, _)| s), &mut findings);
        let known = schema.as_ref().map(|(_, vocabulary)| vocabulary.roles());
        let roles = files
            .text("roles.toml", &mut findings)
            .map(|text| Roles::read(Path::new("roles.toml"), text, known, &mut findings));
        match (manifest, schema, roles) {
            (Some(manifest), Some((_, vocabulary)), Some(roles)) if findings.is_empty() => {
                Ok(Self {
                    directory: directory.to_owned(),
                    name: manifest.name,
                    version: manifest.version,
                    vocabulary,
                    rules,
                    roles,
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
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
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

    /// Its policies, to be shared with what is compiled from them.
    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

/// The texts of a bundle's files, by name.
struct Files(BTreeMap<PathBuf, String>);

impl Files {
    fn read(directory: &Path, findings: &mut Findings) -> Self {
        let mut texts = BTreeMap::new();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                findings.push(
                    Path::new("."),
                    None,
                    format!("the directory cannot be read: {error}"),
                    "Name a directory with a policy bundle; `chartgate init` writes one to start from.",
                );
                return Self(texts);
            }
        };
        for entry in entries.take(MOST_FILES.saturating_add(1)) {
            let read = entry.map(|entry| PathBuf::from(entry.file_name()));
            match read {
                Ok(name) => {
                    if let Some(text) = read_file(directory, &name, findings) {
                        texts.insert(name, text);
                    }
                }
                Err(error) => findings.push(
                    Path::new("."),
                    None,
                    format!("the directory cannot be read: {error}"),
                    "Check the directory's permissions and the disk.",
                ),
            }
        }
        if texts.len() > MOST_FILES {
            findings.push(
                Path::new("."),
                None,
                format!("there are more than {MOST_FILES} files"),
                "Put the policies into fewer files.",
            );
        }
        Self(texts)
    }

    fn text(&self, name: &str, findings: &mut Findings) -> Option<&str> {
        let text = self.0.get(Path::new(name)).map(String::as_str);
        if text.is_none() {
            findings.push(
                Path::new(name),
                None,
                "the file is missing or cannot be read",
                "Every bundle holds bundle.toml, schema.cedarschema and roles.toml.",
            );
        }
        text
    }

    fn policies(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.0
            .iter()
            .filter(|(name, _)| is_policy_file(name))
            .map(|(name, text)| (name.as_path(), text.as_str()))
    }
}

fn is_policy_file(name: &Path) -> bool {
    name.extension() == Some(OsStr::new("cedar"))
}

/// The text of a file of the bundle; nothing for directories, hidden files and what could not be read.
fn read_file(directory: &Path, name: &Path, findings: &mut Findings) -> Option<String> {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    let path = directory.join(name);
    // Follows symbolic links: Kubernetes mounts files as such.
    let metadata = fs::metadata(&path);
    if hidden || metadata.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return None;
    }
    let known = name
        .to_str()
        .is_some_and(|name| OTHER_FILES.contains(&name));
    if !known && !is_policy_file(name) {
        // SECURITY: a forbid in `lockdown.ceder` would silently not be there.
        findings.push(
            name,
            None,
            "the file is none that a bundle holds",
            "Name policy files *.cedar; move anything else out of the directory.",
        );
        return None;
    }
    let size = metadata.map(|metadata| metadata.len());
    if size.as_ref().is_ok_and(|size| *size > MOST_BYTES) {
        findings.push(
            name,
            None,
            format!("the file is larger than {MOST_BYTES} bytes"),
            "Split it.",
        );
        return None;
    }
    match size.and_then(|_| fs::read_to_string(&path)) {
        Ok(text) => Some(text),
        Err(error) => {
            findings.push(
                name,
                None,
                format!("the file cannot be read: {error}"),
                "Check its permissions and that it is UTF-8 text.",
            );
            None
        }
    }
}

fn read_manifest(files: &Files, findings: &mut Findings) -> Option<RawManifest> {
    let file = Path::new("bundle.toml");
    let text = files.text("bundle.toml", findings)?;
    let remedy =
        "Write `name = \"…\"` (lower-case letters, digits, hyphens) and `version = \"…\"`.";
    match toml::from_str::<RawManifest>(text) {
        Ok(raw) => {
            if !is_name(&raw.name) || raw.version.trim().is_empty() {
                findings.push(file, None, "`name` or `version` cannot be used", remedy);
            }
            Some(raw)
        }
        Err(error) => {
            let line = error.span().map(|span| line_of(text, span.start));
            findings.push(file, line, error.message().trim_end(), remedy);
            None
        }
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

fn read_rules(files: &Files, schema: Option<&Schema>, findings: &mut Findings) -> Vec<Arc<Rule>> {
    let validator = schema.map(|schema| Validator::new(schema.clone()));
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    for (file, text) in files.policies() {
        let Some(set) = parse(file, text, findings) else {
            continue;
        };
        if let Some(validator) = &validator {
            validate(file, text, validator, &set, findings);
        }
        let mut read: Vec<_> = set
            .policies()
            .filter_map(|policy| Rule::read(policy, file, text, findings))
            .collect();
        read.sort_by_key(Rule::line);
        rules.extend(read.into_iter().map(Arc::new));
    }
    if rules.len() > MOST_POLICIES {
        findings.push(
            Path::new("."),
            None,
            format!("there are {} policies", rules.len()),
            format!("A bundle holds {MOST_POLICIES} policies at most."),
        );
    }
    let mut places: BTreeMap<&str, &Rule> = BTreeMap::new();
    for rule in &rules {
        if let Some(first) = places.insert(rule.id(), rule) {
            findings.push(
                rule.file(),
                Some(rule.line()),
                format!(
                    "the id \"{}\" is already used in {}:{}",
                    rule.id(),
                    first.file().display(),
                    first.line()
                ),
                "Give each policy an `@id` of its own; records name policies by it.",
            );
        }
    }
    rules
}

fn parse(file: &Path, text: &str, findings: &mut Findings) -> Option<PolicySet> {
    let set = match text.parse::<PolicySet>() {
        Ok(set) => set,
        Err(errors) => {
            for error in errors.iter() {
                findings.diagnostic(file, text, error, "Correct the Cedar syntax here.");
            }
            return None;
        }
    };
    for template in set.templates() {
        findings.push(
            file,
            None,
            format!("the policy {} is a template", template.id()),
            "Write the principal and resource out instead of `?principal` and `?resource`.",
        );
    }
    Some(set)
}

/// Checks in strict mode. Warnings count: a policy that can never apply, or that reads differently than it looks,
/// is a mistake or an attack.
fn validate(
    file: &Path,
    text: &str,
    validator: &Validator,
    set: &PolicySet,
    findings: &mut Findings,
) {
    let result = validator.validate(set, ValidationMode::Strict);
    let remedy = "Use only names and types that schema.cedarschema declares.";
    for error in result.validation_errors() {
        findings.diagnostic(file, text, error, remedy);
    }
    for warning in result.validation_warnings() {
        findings.diagnostic(file, text, warning, "Remove the policy or correct it.");
    }
}
