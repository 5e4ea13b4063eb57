//! Versions of objects, and what a store with Object Lock says of them and is told.

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;

use super::answer::{elements, expect};
use super::error::remote;
use super::send::Call;
use super::{Bucket, PAGE, PAGES, S3Error, UNRESERVED, Upload};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The object's name, without the bucket's prefix.
    pub name: String,
    /// The version's id.
    pub id: String,
}

impl Version {
    /// What a reading of it asks for.
    #[must_use]
    pub fn query(&self) -> String {
        at("", Some(&self.id))
    }
}

/// Where a listing of versions goes on: a name, and one of its versions.
type Markers = (String, String);

/// Pages that are looked through for a few versions: whoever may delete can mark a name as deleted as often as they like.
const FEW_PAGES: usize = 20;

/// What a version is, as the store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its length.
    pub size: u64,
    /// Its id, where the bucket has versions.
    pub version: Option<String>,
    /// SHA-256 (base64), where the store keeps it.
    pub sha256: Option<String>,
    /// The end of its lock in compliance mode, where there is one.
    pub locked_until: Option<Timestamp>,
    /// Whether it is under legal hold.
    pub held: bool,
}

impl Bucket {
    /// What a version is, or the newest one; `None` where there is none, or the newest is a delete marker.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn describe_version(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<Described>, S3Error> {
        let (path, query) = (self.path(name), at("", version));
        let (response, _) = self.send(Call {
            query: &query,
            headers: vec![("x-amz-checksum-mode", "ENABLED".to_owned())],
            ..Call::about(Method::HEAD, &path)
        })?;
        match response.status() {
            StatusCode::OK => described(response.headers()).map(Some),
            // A version that is a delete marker has no head.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            other => Err(remote(format!("HEAD {name}: {other}"))),
        }
    }

    /// Reads a version, or the newest one.
    ///
    /// # Errors
    /// [`S3Error::Missing`] where there is none.
    pub fn read_version(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Box<dyn std::io::Read>, S3Error> {
        self.read_from(name, &at("", version))
    }

    /// Locks a version in compliance mode until then: later than now, it can be prolonged and not shortened.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn lock_version(
        &self,
        name: &str,
        version: Option<&str>,
        until: Timestamp,
    ) -> Result<(), S3Error> {
        let until = stamp(until);
        let text = format!(
            "<Retention xmlns=\"{NAMESPACE}\"><Mode>COMPLIANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let upload = Upload::bytes(text.into_bytes());
        self.put_to(name, &at("retention=", version), upload, Vec::new())
    }

    /// Puts a version under legal hold: `ON`, or takes it away: `OFF`.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn hold_version(
        &self,
        name: &str,
        version: Option<&str>,
        status: &'static str,
    ) -> Result<(), S3Error> {
        let text =
            format!("<LegalHold xmlns=\"{NAMESPACE}\"><Status>{status}</Status></LegalHold>");
        let upload = Upload::bytes(text.into_bytes());
        self.put_to(name, &at("legal-hold=", version), upload, Vec::new())
    }

    /// The versions of the objects in a folder, by name, the oldest of each first. Delete markers are none.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn versions(&self, folder: &str) -> Result<Vec<Version>, S3Error> {
        let mut versions = Vec::new();
        let mut markers = None;
        for _ in 0..PAGES {
            let (found, next) = self.versions_behind(folder, markers.as_ref())?;
            versions.extend(found);
            markers = next;
            if markers.is_none() {
                // The store names the newest of an object first.
                versions.reverse();
                versions.sort_by(|one, other| one.name.cmp(&other.name));
                return Ok(versions);
            }
        }
        Err(remote("the listing does not end"))
    }

    /// The first versions in a folder, `most` of them: by name, and of a name the newest first. Those of deleted names
    /// are among them, the marks that say so are not.
    ///
    /// # Errors
    /// [`S3Error`], also where there are so many marks that what is beneath them cannot be seen.
    pub fn first_versions(&self, folder: &str, most: usize) -> Result<Vec<Version>, S3Error> {
        let mut versions = Vec::new();
        let mut markers = None;
        for _ in 0..FEW_PAGES {
            let (found, next) = self.versions_behind(folder, markers.as_ref())?;
            versions.extend(found);
            markers = next;
            if versions.len() >= most || markers.is_none() {
                versions.truncate(most);
                return Ok(versions);
            }
        }
        Err(remote("too many marks of deletion hide what is there"))
    }

    fn versions_behind(
        &self,
        folder: &str,
        markers: Option<&Markers>,
    ) -> Result<(Vec<Version>, Option<Markers>), S3Error> {
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let prefix = encoded(&format!("{}{folder}/", self.account.prefix));
        let (key, version) = markers.map_or_else(Default::default, |(key, version)| {
            (
                format!("key-marker={}&", encoded(key)),
                format!("&version-id-marker={}", encoded(version)),
            )
        });
        let query = format!("{key}max-keys={PAGE}&prefix={prefix}{version}&versions=");
        let path = format!("/{}", self.account.bucket);
        let (response, reader) = self.send(Call {
            query: &query,
            ..Call::about(Method::GET, &path)
        })?;
        let text = expect(folder, &response, reader)?;
        let found = elements(&text, "Version").filter_map(|entry| self.version(entry));
        let found = found.collect();
        let next = |name| elements(&text, name).next().map(str::to_owned);
        let markers =
            next("NextKeyMarker").map(|key| (key, next("NextVersionIdMarker").unwrap_or_default()));
        Ok((found, markers))
    }

    fn version(&self, entry: &str) -> Option<Version> {
        let name = elements(entry, "Key").next()?;
        Some(Version {
            name: name.strip_prefix(self.account.prefix.as_str())?.to_owned(),
            id: elements(entry, "VersionId").next()?.to_owned(),
        })
    }
}

