//! The same with versions and Object Lock: nothing that is stored is ever changed, only covered by another version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Reply, Request, serve};
use crate::config::S3Target;

/// A version of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether it only says that there is nothing.
    pub(crate) deleted: bool,
    pub(crate) mode: String,
    pub(crate) until: String,
    pub(crate) hold: String,
}

/// What the store holds, by path, each with its versions, oldest first; and what it refuses.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    pub(crate) objects: BTreeMap<String, Vec<Stored>>,
    count: u64,
    /// Requests whose `METHOD path` has this in it are answered 503.
    pub(crate) refused: Option<String>,
    /// The bucket was made without Object Lock: it takes the headers and forgets them.
    pub(crate) forgetful: bool,
    /// Every request: `METHOD path?query`.
    pub(crate) asked: Vec<String>,
}

pub(crate) type Shared = Arc<Mutex<Vault>>;

/// Serves until the process ends; gives the account, and what it holds.
pub(crate) fn store(secret: &str) -> (S3Target, Shared) {
    let vault = Shared::default();
    let kept = Arc::clone(&vault);
    let account = serve(secret, move |request| kept.lock().unwrap().answer(request));
    (account, vault)
}

fn error(status: u16, code: &str) -> Reply {
    let text = format!("<Error><Code>{code}</Code></Error>");
    (status, Vec::new(), text.into_bytes())
}

/// What stands between two tags.
fn between<'t>(text: &'t str, name: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
    rest.split_once(&format!("</{name}>")).unwrap().0
}

impl Vault {
    /// Stores another version as anybody with the right to write could.
    pub(crate) fn cover(&mut self, path: &str, bytes: &[u8], deleted: bool) {
        let stored = Stored {
            bytes: bytes.to_vec(),
            deleted,
            ..Stored::default()
        };
        self.add(path, stored);
    }

    fn add(&mut self, path: &str, stored: Stored) -> String {
        self.count += 1;
        let id = format!("v/{}", self.count);
        let stored = Stored {
            id: id.clone(),
            ..stored
        };
        self.objects
            .entry(path.to_owned())
            .or_default()
            .push(stored);
        id
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let Request {
            method,
            path,
            query,
            ..
        } = request;
        self.asked.push(format!("{method} {path}?{query}"));
        let asked = format!("{method} {path}");
        if self
            .refused
            .as_ref()
            .is_some_and(|part| asked.contains(part))
        {
            return error(503, "SlowDown");
        }
        match method.as_str() {
            "PUT" if query.is_empty() => self.put(request),
            "PUT" => self.set(request),
            "GET" if path == "/saved" => self.list(request),
            _ => self.get(request),
        }
    }

    fn put(&mut self, request: &Request) -> Reply {
        let header = |name: &str| request.header(name).to_owned();
        let (checksum, how) = ("x-amz-checksum-sha256", "x-amz-sdk-checksum-algorithm");
        if header(checksum).is_empty() || header(how) != "SHA256" {
            return error(400, "MissingUploadObjectWithObjectLockHeaders");
        }
        let mut stored = Stored {
            bytes: request.body.clone(),
            ..Stored::default()
        };
        if !self.forgetful {
            stored.mode = header("x-amz-object-lock-mode");
            stored.until = header("x-amz-object-lock-retain-until-date");
        }
        let id = self.add(&request.path, stored);
        (200, vec![("x-amz-version-id", id)], Vec::new())
    }

    fn set(&mut self, request: &Request) -> Reply {
        let text = String::from_utf8(request.body.clone()).unwrap();
        let Some(stored) = self.version(request) else {
            return error(404, "NoSuchKey");
        };
        if request.part("legal-hold").is_some() {
            between(&text, "Status").clone_into(&mut stored.hold);
        } else if request.part("retention").is_some() {
            let until = between(&text, "RetainUntilDate");
            if stored.mode == "COMPLIANCE" && until < stored.until.as_str() {
                return error(403, "AccessDenied");
            }
            between(&text, "Mode").clone_into(&mut stored.mode);
            until.clone_into(&mut stored.until);
        } else {
            return error(400, "InvalidArgument");
        }
        (200, Vec::new(), Vec::new())
    }

    fn version(&mut self, request: &Request) -> Option<&mut Stored> {
        let wanted = request.part("versionId");
        let versions = self.objects.get_mut(&request.path)?;
        match wanted {
            Some(id) => versions.iter_mut().find(|stored| stored.id == id),
            None => versions.last_mut(),
        }
    }

    fn get(&mut self, request: &Request) -> Reply {
        let Some(stored) = self.version(request).filter(|stored| !stored.deleted) else {
            return error(404, "NoSuchKey");
        };
        let sum = digest::digest(&digest::SHA256, &stored.bytes);
        let mut headers = vec![
            ("x-amz-version-id", stored.id.clone()),
            ("x-amz-checksum-sha256", BASE64.encode(sum)),
        ];
        for (name, value) in [
            ("x-amz-object-lock-mode", &stored.mode),
            ("x-amz-object-lock-retain-until-date", &stored.until),
            ("x-amz-object-lock-legal-hold", &stored.hold),
        ] {
            if !value.is_empty() {
                headers.push((name, value.clone()));
            }
        }
        (200, headers, stored.bytes.clone())
    }

    /// Pages of three versions, the newest of an object first.
    fn list(&self, request: &Request) -> Reply {
        assert!(request.part("versions").is_some());
        let prefix = format!("/saved/{}", request.part("prefix").unwrap());
        let marker = request.part("key-marker").map(|key| {
            let version = request.part("version-id-marker").unwrap();
            (format!("/saved/{key}"), version)
        });
        let found = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix));
        let all: Vec<(&String, &Stored)> = found
            .flat_map(|(path, versions)| versions.iter().rev().map(move |stored| (path, stored)))
            .collect();
        let is_marker = |(path, stored): &(&String, &Stored)| {
            let (key, version) = marker.as_ref().unwrap();
            *path == key && stored.id == *version
        };
        let from = match &marker {
            Some(_) => all.iter().position(is_marker).unwrap() + 1,
            None => 0,
        };
        let page: Vec<_> = all.iter().skip(from).take(3).collect();
        let mut text = "<ListVersionsResult>".to_owned();
        for (path, stored) in &page {
            let tag = if stored.deleted {
                "DeleteMarker"
            } else {
                "Version"
            };
            let (key, id) = (path.strip_prefix("/saved/").unwrap(), &stored.id);
            text.push_str(&format!(
                "<{tag}><Key>{key}</Key><VersionId>{id}</VersionId></{tag}>"
            ));
        }
        let more = from + page.len() < all.len();
        text.push_str(&format!("<IsTruncated>{more}</IsTruncated>"));
        if let (true, Some((path, stored))) = (more, page.last()) {
            let (key, id) = (path.strip_prefix("/saved/").unwrap(), &stored.id);
            text.push_str(&format!(
                "<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>"
            ));
        }
        (
            200,
            Vec::new(),
            (text + "</ListVersionsResult>").into_bytes(),
        )
    }
}
