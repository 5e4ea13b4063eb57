//! Bundles and questions for the tests of this room.

mod asked;
mod changes;
mod corpus;
mod evaluation;
mod examples;
mod matrix;
mod memory;
mod obliged;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::policy::bundle::Bundle;
use crate::policy::problem::BundleError;
use crate::policy::question::{
    CareRelation, PrincipalKind, Purpose, Question, Training, UNKNOWN_ZONE,
};
use crate::request::facts::PatientSource;
use crate::request::situation::NOTHING_KNOWN;
use crate::request::{Action, PatientRef, Role};

/// The directory of the shipped bundle.
pub(in crate::policy) fn shipped_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// The shipped bundle.
pub(in crate::policy) static SHIPPED: LazyLock<Bundle> =
    LazyLock::new(|| match Bundle::load(&shipped_directory()) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    });

/// The policies of a bundle that is quick to load: nurses read, physicians read and export.
pub(in crate::policy) const SMALL: &str = r#"
@id("read")
@doc("Nurses and physicians read.")
permit (principal, action in [Action::"Read", Action::"Search"], resource)
when { principal in [Role::"nurse", Role::"physician"] };

@id("export")
@doc("Physicians export after confirming who they are.")
@stepup("300s")
permit (principal in Role::"physician", action == Action::"Export", resource);
"#;

/// A directory with the shipped schema and roles, and these files beside them or in their place.
pub(in crate::policy) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    for name in ["bundle.toml", "schema.cedarschema", "roles.toml"] {
        fs::copy(shipped_directory().join(name), directory.path().join(name)).expect("copied");
    }
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

/// A bundle of the shipped schema and roles with these files.
pub(in crate::policy) fn load(files: &[(&str, &str)]) -> Result<Bundle, BundleError> {
    Bundle::load(directory(files).path())
}

/// A small bundle with these policies beside its own.
pub(in crate::policy) fn small_with(policies: &str) -> Bundle {
    match load(&[("small.cedar", SMALL), ("more.cedar", policies)]) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    }
}

/// Roles by name.
pub(in crate::policy) fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| Role::new(name)).collect()
}

/// A patient by number.
pub(in crate::policy) fn patient(id: &str) -> PatientRef {
    PatientRef {
        system: "urn:mrn".to_owned(),
        id: id.to_owned(),
        source: PatientSource::Request,
    }
}

/// A plain question in the name of someone with these roles.
pub(in crate::policy) const fn question<'a>(
    roles: &'a BTreeSet<Role>,
    action: Action,
    section: &'a str,
) -> Question<'a> {
    Question {
        kind: PrincipalKind::User,
        principal: "main|1",
        roles,
        mfa: true,
        action,
        section,
        sensitivity: "N",
        emr: "main",
        patient: None,
        care_relation: CareRelation::Unknown,
        purpose: Purpose::Unknown,
        lockdown: 0,
        zone: UNKNOWN_ZONE,
        training: Training::Unknown,
        break_glass: false,
        department: None,
        situation: &NOTHING_KNOWN,
    }
}
