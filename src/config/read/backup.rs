//! `[backup]`, its target and its sources.

use std::time::Duration;

use super::secret_file;
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::ShortName;
use crate::config::{Backup, BackupContent, BackupSource, BackupTarget};

/// `[backup]`; nothing, where it is left out.
pub(super) fn backup(root: &mut Section<'_>) -> Option<Backup> {
    let mut section = root.optional_table("backup")?;
    let configuration = section.document().source().file().to_owned();
    let target = target(&mut section);
    let key = secret_file(&mut section, "key", "key = \"keys/backup.key\"");
    let hours = Duration::from_hours;
    let schedule = section.within("schedule", hours(24), hours(1)..=hours(24 * 7));
    let max_age = section.within("max_age", hours(36), hours(1)..=hours(24 * 60));
    if max_age <= schedule {
        let message = "`max_age` is not longer than `schedule`: every backup would be too old before the next";
        section.error(
            "max_age",
            says(message, "make it half as long again as `schedule`"),
        );
    }
    let sources = super::all(section.tables("source").into_iter().map(source));
    section.done();
    let sources = sources?;
    for (index, source) in sources.iter().enumerate() {
        if sources
            .iter()
            .take(index)
            .any(|other| other.name == source.name)
        {
            let message = format!("there are two sources called `{}`", source.name);
            let key = format!("backup.source[{index}].name");
            root.document().at(
                crate::config::problem::Severity::Error,
                &key,
                says(message, "give each source its own name"),
            );
        }
    }
    Some(Backup {
        configuration: std::path::absolute(&configuration).unwrap_or(configuration),
        target: target?,
        key: key?.into(),
        schedule,
        max_age,
        sources,
    })
}

fn target(section: &mut Section<'_>) -> Option<BackupTarget> {
    const EITHER: &str =
        "write `target = { directory = \"/srv/backups/chartgate\" }`, or `target = { s3 = { … } }`";
    let mut target = section.required_table("target", EITHER)?;
    let directory: Option<String> = target.optional("directory");
    let directory = directory.map(|text| target.document().source().resolve(&text));
    let s3 = target.optional_table("s3");
    let found = match (directory, s3) {
        (Some(directory), None) => Some(BackupTarget::Directory(directory)),
        (None, Some(bucket)) => {
            super::s3::bucket(bucket).map(|bucket| BackupTarget::S3(Box::new(bucket)))
        }
        (None, None) | (Some(_), Some(_)) => {
            let message = "the target must be a directory or a bucket, and one of them";
            section.error("target", says(message, EITHER));
            None
        }
    };
    target.done();
    found
}

fn source(mut section: Section<'_>) -> Option<BackupSource> {
    let name = section.required("name", "name = \"emr-database\"");
    let directory: Option<String> = section.optional("directory");
    let directory = directory.map(|text| section.document().source().resolve(&text));
    let command: Option<Vec<String>> = section.optional("command");
    let hours = Duration::from_hours;
    let timeout = section.within("timeout", hours(1), Duration::from_secs(1)..=hours(24));
    let content = match (directory, command) {
        (Some(directory), None) => Some(BackupContent::Directory(directory)),
        (None, Some(command)) if !command.is_empty() => {
            Some(BackupContent::Command { command, timeout })
        }
        (None, None | Some(_)) | (Some(_), Some(_)) => {
            let message = "a source is a directory or a command, and one of them";
            let remedy = "write `directory = \"/srv/emr\"` or `command = [\"pg_dump\", \"emr\"]`";
            section.error("name", says(message, remedy));
            None
        }
    };
    section.done();
    let ShortName(name) = name?;
    Some(BackupSource {
        name,
        content: content?,
    })
}
