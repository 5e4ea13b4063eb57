//! The rules that checks stand for, cited exactly, with what a gateway cannot fulfil of each and who must.
//!
//! *Never*: a claim that a rule is met. A passed check is evidence for a part of it; what is left is said beside it.

mod gdpr;
mod hipaa;
mod onc;
#[cfg(test)]
mod tests;

use serde::Serialize;

/// A body of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Framework {
    /// The HIPAA Security Rule, 45 CFR part 164 subpart C.
    Hipaa,
    /// The ONC certification criteria for privacy and security, 45 CFR 170.315(d).
    Onc,
    /// The General Data Protection Regulation, Article 32.
    Gdpr,
}

impl Framework {
    /// Every framework, in the order of reports.
    pub const ALL: &'static [Self] = &[Self::Hipaa, Self::Onc, Self::Gdpr];

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Hipaa => "HIPAA Security Rule",
            Self::Onc => "ONC certification, 45 CFR 170.315(d)",
            Self::Gdpr => "GDPR Article 32",
        }
    }

    const fn rules(self) -> &'static [Control] {
        match self {
            Self::Hipaa => hipaa::RULES,
            Self::Onc => onc::RULES,
            Self::Gdpr => gdpr::RULES,
        }
    }

    /// How a citation of it begins.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Hipaa => "45 CFR 164.",
            Self::Onc => "45 CFR 170.315(d)(",
            Self::Gdpr => "GDPR Art. 32",
        }
    }
}

/// What of a rule somebody else has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rest {
    /// What a gateway cannot fulfil.
    pub what: &'static str,
    /// Who must.
    pub who: &'static str,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Its citation.
    pub id: &'static str,
    /// Where it stands.
    pub framework: Framework,
    /// What it is called.
    pub title: &'static str,
    /// What a gateway cannot fulfil of it.
    pub rest: Option<Rest>,
}

impl Control {
    /// Every rule that is looked at, in the order of its framework.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        Framework::ALL
            .iter()
            .flat_map(|framework| framework.rules())
    }

    /// The rule of this citation.
    #[must_use]
    pub fn cited(id: &str) -> Option<&'static Self> {
        Self::all().find(|control| control.id == id)
    }
}

const fn whole(id: &'static str, framework: Framework, title: &'static str) -> Control {
    Control {
        id,
        framework,
        title,
        rest: None,
    }
}

const fn rest(
    id: &'static str,
    framework: Framework,
    title: &'static str,
    what: &'static str,
    who: &'static str,
) -> Control {
    Control {
        id,
        framework,
        title,
        rest: Some(Rest { what, who }),
    }
}
