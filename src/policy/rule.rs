//! One policy of a bundle, with its name, its meaning, its place and what it obliges.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cedar_policy::{Effect, Policy, PolicyId};

use super::about::About;
use super::contradiction;
use super::lean;
use super::named::Named;
use super::obligation::Obligations;
use super::problem::{Findings, Source};
use super::reads::{self, Reads};

/// One policy of a bundle.
#[derive(Debug, Clone)]
pub struct Rule {
    id: String,
    doc: String,
    file: PathBuf,
    line: usize,
    obligations: Obligations,
    reads: Reads,
    shifts: BTreeSet<String>,
    about: About,
    named: Named,
    policy: Policy,
    lean: Policy,
}

impl Rule {
    /// Its `@id`, unique in the bundle; what records name it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its `@doc`: what it means, in a sentence.
    #[must_use]
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// The file that it is written in, relative to the bundle's directory.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line that it starts at, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Whether it permits or forbids.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.policy.effect()
    }

    /// What it obliges when it permits.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// What its answer can depend on beyond the role.
    #[must_use]
    pub const fn reads(&self) -> Reads {
        self.reads
    }

    /// The shifts and windows that it asks for by name.
    #[must_use]
    pub const fn shifts(&self) -> &BTreeSet<String> {
        &self.shifts
    }

    /// What it is about.
    pub(super) const fn about(&self) -> &About {
        &self.about
    }

    /// Whom it names.
    pub(super) const fn named(&self) -> &Named {
        &self.named
    }

    /// The policy itself; its Cedar id is [`Rule::id`].
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy as slices hold it, under the same id.
    pub(super) const fn lean(&self) -> &Policy {
        &self.lean
    }

    /// Reads the annotations of a parsed policy of `source`.
    pub(super) fn read(
        policy: &Policy,
        source: &Source<'_>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let file = source.file();
        let line = policy
            .as_ref()
            .loc()
            .map_or(1, |loc| source.line_of(loc.span.offset()));
        let mut sound = true;
        let mut wrong = |message: String, remedy: &str| {
            findings.push(file, Some(line), message, remedy);
            sound = false;
        };
        let id = policy.annotation("id").unwrap_or_default();
        if !is_name(id) {
            wrong(
                format!("the policy has no usable `@id` (it is \"{id}\")"),
                "Give it an `@id(\"…\")` of 1 to 64 lower-case letters, digits and hyphens.",
            );
        }
        let doc = policy.annotation("doc").unwrap_or_default().trim();
        if doc.is_empty() {
            wrong(
                format!("the policy \"{id}\" has no `@doc`"),
                "Say in a sentence what it means: `@doc(\"…\")`.",
            );
        }
        let mut obligations = Obligations::default();
        for (key, value) in policy.annotations() {
            if matches!(key, "id" | "doc") {
                continue;
            }
            if let Err(error) = obligations.add(id, key, value) {
                wrong(error.to_string(), error.remedy());
            }
        }
        if policy.effect() == Effect::Forbid && !obligations.is_empty() {
            wrong(
                format!("the forbid \"{id}\" carries an obligation"),
                "Obligations belong on permits; a forbid refuses in any case.",
            );
        }
        for (message, remedy) in contradiction::of(policy, &obligations) {
            wrong(format!("the policy \"{id}\": {message}"), remedy);
        }
        if !sound {
            return None;
        }
        // Cedar parses the text again for it, so once has to do.
        let form = policy.to_json().ok();
        let policy = policy.new_id(PolicyId::new(id));
        Some(Self {
            id: id.to_owned(),
            doc: doc.to_owned(),
            file: file.to_owned(),
            line,
            obligations,
            reads: Reads::of(&policy, form.as_ref()),
            shifts: form.as_ref().map(reads::shifts).unwrap_or_default(),
            about: About::of(&policy, form.as_ref()),
            named: Named::in_form(form.as_ref()),
            lean: lean::of(&policy, form.as_ref()),
            policy,
        })
    }
}

/// Whether `text` can name a policy, a bundle or a role: it goes on records and into file names.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