/// The headers that lock an object as it is stored. Stores take such an object only where it is said how its bytes are
/// proven to have arrived.
#[must_use]
pub fn locking(until: Timestamp) -> Vec<(&'static str, String)> {
    vec![
        ("x-amz-object-lock-mode", "COMPLIANCE".to_owned()),
        ("x-amz-object-lock-retain-until-date", stamp(until)),
        ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
    ]
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A query about a version.
fn at(what: &str, version: Option<&str>) -> String {
    let Some(version) = version else {
        return what.to_owned();
    };
    let id = utf8_percent_encode(version, UNRESERVED);
    let between = if what.is_empty() { "" } else { "&" };
    format!("{what}{between}versionId={id}")
}

fn described(headers: &HeaderMap) -> Result<Described, S3Error> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let size = text("content-length").and_then(|length| length.parse().ok());
    let compliant = text("x-amz-object-lock-mode") == Some("COMPLIANCE");
    let until = text("x-amz-object-lock-retain-until-date").filter(|_| compliant);
    let held = text("x-amz-object-lock-legal-hold");
    Ok(Described {
        size: size.ok_or_else(|| remote("a length is missing"))?,
        version: text("x-amz-version-id")
            .filter(|id| *id != "null")
            .map(str::to_owned),
        sha256: text("x-amz-checksum-sha256").map(str::to_owned),
        locked_until: until.and_then(|until| until.parse().ok()),
        held: held.is_some_and(|status| status.eq_ignore_ascii_case("ON")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_in_the_order_in_which_they_are_signed() {
        assert_eq!(at("", None), "");
        assert_eq!(at("", Some("a/b")), "versionId=a%2Fb");
        assert_eq!(at("legal-hold=", Some("x")), "legal-hold=&versionId=x");
        assert_eq!(at("retention=", None), "retention=");
    }

    #[test]
    fn only_compliance_is_a_lock() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", "7".parse().unwrap());
        let until = "x-amz-object-lock-retain-until-date";
        headers.insert(until, "2032-03-02T00:00:00.000Z".parse().unwrap());
        let mode = "x-amz-object-lock-mode";
        headers.insert(mode, "GOVERNANCE".parse().unwrap());
        assert_eq!(described(&headers).unwrap().locked_until, None);
        headers.insert(mode, "COMPLIANCE".parse().unwrap());
        let found = described(&headers).unwrap();
        assert_eq!(
            found.locked_until,
            Some("2032-03-02T00:00:00Z".parse().unwrap())
        );
        assert!(!found.held && found.size == 7);
    }
}
