//! `[audit.archive]`.

use std::time::Duration;

use crate::config::section::Section;
use crate::config::source::says;
use crate::config::{Archive, ArchiveLock, ArchiveTarget};

/// The most years that a lock may last: nobody can undo it.
const MOST_YEARS: u16 = 100;

/// `[audit.archive]`, of a trail that is kept for so many years; nothing, where it is left out.
pub(super) fn archive(audit: &mut Section<'_>, retention: u16) -> Option<Archive> {
    const EITHER: &str = "write `directory = \"/srv/archive/chartgate\"`, or `s3 = { … }`";
    let mut section = audit.optional_table("archive")?;
    let directory: Option<String> = section.optional("directory");
    let directory = directory.map(|text| section.document().source().resolve(&text));
    let s3 = section.optional_table("s3");
    let target = match (directory, s3) {
        (Some(directory), None) => Some(ArchiveTarget::Directory(directory)),
        (None, Some(bucket)) => {
            super::s3::bucket(bucket).map(|bucket| ArchiveTarget::S3(Box::new(bucket)))
        }
        (None, None) | (Some(_), Some(_)) => {
            let message = "the archive must be a directory or a bucket, and one of them";
            audit.error("archive", says(message, EITHER));
            None
        }
    };
    let lock = lock(&mut section, retention);
    let hours = Duration::from_hours;
    let every = section.within("every", hours(1), Duration::from_mins(1)..=hours(24 * 7));
    section.done();
    Some(Archive {
        target: target?,
        lock,
        every,
    })
}

/// `"retention"`, or `"7y"`.
fn lock(section: &mut Section<'_>, retention: u16) -> ArchiveLock {
    let Some(text) = section.optional::<String>("lock") else {
        return ArchiveLock::Retention;
    };
    if text == "retention" {
        return ArchiveLock::Retention;
    }
    let years = text.strip_suffix('y').and_then(|years| years.parse().ok());
    match years {
        Some(years) if (retention..=MOST_YEARS).contains(&years) => ArchiveLock::Years(years),
        Some(years) => {
            let message = format!(
                "`lock` is {years} years; the trail is kept for {retention}, and no lock may last longer than {MOST_YEARS} years"
            );
            let remedy = format!("choose {retention} to {MOST_YEARS} years, or `\"retention\"`");
            section.error("lock", says(message, remedy));
            ArchiveLock::Retention
        }
        None => {
            let message = format!("`{text}` says no number of years");
            let remedy = "write `\"retention\"`, or years like `\"7y\"`";
            section.error("lock", says(message, remedy));
            ArchiveLock::Retention
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::fixture::{Fixture, TEMPLATE, sole};
    use crate::config::{Archive, ArchiveLock, ArchiveTarget};

    fn with(lines: &str) -> String {
        let store = "\n[store]\n";
        assert!(TEMPLATE.contains(store));
        TEMPLATE.replacen(store, &format!("\n[audit.archive]\n{lines}\n{store}"), 1)
    }

    fn read(lines: &str) -> Archive {
        let reading = Fixture::new().read(&with(lines));
        let config = reading
            .config
            .unwrap_or_else(|| panic!("{}", reading.problems));
        config.audit.archive.unwrap()
    }

    #[test]
    fn a_directory_needs_nothing_else() {
        let archive = read("directory = \"/srv/archive\"");
        assert!(matches!(archive.target, ArchiveTarget::Directory(_)));
        assert_eq!(archive.target.describe(), "/srv/archive");
        assert_eq!(archive.lock, ArchiveLock::Retention);
        assert_eq!(archive.every.as_secs(), 3600);
        let archive = read("directory = \"a\"\nlock = \"10y\"\nevery = \"15m\"");
        assert_eq!(archive.lock, ArchiveLock::Years(10));
        assert_eq!(archive.every.as_secs(), 900);
    }

    #[test]
    fn a_bucket_is_named_as_for_backups() {
        let fixture = Fixture::new();
        fixture.write("secrets/bucket", "s3cret\n");
        let text = with(
            "s3 = { endpoint = \"https://s3.hospital.example\", bucket = \"trail\", prefix = \"gw1\", access_key_id = \"chartgate\", secret_access_key_file = \"secrets/bucket\" }",
        );
        let archive = fixture.read(&text).config.unwrap().audit.archive.unwrap();
        assert_eq!(
            archive.target.describe(),
            "https://s3.hospital.example/trail/gw1/"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_remedy() {
        for (lines, key, said) in [
            ("every = \"1h\"", "audit.archive", "one of them"),
            (
                "directory = \"a\"\nlock = \"5y\"",
                "audit.archive.lock",
                "is kept for 6",
            ),
            (
                "directory = \"a\"\nlock = \"for ever\"",
                "audit.archive.lock",
                "no number of years",
            ),
            (
                "directory = \"data/trail/archive\"",
                "audit.archive.directory",
                "shares a directory",
            ),
            (
                "directory = \"a\"\nevery = \"1s\"",
                "audit.archive.every",
                "outside of",
            ),
            (
                "directory = \"a\"\nlocked = true",
                "audit.archive.locked",
                "not known",
            ),
        ] {
            let reading = Fixture::new().read(&with(lines));
            let problem = sole(&reading.problems);
            assert_eq!(problem.key, key, "{problem:?}");
            assert!(problem.message.contains(said), "{problem:?}");
        }
    }
}
