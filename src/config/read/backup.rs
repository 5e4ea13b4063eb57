//! `[backup]`, its target and its sources.

use std::path::PathBuf;
use std::time::Duration;

use super::identity::secret;
use super::{optional_file, secret_file};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::ShortName;
use crate::config::{Backup, BackupContent, BackupSource, BackupTarget, S3Target};

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
        key: key?,
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
            self::bucket(bucket).map(|bucket| BackupTarget::S3(Box::new(bucket)))
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

fn bucket(mut section: Section<'_>) -> Option<S3Target> {
    let endpoint: Option<url::Url> =
        section.required("endpoint", "endpoint = \"https://s3.hospital.example\"");
    let loopback =
        |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if endpoint
        .as_ref()
        .is_some_and(|url| url.scheme() != "https" && !loopback(url))
    {
        // SECURITY: objects are sealed, but whoever reads along could replay requests and delete.
        let message = "the object store is reached by http over a network";
        section.error("endpoint", says(message, "use https"));
    }
    let bucket: Option<String> = section.required("bucket", "bucket = \"chartgate\"");
    let region: String = section.or("region", "us-east-1".to_owned());
    let prefix: String = section.or("prefix", String::new());
    let access_key_id: Option<String> =
        section.required("access_key_id", "access_key_id = \"chartgate\"");
    let secret = secret(&mut section, "secret_access_key_file");
    let ca: Option<PathBuf> = optional_file(&mut section, "ca");
    section.done();
    let prefix = prefix.trim_matches('/');
    Some(S3Target {
        endpoint: endpoint?,
        bucket: bucket?,
        region,
        prefix: if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        },
        access_key_id: access_key_id?,
        secret_access_key: secret?,
        ca,
    })
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
