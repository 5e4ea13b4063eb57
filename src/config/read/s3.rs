//! A bucket of an S3-compatible store, wherever one is named.

use std::path::PathBuf;

use super::identity::secret;
use super::optional_file;
use crate::config::S3Target;
use crate::config::section::Section;
use crate::config::source::says;

/// The bucket of this table.
pub(super) fn bucket(mut section: Section<'_>) -> Option<S3Target> {
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
