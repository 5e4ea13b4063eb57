//! Reads the tables of a bundle and holds them to its words.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::raw::{OneOrMany, RawTable, RawTables};
use super::{Answer, Expectation, MOST_QUESTIONS, Tables};
use crate::policy::calendars::Calendars;
use crate::policy::networks::Networks;
use crate::policy::problem::{Findings, line_of};
use crate::policy::question::{CareRelation, PrincipalKind, Purpose, Training, UNKNOWN_ZONE};
use crate::policy::scene::{Scene, patient};
use crate::policy::vocabulary::Vocabulary;
use crate::request::facts::Verdict;
use crate::request::{Action, Role};

/// HL7 v3 Confidentiality.
const SENSITIVITIES: &[&str] = &["U", "L", "M", "N", "R", "V"];

/// The words that a table may use.
pub(in crate::policy) struct Words<'a> {
    /// Roles and sections.
    pub(in crate::policy) vocabulary: &'a Vocabulary,
    /// Zones.
    pub(in crate::policy) networks: &'a Networks,
    /// Shifts and windows.
    pub(in crate::policy) calendars: &'a Calendars,
    /// The ids of the policies.
    pub(in crate::policy) policies: &'a BTreeSet<&'a str>,
}

impl Tables {
    /// Reads the tables in `files`, given by name with their texts.
    pub(in crate::policy) fn read<'t>(
        files: impl Iterator<Item = (&'t Path, &'t str)>,
        words: &Words<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut expectations = Vec::new();
        for (file, text) in files {
            let mut reader = Reader {
                file,
                text,
                words,
                findings,
                expectations: &mut expectations,
            };
            reader.file();
        }
        if expectations.len() > MOST_QUESTIONS {
            findings.push(
                Path::new("tests"),
                None,
                format!("the tables ask {} questions", expectations.len()),
                format!("The tables of a bundle ask {MOST_QUESTIONS} questions at most."),
            );
        }
        Self(expectations)
    }
}

pub(super) struct Reader<'a, 'w> {
    file: &'a Path,
    text: &'a str,
    pub(super) words: &'a Words<'w>,
    findings: &'a mut Findings,
    expectations: &'a mut Vec<Expectation>,
}

impl Reader<'_, '_> {
    pub(super) fn wrong(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let line = line_of(self.text, span.start);
        self.findings.push(self.file, Some(line), message, remedy);
    }

    fn file(&mut self) {
        let raw: RawTables = match toml::from_str(self.text) {
            Ok(raw) => raw,
            Err(error) => {
                let line = error.span().map(|span| line_of(self.text, span.start));
                let remedy =
                    "Write `[[case]]` or `[[matrix]]` tables as docs/policy-tools.md shows them.";
                let message = error.message().trim_end().to_owned();
                self.findings.push(self.file, line, message, remedy);
                return;
            }
        };
        for case in &raw.case {
            self.case(case);
        }
        for matrix in &raw.matrix {
            self.matrix(matrix);
        }
    }

    fn case(&mut self, written: &Spanned<RawTable>) {
        let raw = written.get_ref();
        let scene = self.scene(raw);
        if let Some(allow) = &raw.allow {
            self.wrong(
                allow.span(),
                "`allow` is not for a case",
                "Write it in a `[[matrix]]`.",
            );
        }
        let actions = self.listed(written, raw.action.as_ref(), "action");
        let actions = self.actions(&actions);
        let sections = self.listed(written, raw.section.as_ref(), "section");
        let verdict = match raw.expect.as_ref() {
            Some(word) if word.get_ref() == "allow" => Verdict::Allow,
            Some(word) if word.get_ref() == "deny" => Verdict::Deny,
            other => {
                let span = other.map_or_else(|| written.span(), Spanned::span);
                self.wrong(
                    span,
                    "the case expects nothing",
                    "Add `expect = \"allow\"` or `expect = \"deny\"`.",
                );
                Verdict::Deny
            }
        };
        let answer = Answer {
            verdict,
            policies: raw.policies.as_ref().map(|ids| self.ids(ids)),
            obligations: raw
                .obligations
                .as_ref()
                .map(|list| list.iter().cloned().collect()),
        };
        for (section, span) in &sections {
            self.section(section, span);
            for action in &actions {
                let scene = Scene {
                    action: *action,
                    section: section.clone(),
                    ..scene.clone()
                };
                self.expect(written, scene, answer.clone());
            }
        }
    }

