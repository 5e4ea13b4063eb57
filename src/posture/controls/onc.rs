//! The ONC certification criteria for privacy and security, 45 CFR 170.315(d).

use super::Framework::Onc;
use super::{Control, rest, whole};

/// In the order of their paragraphs.
pub(super) const RULES: &[Control] = &[
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
];
