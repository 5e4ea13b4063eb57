//! What `policy check` finds, each finding under the rule that found it.

use std::collections::BTreeSet;

use crate::cli::check::vocabulary::at_line;
use crate::config::problem::{Problem, Problems, Severity};
use crate::policy::decide::Active;
use crate::policy::space::lint::{Lint, findings};
use crate::policy::tables::Report;

/// What looks for problems. The ids are stable: CI configurations name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Bundle,
    TableMissed,
    Profile,
    RoleNotGranted,
    PolicyUntested,
    PolicyUnreachable,
    PermitShadowed,
    ForbidShadowed,
    PermitWithoutMfa,
    PermitWideOpen,
}

impl Rule {
    pub(super) const ALL: &'static [Self] = &[
        Self::Bundle,
        Self::TableMissed,
        Self::Profile,
        Self::RoleNotGranted,
        Self::PolicyUntested,
        Self::PolicyUnreachable,
        Self::PermitShadowed,
        Self::ForbidShadowed,
        Self::PermitWithoutMfa,
        Self::PermitWideOpen,
    ];

    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::TableMissed => "table-missed",
            Self::Profile => "profile",
            Self::RoleNotGranted => "role-not-granted",
            Self::PolicyUntested => "policy-untested",
            Self::PolicyUnreachable => "policy-unreachable",
            Self::PermitShadowed => "permit-shadowed",
            Self::ForbidShadowed => "forbid-shadowed",
            Self::PermitWithoutMfa => "permit-without-mfa",
            Self::PermitWideOpen => "permit-wide-open",
        }
    }

    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Bundle => "The bundle cannot be read as it is.",
            Self::TableMissed => "The bundle does not do what its own table expects.",
            Self::Profile => "A route or patch of an EMR profile is wrong, or never matches.",
            Self::RoleNotGranted => "Nothing grants the role.",
            Self::PolicyUntested => "No table tests the policy.",
            Self::PolicyUnreachable => "No situation satisfies the policy.",
            Self::PermitShadowed => "Wherever the policy permits, another forbids.",
            Self::ForbidShadowed => "Wherever the policy forbids, another forbids too.",
            Self::PermitWithoutMfa => "The policy lets in a person without a second factor.",
            Self::PermitWideOpen => "The policy permits without a role, or everything everywhere.",
        }
    }

    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Bundle | Self::TableMissed => Severity::Error,
            Self::Profile
            | Self::RoleNotGranted
            | Self::PolicyUntested
            | Self::PolicyUnreachable
            | Self::PermitShadowed
            | Self::ForbidShadowed
            | Self::PermitWithoutMfa
            | Self::PermitWideOpen => Severity::Warning,
        }
    }

    const fn of(lint: Lint) -> Self {
        match lint {
            Lint::Unreachable => Self::PolicyUnreachable,
            Lint::ShadowedPermit => Self::PermitShadowed,
            Lint::ShadowedForbid => Self::ForbidShadowed,
            Lint::PermitWithoutMfa => Self::PermitWithoutMfa,
            Lint::WideOpenPermit => Self::PermitWideOpen,
        }
    }
}

/// One finding.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) rule: Rule,
    pub(super) problem: Problem,
}

/// These problems, under one rule.
pub(super) fn under(rule: Rule, problems: &Problems) -> impl Iterator<Item = Found> {
    let all: Vec<Found> = problems
        .iter()
        .map(|problem| Found {
            rule,
            problem: problem.clone(),
        })
        .collect();
    all.into_iter()
}

/// What deserves a look in a bundle that loads.
pub(super) fn warnings(active: &Active) -> Vec<Found> {
    let mut all = ungranted(active);
    all.extend(untested(active));
    let directory = active.bundle().directory();
    all.extend(findings(active).into_iter().map(|finding| {
        let remedy = match finding.lint {
            Lint::Unreachable => "correct it, or remove it: it protects nobody and lets nobody in",
            Lint::ShadowedPermit => "remove it, or narrow the forbid that takes it all away",
            Lint::ShadowedForbid => "remove it, or widen it to what it was meant for",
            Lint::PermitWithoutMfa => {
                "write `context.mfa` into it or `@mfa` above it, or forbid people without a second factor in guards.cedar"
            }
            Lint::WideOpenPermit => {
                "name roles (`principal in Role::\"…\"`), actions and sections"
            }
        };
        let rule = Rule::of(finding.lint);
        Found {
            rule,
            problem: at_line(
                &directory.join(&finding.file),
                Some(finding.line),
                rule.severity(),
                &finding.message,
                remedy,
            ),
        }
    }));
    all
}

fn ungranted(active: &Active) -> Vec<Found> {
    let bundle = active.bundle();
    let grants = bundle.roles().grants().iter();
    let granted: BTreeSet<_> = grants.map(|grant| grant.role.as_str()).collect();
    let roles = bundle.vocabulary().roles().iter();
    roles
        .filter(|role| !granted.contains(role.as_str()))
        .map(|role| Found {
            rule: Rule::RoleNotGranted,
            problem: at_line(
                &bundle.directory().join("roles.toml"),
                None,
                Severity::Warning,
                &format!("nothing grants the role \"{role}\""),
                "grant it in roles.toml, or remove it from the schema and the policies",
            ),
        })
        .collect()
}

fn untested(active: &Active) -> Vec<Found> {
    let bundle = active.bundle();
    let untested = Report::of(bundle, active.compiled()).untested;
    let policies = bundle.policies();
    policies
        .filter(|rule| untested.contains(rule.id()))
        .map(|rule| Found {
            rule: Rule::PolicyUntested,
            problem: at_line(
                &bundle.directory().join(rule.file()),
                Some(rule.line()),
                Severity::Warning,
                &format!("no table tests the policy \"{}\"", rule.id()),
                "add a case that it decides to a file in tests/",
            ),
        })
        .collect()
}