    /// Everything that is not listed under `allow` must be refused.
    fn matrix(&mut self, written: &Spanned<RawTable>) {
        let raw = written.get_ref();
        let scene = self.scene(raw);
        for (key, is_there) in [
            ("action", raw.action.is_some()),
            ("section", raw.section.is_some()),
            ("expect", raw.expect.is_some()),
            ("policies", raw.policies.is_some()),
            ("obligations", raw.obligations.is_some()),
        ] {
            if is_there {
                let remedy = "A matrix lists under `[matrix.allow]` what is allowed; the rest must be refused.";
                self.wrong(
                    written.span(),
                    format!("`{key}` is not for a matrix"),
                    remedy,
                );
            }
        }
        let allowed = self.allowed(written);
        let sections = self.words.vocabulary.sections();
        for section in sections {
            for action in Action::ALL.iter().copied() {
                let listed = allowed.get(section).and_then(|cells| cells.get(&action));
                let answer = Answer {
                    verdict: if listed.is_some() {
                        Verdict::Allow
                    } else {
                        Verdict::Deny
                    },
                    policies: None,
                    obligations: listed.cloned(),
                };
                let scene = Scene {
                    action,
                    section: section.clone(),
                    ..scene.clone()
                };
                self.expect(written, scene, answer);
            }
        }
    }

    /// The cells of a matrix: by section and action, what is obliged. `"Export stepup=300s"` is one cell.
    fn allowed(
        &mut self,
        written: &Spanned<RawTable>,
    ) -> BTreeMap<String, BTreeMap<Action, BTreeSet<String>>> {
        let mut allowed: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        let Some(cells) = &written.get_ref().allow else {
            let remedy = "Add `[matrix.allow]`; leave it empty if nothing is allowed.";
            self.wrong(
                written.span(),
                "the matrix does not say what is allowed",
                remedy,
            );
            return allowed;
        };
        for (section, list) in cells.get_ref() {
            self.section(section, &list.span());
            let row = allowed.entry(section.clone()).or_default();
            for cell in list.get_ref() {
                let mut words = cell.split_whitespace();
                let name = words.next().unwrap_or_default().to_owned();
                for action in self.actions(&[(name, list.span())]) {
                    row.insert(action, words.clone().map(str::to_owned).collect());
                }
            }
        }
        allowed
    }

    fn expect(&mut self, written: &Spanned<RawTable>, scene: Scene, answer: Answer) {
        self.expectations.push(Expectation {
            file: self.file.to_owned(),
            line: line_of(self.text, written.span().start),
            name: written.get_ref().name.clone(),
            scene,
            answer,
        });
    }

