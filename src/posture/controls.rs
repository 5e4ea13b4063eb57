//! The rules that checks stand for, cited exactly, with what a gateway cannot fulfil of each and who must.
//!
//! *Never*: a claim that a rule is met. A passed check is evidence for a part of it; what is left is said beside it.

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
    /// The rule of this citation.
    #[must_use]
    pub fn cited(id: &str) -> Option<&'static Self> {
        CONTROLS.iter().find(|control| control.id == id)
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

use Framework::{Gdpr, Hipaa, Onc};

/// Every rule that is looked at, in the order of its framework.
pub const CONTROLS: &[Control] = &[
    // --- 45 CFR 164.308: administrative safeguards ---
    rest(
        "45 CFR 164.308(a)(1)(ii)(A)",
        Hipaa,
        "Risk analysis",
        "the analysis of risks to all health information of the organisation, not only to what passes the gateway",
        "the security official",
    ),
    rest(
        "45 CFR 164.308(a)(1)(ii)(B)",
        Hipaa,
        "Risk management",
        "measures against risks outside the gateway: the EMR's own host, endpoints, people",
        "the security official",
    ),
    rest(
        "45 CFR 164.308(a)(1)(ii)(C)",
        Hipaa,
        "Sanction policy",
        "sanctions against workforce who do not comply; the trail gives only the evidence",
        "management and human resources",
    ),
    whole(
        "45 CFR 164.308(a)(1)(ii)(D)",
        Hipaa,
        "Information system activity review",
    ),
    rest(
        "45 CFR 164.308(a)(2)",
        Hipaa,
        "Assigned security responsibility",
        "naming the person who is responsible",
        "management",
    ),
    rest(
        "45 CFR 164.308(a)(3)(ii)(A)",
        Hipaa,
        "Authorization and supervision",
        "deciding whom to authorise and supervising them",
        "management",
    ),
    rest(
        "45 CFR 164.308(a)(3)(ii)(B)",
        Hipaa,
        "Workforce clearance",
        "clearing people before they get access",
        "human resources",
    ),
    rest(
        "45 CFR 164.308(a)(3)(ii)(C)",
        Hipaa,
        "Termination procedures",
        "ending the account of somebody who leaves at the identity provider, at once",
        "human resources and the identity provider's administrators",
    ),
    rest(
        "45 CFR 164.308(a)(4)(ii)(A)",
        Hipaa,
        "Isolating clearinghouse functions",
        "separating a clearinghouse, where the organisation has one",
        "management",
    ),
    whole("45 CFR 164.308(a)(4)(ii)(B)", Hipaa, "Access authorization"),
    whole(
        "45 CFR 164.308(a)(4)(ii)(C)",
        Hipaa,
        "Access establishment and modification",
    ),
    rest(
        "45 CFR 164.308(a)(5)(i)",
        Hipaa,
        "Security awareness and training",
        "teaching people who do not sign in through the gateway, and what the organisation's own procedures ask",
        "the security official",
    ),
    rest(
        "45 CFR 164.308(a)(5)(ii)(A)",
        Hipaa,
        "Security reminders",
        "reminders that reach people who do not sign in through the gateway",
        "the security official",
    ),
    rest(
        "45 CFR 164.308(a)(5)(ii)(B)",
        Hipaa,
        "Protection from malicious software",
        "protection of endpoints and servers from malicious software",
        "those who run workstations and servers",
    ),
    whole("45 CFR 164.308(a)(5)(ii)(C)", Hipaa, "Log-in monitoring"),
    rest(
        "45 CFR 164.308(a)(5)(ii)(D)",
        Hipaa,
        "Password management",
        "rules for passwords: the gateway keeps none",
        "the identity provider's administrators",
    ),
    rest(
        "45 CFR 164.308(a)(6)(ii)",
        Hipaa,
        "Response and reporting",
        "deciding about an incident and notifying those who must know",
        "the privacy officer",
    ),
    rest(
        "45 CFR 164.308(a)(7)(ii)(A)",
        Hipaa,
        "Data backup plan",
        "backups of the EMR's data that no `[[backup.source]]` names",
        "those who run the EMR",
    ),
    rest(
        "45 CFR 164.308(a)(7)(ii)(B)",
        Hipaa,
        "Disaster recovery plan",
        "restoring the EMR, its servers and networks",
        "those who run the EMR",
    ),
    rest(
        "45 CFR 164.308(a)(7)(ii)(C)",
        Hipaa,
        "Emergency mode operation plan",
        "care on paper while the EMR cannot be reached",
        "clinical leadership",
    ),
    rest(
        "45 CFR 164.308(a)(7)(ii)(D)",
        Hipaa,
        "Testing and revision procedures",
        "practising the plans with people",
        "clinical leadership and the security official",
    ),
    rest(
        "45 CFR 164.308(a)(7)(ii)(E)",
        Hipaa,
        "Applications and data criticality analysis",
        "weighing which systems must come back first",
        "management",
    ),
    rest(
        "45 CFR 164.308(a)(8)",
        Hipaa,
        "Evaluation",
        "the evaluation that is not technical, and of everything beside the gateway",
        "the security official",
    ),
    rest(
        "45 CFR 164.308(b)(1)",
        Hipaa,
        "Business associate contracts",
        "contracts with whoever handles health information on the organisation's behalf",
        "management and counsel",
    ),
    // --- 45 CFR 164.310: physical safeguards ---
    rest(
        "45 CFR 164.310(a)(1)",
        Hipaa,
        "Facility access controls",
        "doors, locks and visitors of the places where systems stand",
        "facility management",
    ),
    rest(
        "45 CFR 164.310(b)",
        Hipaa,
        "Workstation use",
        "rules for what workstations are used for, and where they stand",
        "management",
    ),
    rest(
        "45 CFR 164.310(c)",
        Hipaa,
        "Workstation security",
        "keeping people away from workstations that they may not use",
        "those who run workstations",
    ),
    rest(
        "45 CFR 164.310(d)(1)",
        Hipaa,
        "Device and media controls",
        "disposal and re-use of disks and devices, the gateway's own included",
        "those who run the machines",
    ),
    // --- 45 CFR 164.312: technical safeguards ---
    whole("45 CFR 164.312(a)(1)", Hipaa, "Access control"),
    whole(
        "45 CFR 164.312(a)(2)(i)",
        Hipaa,
        "Unique user identification",
    ),
    whole(
        "45 CFR 164.312(a)(2)(ii)",
        Hipaa,
        "Emergency access procedure",
    ),
    rest(
        "45 CFR 164.312(a)(2)(iii)",
        Hipaa,
        "Automatic logoff",
        "sessions of people who reach the EMR without the gateway",
        "those who run the EMR",
    ),
    rest(
        "45 CFR 164.312(a)(2)(iv)",
        Hipaa,
        "Encryption and decryption",
        "encryption of the EMR's own database and of end-user devices",
        "those who run the EMR and workstations",
    ),
    whole("45 CFR 164.312(b)", Hipaa, "Audit controls"),
    rest(
        "45 CFR 164.312(c)(1)",
        Hipaa,
        "Integrity",
        "protection of the chart itself from alteration inside the EMR",
        "those who run the EMR",
    ),
    rest(
        "45 CFR 164.312(c)(2)",
        Hipaa,
        "Mechanism to authenticate health information",
        "proof that a chart was not altered inside the EMR; the gateway proves its trail",
        "the EMR's vendor",
    ),
    whole(
        "45 CFR 164.312(d)",
        Hipaa,
        "Person or entity authentication",
    ),
    whole("45 CFR 164.312(e)(1)", Hipaa, "Transmission security"),
    whole("45 CFR 164.312(e)(2)(i)", Hipaa, "Integrity controls"),
    whole("45 CFR 164.312(e)(2)(ii)", Hipaa, "Encryption in transit"),
    // --- 45 CFR 164.314 and 164.316: organisation and documents ---
    rest(
        "45 CFR 164.314(a)(1)",
        Hipaa,
        "Business associate contracts, content",
        "what contracts with business associates have to say",
        "management and counsel",
    ),
    rest(
        "45 CFR 164.314(b)(1)",
        Hipaa,
        "Group health plans",
        "plan documents of a group health plan, where the organisation is one",
        "management and counsel",
    ),
    rest(
        "45 CFR 164.316(a)",
        Hipaa,
        "Policies and procedures",
        "written policies and procedures of the organisation",
        "management",
    ),
    rest(
        "45 CFR 164.316(b)(1)",
        Hipaa,
        "Documentation",
        "keeping the organisation's policies in writing, and records of actions outside the gateway",
        "management",
    ),
    rest(
        "45 CFR 164.316(b)(2)(i)",
        Hipaa,
        "Time limit of six years",
        "keeping documents that are not on the trail for six years",
        "management",
    ),
    rest(
        "45 CFR 164.316(b)(2)(ii)",
        Hipaa,
        "Availability of documentation",
        "making policies available to those who have to follow them",
        "management",
    ),
    rest(
        "45 CFR 164.316(b)(2)(iii)",
        Hipaa,
        "Updates of documentation",
        "reviewing the organisation's policies from time to time",
        "management",
    ),
    // --- 45 CFR 170.315(d): privacy and security criteria ---
    whole(
        "45 CFR 170.315(d)(1)",
        Onc,
        "Authentication, access control, and authorization",
    ),
    whole(
        "45 CFR 170.315(d)(2)",
        Onc,
        "Auditable events and tamper-resistance",
    ),
    whole("45 CFR 170.315(d)(3)", Onc, "Audit reports"),
    rest(
        "45 CFR 170.315(d)(4)",
        Onc,
        "Amendments",
        "amendments that patients ask for, in the chart",
        "the EMR's vendor",
    ),
    whole("45 CFR 170.315(d)(5)", Onc, "Automatic access time-out"),
    whole("45 CFR 170.315(d)(6)", Onc, "Emergency access"),
    rest(
        "45 CFR 170.315(d)(7)",
        Onc,
        "End-user device encryption",
        "encryption of what the EMR's own software keeps on devices",
        "the EMR's vendor and those who run workstations",
    ),
    rest(
        "45 CFR 170.315(d)(8)",
        Onc,
        "Integrity",
        "hashes over what the EMR exchanges with other systems",
        "the EMR's vendor",
    ),
    whole("45 CFR 170.315(d)(9)", Onc, "Trusted connection"),
    whole(
        "45 CFR 170.315(d)(10)",
        Onc,
        "Auditing actions on health information",
    ),
    rest(
        "45 CFR 170.315(d)(11)",
        Onc,
        "Accounting of disclosures",
        "putting on record what does not pass the gateway (`chartgate disclosure record`): paper, telephone, interfaces beside it",
        "health information management",
    ),
    rest(
        "45 CFR 170.315(d)(12)",
        Onc,
        "Encrypt authentication credentials",
        "credentials that the identity provider and the EMR store",
        "the identity provider's and the EMR's administrators",
    ),
    whole("45 CFR 170.315(d)(13)", Onc, "Multi-factor authentication"),
    // --- GDPR Article 32 ---
    rest(
        "GDPR Art. 32(1)(a)",
        Gdpr,
        "Pseudonymisation and encryption",
        "pseudonyms and encryption inside the EMR",
        "those who run the EMR",
    ),
    whole(
        "GDPR Art. 32(1)(b)",
        Gdpr,
        "Confidentiality, integrity, availability and resilience",
    ),
    rest(
        "GDPR Art. 32(1)(c)",
        Gdpr,
        "Restoring availability in a timely manner",
        "restoring the EMR itself",
        "those who run the EMR",
    ),
    whole("GDPR Art. 32(1)(d)", Gdpr, "Regular testing and evaluation"),
    rest(
        "GDPR Art. 32(2)",
        Gdpr,
        "Appropriate level of security for the risks",
        "the assessment of risks to the people whose data are processed",
        "the controller and its data protection officer",
    ),
    rest(
        "GDPR Art. 32(4)",
        Gdpr,
        "Persons act on instructions only",
        "instructing everybody who has access",
        "the controller",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A citation down to a paragraph: `45 CFR 164.312(a)(2)(i)`.
    fn is_well_formed(control: &Control) -> bool {
        let Some(rest) = control.id.strip_prefix(control.framework.prefix()) else {
            return false;
        };
        let paragraphs = match control.framework {
            Hipaa => rest.get(3..).unwrap_or_default().to_owned(),
            Onc => format!("({rest}"),
            Gdpr => rest.to_owned(),
        };
        let inner = paragraphs
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'));
        inner.is_some_and(|inner| {
            inner.split(")(").all(|part| {
                !part.is_empty() && part.len() <= 4 && part.chars().all(char::is_alphanumeric)
            })
        })
    }

    #[test]
    fn every_rule_is_cited_exactly_once_and_in_form() {
        let mut seen = BTreeSet::new();
        for control in CONTROLS {
            assert!(is_well_formed(control), "{}", control.id);
            assert!(seen.insert(control.id), "{} stands twice", control.id);
            assert_eq!(Control::cited(control.id), Some(control));
        }
        let wrong = whole("45 CFR 164.312", Hipaa, "none");
        assert!(!is_well_formed(&wrong));
        assert!(CONTROLS.is_sorted_by_key(|control| control.framework));
    }

    #[test]
    fn what_no_gateway_can_do_is_there_with_who_must() {
        for id in [
            "45 CFR 164.308(a)(1)(ii)(C)",
            "45 CFR 164.308(b)(1)",
            "45 CFR 164.310(a)(1)",
            "45 CFR 164.310(d)(1)",
            "45 CFR 170.315(d)(4)",
            "GDPR Art. 32(2)",
        ] {
            let rest = Control::cited(id).unwrap().rest.unwrap();
            assert!(!rest.what.is_empty() && !rest.who.is_empty(), "{id}");
        }
    }
}
