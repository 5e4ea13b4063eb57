//! The rules of Article 32 of the General Data Protection Regulation.

use super::Framework::Gdpr;
use super::{Control, rest, whole};

/// In the order of their paragraphs.
pub(super) const RULES: &[Control] = &[
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