    /// Everything but action and section.
    fn scene(&mut self, raw: &RawTable) -> Scene {
        let mut roles = BTreeSet::new();
        for role in &raw.roles {
            if !self.words.vocabulary.roles().contains(role.get_ref()) {
                let message = format!("the role \"{}\" is not in the schema", role.get_ref());
                self.wrong(
                    role.span(),
                    message,
                    "Use a role that schema.cedarschema lists.",
                );
            }
            roles.insert(Role::new(role.get_ref()));
        }
        let zone = raw.zone.as_ref().map_or(UNKNOWN_ZONE, |zone| {
            if !self.words.networks.has(zone.get_ref()) && zone.get_ref() != UNKNOWN_ZONE {
                let message = format!("there is no zone \"{}\"", zone.get_ref());
                self.wrong(
                    zone.span(),
                    message,
                    "Use a zone of networks.toml, `outside` or `unknown`.",
                );
            }
            zone.get_ref()
        });
        let kind = self.one_of(raw.kind.as_ref(), &["user", "service"], |word| match word {
            "user" => Some(PrincipalKind::User),
            "service" => Some(PrincipalKind::Service),
            _ => None,
        });
        let sensitivity = self.one_of(raw.sensitivity.as_ref(), SENSITIVITIES, |word| {
            SENSITIVITIES.contains(&word).then(|| word.to_owned())
        });
        let lockdown = raw.lockdown.as_ref().map_or(0, |level| {
            if *level.get_ref() > 4 {
                self.wrong(
                    level.span(),
                    "`lockdown` is no level",
                    "Write a level from 0 to 4.",
                );
            }
            *level.get_ref()
        });
        let care: Vec<_> = CareRelation::ALL.iter().map(|one| one.word()).collect();
        let purposes: Vec<_> = Purpose::ALL.iter().map(|one| one.code()).collect();
        let trainings: Vec<_> = Training::ALL.iter().map(|one| one.word()).collect();
        let plain = Scene::new(roles, Action::Unmapped, "");
        Scene {
            kind: kind.unwrap_or(plain.kind),
            principal: raw.user.clone().unwrap_or_else(|| plain.principal.clone()),
            mfa: raw.mfa.unwrap_or_else(|| {
                // Only a sign-in that is said to have had none had none.
                raw.mfa_strength
                    .as_ref()
                    .is_none_or(|one| one.get_ref() != "none")
            }),
            sensitivity: sensitivity.unwrap_or_else(|| plain.sensitivity.clone()),
            emr: raw.emr.clone().unwrap_or_else(|| plain.emr.clone()),
            patient: raw.patient.as_deref().map(patient),
            care_relation: self
                .one_of(raw.care_relation.as_ref(), &care, CareRelation::by_word)
                .unwrap_or_default(),
            purpose: self
                .one_of(raw.purpose.as_ref(), &purposes, Purpose::by_code)
                .unwrap_or_default(),
            training: self
                .one_of(raw.training.as_ref(), &trainings, Training::by_word)
                .unwrap_or_default(),
            lockdown,
            zone: zone.to_owned(),
            break_glass: raw.break_glass.unwrap_or_default(),
            department: raw.department.clone(),
            situation: self.situation(raw),
            ..plain
        }
    }

    pub(super) fn one_of<T>(
        &mut self,
        written: Option<&Spanned<String>>,
        known: &[&str],
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let written = written?;
        let found = read(written.get_ref());
        if found.is_none() {
            let message = format!("\"{}\" is not known here", written.get_ref());
            self.wrong(
                written.span(),
                message,
                format!("Use one of {}.", known.join(", ")),
            );
        }
        found
    }

    fn listed(
        &mut self,
        written: &Spanned<RawTable>,
        list: Option<&Spanned<OneOrMany>>,
        key: &str,
    ) -> Vec<(String, Range<usize>)> {
        let Some(list) = list.filter(|list| !list.get_ref().words().is_empty()) else {
            let remedy = format!("Add `{key} = \"…\"` or a list of them.");
            self.wrong(written.span(), format!("the case names no {key}"), remedy);
            return Vec::new();
        };
        let words = list.get_ref().words().iter();
        words.map(|word| (word.clone(), list.span())).collect()
    }

    fn actions(&mut self, names: &[(String, Range<usize>)]) -> Vec<Action> {
        let mut actions = Vec::new();
        for (name, span) in names {
            if let Some(action) = Action::by_name(name) {
                actions.push(action);
                continue;
            }
            let known: Vec<_> = Action::ALL.iter().map(|one| one.name()).collect();
            let message = format!("\"{name}\" is not an action");
            let remedy = format!("Use one of {}.", known.join(", "));
            self.wrong(span.clone(), message, remedy);
        }
        actions
    }

    fn section(&mut self, name: &str, span: &Range<usize>) {
        // A profile may name a section that the schema lacks; nothing but the schema's can be expected.
        if !self.words.vocabulary.sections().contains(name) && name != "unmapped" {
            let message = format!("the section \"{name}\" is not in the schema");
            self.wrong(
                span.clone(),
                message,
                "Use a section that schema.cedarschema lists.",
            );
        }
    }

    fn ids(&mut self, written: &[Spanned<String>]) -> BTreeSet<String> {
        for id in written {
            if !self.words.policies.contains(id.get_ref().as_str()) {
                let message = format!("there is no policy \"{}\"", id.get_ref());
                self.wrong(
                    id.span(),
                    message,
                    "Write the `@id` of a policy of this bundle.",
                );
            }
        }
        written.iter().map(|id| id.get_ref().clone()).collect()
    }
}
