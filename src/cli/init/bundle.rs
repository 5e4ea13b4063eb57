//! The shipped policy bundle, inside the binary.

macro_rules! bundle {
    ($($name:literal),+ $(,)?) => {
        /// Each file of `policies/` with its text.
        pub(super) const BUNDLE: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../policies/", $name)))),+];
    };
}

bundle!(
    "README.md",
    "bundle.toml",
    "calendars.toml",
    "care.cedar",
    "detections/access.yml",
    "detections/attacks.yml",
    "detections/charts.yml",
    "detections/sign-in.yml",
    "detections/tests/after_hours_sensitive.negative.jsonl",
    "detections/tests/after_hours_sensitive.positive.jsonl",
    "detections/tests/attack_by_user.negative.jsonl",
    "detections/tests/attack_by_user.positive.jsonl",
    "detections/tests/attack_from_address.negative.jsonl",
    "detections/tests/attack_from_address.positive.jsonl",
    "detections/tests/attack_in_text.negative.jsonl",
    "detections/tests/attack_in_text.positive.jsonl",
    "detections/tests/break_glass_overuse.negative.jsonl",
    "detections/tests/break_glass_overuse.positive.jsonl",
    "detections/tests/denied_probing.negative.jsonl",
    "detections/tests/denied_probing.positive.jsonl",
    "detections/tests/failures_then_success.negative.jsonl",
    "detections/tests/failures_then_success.positive.jsonl",
    "detections/tests/new_network.negative.jsonl",
    "detections/tests/new_network.positive.jsonl",
    "detections/tests/password_spray.negative.jsonl",
    "detections/tests/password_spray.positive.jsonl",
    "detections/tests/patient_volume.negative.jsonl",
    "detections/tests/patient_volume.positive.jsonl",
    "detections/tests/second_factor_locked.negative.jsonl",
    "detections/tests/second_factor_locked.positive.jsonl",
    "detections/tests/second_factor_suspect.negative.jsonl",
    "detections/tests/second_factor_suspect.positive.jsonl",
    "detections/tests/sequential_patients.negative.jsonl",
    "detections/tests/sequential_patients.positive.jsonl",
    "emr/opal.toml",
    "emr/openemr.toml",
    "emr/openmrs.toml",
    "emr/orthanc.toml",
    "emr/oscar.toml",
    "emr/sample-clinic.toml",
    "guards.cedar",
    "lockdown.cedar",
    "networks.toml",
    "office.cedar",
    "oversight.cedar",
    "portal.cedar",
    "response/incident-response.md",
    "roles.toml",
    "schema.cedarschema",
    "services.cedar",
    "shell.cedar",
    "technical.cedar",
    "tests/care.toml",
    "tests/guards.toml",
    "tests/office.toml",
    "tests/oversight.toml",
    "tests/portal.toml",
    "tests/services.toml",
    "tests/technical.toml",
    "tests/training.toml",
    "training.cedar",
    "training/break-glass.md",
    "training/privacy-and-security.md",
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::BUNDLE;

    fn files(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                files(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_bundle_is_shipped() {
        let mut found = BTreeSet::new();
        files(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"),
            "",
            &mut found,
        );
        let shipped: BTreeSet<String> = BUNDLE.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(shipped, found);
    }
}
