//! The files of a bundle's directory: read once, as a whole, so that what is checked, hashed and used is the same.
//!
//! *Never*: a file that is skipped because its name is misspelt.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::problem::Findings;

/// Most bytes of one file.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// Most files of one bundle's directory.
const MOST_FILES: usize = 1_000;
/// The folder whose `*.toml` files are EMR profiles.
const PROFILES: &str = "emr";
/// The folder whose `*.toml` files are tables of expected decisions.
pub(super) const TABLES: &str = "tests";
/// The folder whose `*.md` files are courses.
pub(super) const COURSES: &str = "training";
/// What a bundle may hold for people alone: no part of its digest.
const README: &str = "README.md";
/// The signatures of the digest, and so no part of it.
const SIGNATURE: &str = "bundle.sig";

/// Files beside `*.cedar` that a bundle may hold. Anything else is taken for a misspelt policy file.
const OTHER_FILES: &[&str] = &[
    "bundle.toml",
    "schema.cedarschema",
    "roles.toml",
    "networks.toml",
    "calendars.toml",
    README,
    SIGNATURE,
];

/// The texts of a bundle's files, by name.
pub(super) struct Files(BTreeMap<PathBuf, String>);

impl Files {
    pub(super) fn read(directory: &Path, findings: &mut Findings) -> Self {
        let mut texts = BTreeMap::new();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                findings.push(
                    Path::new("."),
                    None,
                    format!("the directory cannot be read: {error}"),
                    "Name a directory with a policy bundle; `chartgate init` writes one to start from.",
                );
                return Self(texts);
            }
        };
        for entry in entries.take(MOST_FILES.saturating_add(1)) {
            let read = entry.map(|entry| PathBuf::from(entry.file_name()));
            match read {
                Ok(name) => {
                    let folder = name
                        .to_str()
                        .filter(|name| [PROFILES, TABLES, COURSES].contains(name));
                    if let Some(folder) = folder {
                        read_folder(directory, folder, &mut texts, findings);
                    }
                    if let Some(text) = read_file(directory, &name, findings) {
                        texts.insert(name, text);
                    }
                }
                Err(error) => findings.push(
                    Path::new("."),
                    None,
                    format!("the directory cannot be read: {error}"),
                    "Check the directory's permissions and the disk.",
                ),
            }
        }
        if texts.len() > MOST_FILES {
            findings.push(
                Path::new("."),
                None,
                format!("there are more than {MOST_FILES} files"),
                "Put the policies into fewer files.",
            );
        }
        Self(texts)
    }

    /// Files that were read before.
    pub(super) const fn kept(texts: BTreeMap<PathBuf, String>) -> Self {
        Self(texts)
    }

    /// All of them.
    pub(super) fn into_texts(self) -> BTreeMap<PathBuf, String> {
        self.0
    }

    /// The signatures of the bundle, where there are any.
    pub(super) fn signature(texts: &BTreeMap<PathBuf, String>) -> Option<&str> {
        texts.get(Path::new(SIGNATURE)).map(String::as_str)
    }

    pub(super) fn text(&self, name: &str, findings: &mut Findings) -> Option<&str> {
        let text = self.0.get(Path::new(name)).map(String::as_str);
        if text.is_none() {
            findings.push(
                Path::new(name),
                None,
                "the file is missing or cannot be read",
                "Every bundle holds bundle.toml, schema.cedarschema and roles.toml.",
            );
        }
        text
    }

    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(Path::new(name)).map(String::as_str)
    }

    /// The files of a folder.
    pub(super) fn within(&self, folder: &str) -> impl Iterator<Item = (&Path, &str)> {
        self.0
            .iter()
            .filter(move |(name, _)| name.parent() == Some(Path::new(folder)))
            .map(|(name, text)| (name.as_path(), text.as_str()))
    }

    pub(super) fn profiles(&self) -> BTreeMap<PathBuf, String> {
        self.within(PROFILES)
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect()
    }

    pub(super) fn digest(&self) -> String {
        let sha256 = |bytes: &[u8]| hex::encode(digest::digest(&digest::SHA256, bytes));
        let mut files: Vec<_> = self
            .0
            .iter()
            .map(|(name, text)| (name.as_os_str().as_encoded_bytes(), name, text))
            .filter(|(_, name, _)| {
                ![Path::new(README), Path::new(SIGNATURE)].contains(&name.as_path())
            })
            .collect();
        files.sort_unstable();
        let lines: Vec<_> = files
            .into_iter()
            .map(|(_, name, text)| format!("{}  {}\n", sha256(text.as_bytes()), name.display()))
            .collect();
        sha256(lines.concat().as_bytes())
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.0
            .iter()
            .filter(|(name, _)| is_policy_file(name))
            .map(|(name, text)| (name.as_path(), text.as_str()))
    }
}

fn is_policy_file(name: &Path) -> bool {
    name.extension() == Some(OsStr::new("cedar"))
}

/// The texts of a folder's `*.toml` files; of courses, its `*.md` files.
fn read_folder(
    directory: &Path,
    folder: &str,
    texts: &mut BTreeMap<PathBuf, String>,
    findings: &mut Findings,
) {
    let kind = if folder == COURSES { "md" } else { "toml" };
    let is_of_kind = |name: &Path| name.extension() == Some(OsStr::new(kind));
    let Ok(entries) = fs::read_dir(directory.join(folder)) else {
        // A file of this name is none that a bundle holds, and is reported as such.
        return;
    };
    for entry in entries.take(MOST_FILES).flatten() {
        let name = Path::new(folder).join(entry.file_name());
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_of_kind(&name) && !hidden {
            if let Some(text) = read_text(directory, &name, findings) {
                texts.insert(name, text);
            }
        } else if folder == TABLES && !hidden {
            findings.push(
                &name,
                None,
                "the file is no table of expected decisions",
                "Name tables *.toml; a table under another name would never be asked.",
            );
        } else if folder == COURSES && !hidden {
            findings.push(
                &name,
                None,
                "the file is no course",
                "Name courses *.md; nobody would be asked to do a course under another name.",
            );
        }
    }
}

/// The text of a file of the bundle; nothing for directories, hidden files and what could not be read.
fn read_file(directory: &Path, name: &Path, findings: &mut Findings) -> Option<String> {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    let path = directory.join(name);
    // Follows symbolic links: Kubernetes mounts files as such.
    let metadata = fs::metadata(&path);
    if hidden || metadata.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return None;
    }
    let known = name
        .to_str()
        .is_some_and(|name| OTHER_FILES.contains(&name));
    if !known && !is_policy_file(name) {
        // SECURITY: a forbid in `lockdown.ceder` would silently not be there.
        findings.push(
            name,
            None,
            "the file is none that a bundle holds",
            "Name policy files *.cedar; move anything else out of the directory.",
        );
        return None;
    }
    read_text(directory, name, findings)
}

fn read_text(directory: &Path, name: &Path, findings: &mut Findings) -> Option<String> {
    let path = directory.join(name);
    let size = fs::metadata(&path).map(|metadata| metadata.len());
    if size.as_ref().is_ok_and(|size| *size > MOST_BYTES) {
        findings.push(
            name,
            None,
            format!("the file is larger than {MOST_BYTES} bytes"),
            "Split it.",
        );
        return None;
    }
    match size.and_then(|_| fs::read_to_string(&path)) {
        Ok(text) => Some(text),
        Err(error) => {
            findings.push(
                name,
                None,
                format!("the file cannot be read: {error}"),
                "Check its permissions and that it is UTF-8 text.",
            );
            None
        }
    }
}
