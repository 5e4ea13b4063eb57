//! What a bucket with versions keeps beneath what it shows: a name that was written over or marked as deleted still has
//! its earlier versions.

use http::Method;
use percent_encoding::utf8_percent_encode;

use super::{Bucket, Call, PAGE, S3Error, UNRESERVED, elements, expect, remote};

/// Pages that are looked through: whoever may delete can mark a name as deleted as often as they like.
const PAGES: usize = 20;

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// Which of its versions.
    pub id: String,
}

impl Version {
    /// What a reading asks for.
    #[must_use]
    pub fn query(&self) -> String {
        format!("versionId={}", utf8_percent_encode(&self.id, UNRESERVED))
    }
}

impl Bucket {
    /// The first versions in a folder, `most` of them: by name, and of a name the newest first. Those of deleted names
    /// are among them, the marks that say so are not.
    ///
    /// # Errors
    /// [`S3Error`], also where there are so many marks that what is beneath them cannot be seen.
    pub fn versions(&self, folder: &str, most: usize) -> Result<Vec<Version>, S3Error> {
        let mut found = Vec::new();
        let mut marker: Option<(String, String)> = None;
        for _ in 0..PAGES {
            let text = self.versions_behind(folder, marker.as_ref())?;
            found.extend(elements(&text, "Version").filter_map(|entry| self.version(entry)));
            let next = |name| elements(&text, name).next().map(str::to_owned);
            marker = next("NextKeyMarker").zip(next("NextVersionIdMarker"));
            if found.len() >= most || marker.is_none() {
                found.truncate(most);
                return Ok(found);
            }
        }
        Err(remote("too many marks of deletion hide what is there"))
    }

    fn versions_behind(
        &self,
        folder: &str,
        marker: Option<&(String, String)>,
    ) -> Result<String, S3Error> {
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let prefix = encoded(&format!("{}{folder}/", self.account.prefix));
        let (key, id) = marker.map_or_else(Default::default, |(key, id)| {
            (
                format!("key-marker={}&", encoded(key)),
                format!("&version-id-marker={}", encoded(id)),
            )
        });
        let query = format!("{key}max-keys={PAGE}&prefix={prefix}{id}&versions=");
        let path = format!("/{}", self.account.bucket);
        let (response, reader) = self.send(Call {
            query: &query,
            ..Call::about(Method::GET, &path)
        })?;
        expect(folder, &response, reader)
    }

    fn version(&self, entry: &str) -> Option<Version> {
        let name = elements(entry, "Key").next()?;
        Some(Version {
            name: name.strip_prefix(self.account.prefix.as_str())?.to_owned(),
            id: elements(entry, "VersionId").next()?.to_owned(),
        })
    }
}
