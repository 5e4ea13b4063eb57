//! What of a configuration a command needs that asks a running gateway, or tries policies.
//!
//! *Never*: opens a file that holds a secret. Whoever asks the gateway need not be able to read its keys, and whoever
//! writes policies need not either.

use std::path::{Path, PathBuf};

use super::inspection::Inspection;
use super::problem::Problems;
use super::source::Document;
use super::{Admin, load, read};

/// How requests are understood: bundle, profiles, inspection.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// The bundle's directory. `policy.directory`
    pub directory: PathBuf,
    /// Each EMR by its name, with its profile. `[[emr]]`
    pub emrs: Vec<(String, PathBuf)>,
    /// Inspection of the values of requests. `[inspection]`
    pub inspection: Inspection,
}

impl Profiles {
    /// Reads these keys of a configuration, and nothing else of it.
    ///
    /// # Errors
    /// Every problem, where one of them is missing or cannot be read.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        part(file, read::profiles)
    }
}

impl Admin {
    /// Reads `[admin]` of a configuration, and nothing else of it.
    ///
    /// # Errors
    /// Every problem, where it is missing or cannot be read.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        part(file, read::admin)
    }
}

fn part<T>(file: &Path, read: fn(&Document<'_>) -> Option<T>) -> Result<T, Problems> {
    let source = load::source(file)?;
    let document = Document::parse(&source)?;
    match read(&document) {
        Some(part) => Ok(part),
        None => Err(document.into_problems()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fixture::{Fixture, TEMPLATE};
    use super::*;

    #[test]
    fn parts_are_those_of_the_whole_and_need_no_secret() {
        let fixture = Fixture::new();
        let file = fixture.path("chartgate.toml");
        fixture.write("chartgate.toml", TEMPLATE);
        let whole = Config::load(&file).unwrap();
        for secrets in ["keys", "secrets", "certs"] {
            std::fs::remove_dir_all(fixture.path(secrets)).unwrap();
        }
        assert!(Config::load_for_reading(&file).is_err());
        let admin = Admin::load(&file).unwrap();
        assert_eq!(
            (admin.socket, admin.operators, admin.listen),
            (
                whole.admin.socket,
                whole.admin.operators,
                whole.admin.listen
            )
        );
        let profiles = Profiles::load(&file).unwrap();
        let emrs = whole.emrs.into_iter().map(|emr| (emr.name, emr.profile));
        assert_eq!(profiles.emrs, emrs.collect::<Vec<_>>());
        assert_eq!(profiles.directory, whole.policy.directory);
        assert_eq!(profiles.inspection, whole.inspection);
    }

    #[test]
    fn what_is_wrong_with_a_part_is_said_as_of_the_whole() {
        let fixture = Fixture::new();
        let file = fixture.path("chartgate.toml");
        let said = |text: &str| {
            fixture.write("chartgate.toml", text);
            Admin::load(&file).unwrap_err().to_string()
        };
        assert!(said("[server]\n").contains("the section [admin] is missing"));
        assert!(said("[admin]\nsocket = 7\n").contains("chartgate.toml:2"));
        assert!(said("[admin").contains("this is not TOML"));
        let missing = Admin::load(Path::new("/nowhere/chartgate.toml")).unwrap_err();
        assert!(missing.to_string().contains("name it with `--config FILE`"));
    }
}
