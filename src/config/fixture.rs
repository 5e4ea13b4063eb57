//! A directory in which the shipped configuration loads, for tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use super::load::{Reading, read_text};
use super::problem::{Problem, Problems};
use super::source::Source;

/// The shipped configuration.
pub(crate) const TEMPLATE: &str = include_str!("../cli/templates/chartgate.toml");

/// A directory with everything that [`TEMPLATE`] names.
#[derive(Debug)]
pub(crate) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    /// Lays the files out: a certificate for `emr.hospital.example`, keys, a secret and an (empty) policy bundle.
    pub(crate) fn new() -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let pair =
            rcgen::generate_simple_self_signed(vec!["emr.hospital.example".to_owned()]).unwrap();
        fixture.write("certs/server.pem", &pair.cert.pem());
        fixture.write("certs/server.key", &pair.signing_key.serialize_pem());
        fixture.write("secrets/client_secret", "s3cret-for-tests\n");
        for key in ["master", "signing", "store", "backup"] {
            fixture.write(&format!("keys/{key}.key"), "key\n");
        }
        fixture.write("policies/emr/opal.toml", "");
        fs::create_dir(fixture.path("witness")).unwrap();
        fs::create_dir(fixture.path("data")).unwrap();
        fixture
    }

    /// The same with the shipped policies.
    pub(crate) fn with_policies() -> Self {
        let fixture = Self::new();
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for directory in ["", "emr/", "tests/", "detections/"] {
            for entry in fs::read_dir(shipped.join(directory)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.file_name().unwrap().display();
                    fixture.write(
                        &format!("policies/{directory}{name}"),
                        &fs::read_to_string(&path).unwrap(),
                    );
                }
            }
        }
        fixture
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Reads a configuration as if it stood here.
    pub(crate) fn read(&self, text: &str) -> Reading {
        read_text(Source::new(self.path("chartgate.toml"), text.to_owned()))
    }

    /// Reads the template after one replacement, which must be possible.
    pub(crate) fn replaced(&self, from: &str, to: &str) -> Reading {
        assert!(TEMPLATE.contains(from), "the template has no {from:?}");
        self.read(&TEMPLATE.replacen(from, to, 1))
    }
}

/// The only problem there is.
pub(crate) fn sole(problems: &Problems) -> &Problem {
    let mut all = problems.iter();
    match (all.next(), all.next()) {
        (Some(problem), None) => problem,
        _ => panic!("one problem was expected:\n{problems}"),
    }
}
