//! What files and directories say: certificates, permissions, keys, file systems, the response plan.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::audit::log::MasterKey;
use crate::config::client_key::ClientKey;
use crate::config::keys::KeyFile;
use crate::config::witness::Witness;
use crate::config::{ArchiveTarget, BackupTarget, Config, chain, secrets};
use crate::posture::facts::{Certificate, Clock, Disks, Guarded, Key, Known, Leaf, Synchronised};

/// Most files of a policy bundle that are looked at.
const MOST_FILES: usize = 2_000;
/// How deep a policy bundle goes.
const DEEPEST: usize = 4;
/// What stands in a response plan where something is to be filled in.
const TO_FILL_IN: char = '⟨';
/// Where systemd's time service says that it set the clock.
const TIMESYNC: &str = "/run/systemd/timesync";

pub(super) fn certificates(config: &Config) -> Vec<Certificate> {
    let mut found: Vec<Certificate> = config
        .certificates
        .iter()
        .map(|certificate| read(&certificate.chain, true))
        .collect();
    for witness in &config.audit.witnesses {
        found.extend(witness.ca().map(|ca| read(ca, false)));
        found.extend(witness.client().map(|client| read(&client.chain, false)));
    }
    for emr in &config.emrs {
        if let Some(client) = &emr.backend.client_certificate {
            found.push(read(&client.chain, false));
        }
        found.extend(emr.backend.ca.iter().map(|ca| read(ca, false)));
    }
    for issuer in &config.identity.issuers {
        found.extend(issuer.ca.iter().map(|ca| read(ca, false)));
        let shown = issuer.client_auth.certificate();
        found.extend(shown.map(|client| read(&client.chain, false)));
    }
    found
}

fn read(file: &Path, served: bool) -> Certificate {
    let leaf = chain::leaf(file).map_err(|error| error.to_string());
    Certificate {
        file: file.to_owned(),
        served,
        leaf: leaf.map(|leaf| Leaf {
            not_after: leaf.not_after,
            key_kind: leaf.key.kind,
            key_bits: leaf.key.bits,
        }),
    }
}

/// Files that hold secrets. Those of one line (passwords, client secrets) were looked at when they were read: a
/// configuration whose secrets others can read does not load.
pub(super) fn secrets(config: &Config) -> Vec<Guarded> {
    let mut files: Vec<&Path> = vec![
        &config.audit.master_key,
        &config.audit.signing_key,
        &config.store.key,
    ];
    files.extend(config.backup.iter().map(|backup| &*backup.key));
    files.extend(config.certificates.iter().map(|pair| pair.key.as_path()));
    let shown = config.audit.witnesses.iter().filter_map(Witness::client);
    files.extend(shown.map(|client| client.key.as_path()));
    for issuer in &config.identity.issuers {
        files.extend(issuer.client_auth.keys().map(ClientKey::path));
        let shown = issuer.client_auth.certificate();
        files.extend(shown.map(|client| client.key.as_path()));
    }
    for emr in &config.emrs {
        let client = emr.backend.client_certificate.iter();
        files.extend(client.map(|pair| pair.key.as_path()));
        let assertion = emr.identity.assertion.iter();
        files.extend(assertion.map(|assertion| assertion.key.as_path()));
    }
    files.sort_unstable();
    files.dedup();
    files.into_iter().map(secret).collect()
}

fn secret(path: &Path) -> Guarded {
    let shown = path.display().to_string();
    let metadata = File::open(path).and_then(|file| file.metadata());
    Guarded {
        path: path.to_owned(),
        exposed: metadata
            .map(|metadata| secrets::exposure(&metadata, &shown).map(|said| said.message))
            .map_err(|error| format!("`{shown}`: {error}")),
    }
}

pub(super) fn written(config: &Config) -> Vec<Guarded> {
    let mut places = vec![config.audit.directory.clone(), config.store.path.clone()];
    if let Some(backup) = &config.backup
        && let BackupTarget::Directory(directory) = &backup.target
    {
        places.push(directory.clone());
    }
    let archive = config.audit.archive.as_ref();
    if let Some(ArchiveTarget::Directory(directory)) = archive.map(|archive| &archive.target) {
        places.push(directory.clone());
    }
    // What the gateway has not written yet cannot be open.
    places.retain(|place| place.exists());
    places
        .into_iter()
        .map(|place| guarded(place, 0o077, "can be entered or read by others"))
        .collect()
}

/// The configuration file and everything in the policy bundle.
pub(super) fn rules(config: &Config, file: &Path) -> Vec<Guarded> {
    let mut places = vec![file.to_owned()];
    collect(&config.policy.directory, 0, &mut places);
    places.extend(config.emrs.iter().map(|emr| emr.profile.clone()));
    places.sort_unstable();
    places.dedup();
    places
        .into_iter()
        .map(|place| guarded(place, 0o022, "can be changed by others"))
        .collect()
}

fn collect(place: &Path, depth: usize, places: &mut Vec<PathBuf>) {
    if places.len() >= MOST_FILES {
        return;
    }
    places.push(place.to_owned());
    if depth < DEEPEST
        && let Ok(listing) = fs::read_dir(place)
    {
        for entry in listing.flatten() {
            collect(&entry.path(), depth.saturating_add(1), places);
        }
    }
}

fn guarded(path: PathBuf, forbidden: u32, what: &str) -> Guarded {
    let shown = path.display().to_string();
    let exposed = fs::metadata(&path).map(|metadata| {
        let mode = metadata.mode() & 0o777;
        (mode & forbidden != 0).then(|| format!("`{shown}` {what} (mode {mode:04o})"))
    });
    Guarded {
        exposed: exposed.map_err(|error| format!("`{shown}`: {error}")),
        path,
    }
}

pub(super) fn disks(config: &Config) -> Disks {
    let witnesses = config.audit.witnesses.iter().filter_map(Witness::file);
    Disks {
        trail: device(&config.audit.directory),
        witnesses: witnesses
            .map(|witness| (witness.to_owned(), device(witness)))
            .collect(),
        backups: config
            .backup
            .as_ref()
            .and_then(|backup| match &backup.target {
                BackupTarget::Directory(directory) => device(directory),
                BackupTarget::S3(_) => None,
            }),
    }
}

/// The device of a path, or of the nearest directory above it that is there.
fn device(path: &Path) -> Option<u64> {
    let found = path.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        fs::metadata(path).ok()
    });
    found.map(|metadata| metadata.dev())
}

pub(super) fn keys(config: &Config) -> Vec<Key> {
    let mut keys = vec![
        key("master", &config.audit.master_key),
        key("store", &config.store.key),
    ];
    let backup = config.backup.iter();
    keys.extend(backup.map(|backup| key("backup", &backup.key)));
    keys
}

fn key(name: &'static str, file: &KeyFile) -> Key {
    let text = |error: crate::audit::log::KeyError| error.to_string();
    Key {
        name,
        id: MasterKey::read(file)
            .map(|key| key.id().to_string())
            .map_err(text),
        recovers: MasterKey::recovered_by(&file.with_extension("recovery")).map_err(text),
    }
}

/// Places in the bundle's response plan that are still to be filled in.
pub(super) fn plan(config: &Config) -> Known<usize> {
    let directory = config.policy.directory.join("response");
    let mut open = None;
    for entry in fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .take(64)
    {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("`{}`: {error}", path.display()))?;
            let found = text.matches(TO_FILL_IN).count();
            open = Some(open.unwrap_or(0_usize).saturating_add(found));
        }
    }
    open.ok_or_else(|| format!("there is no plan in `{}`", directory.display()))
}

pub(super) fn clock() -> Clock {
    let directory = Path::new(TIMESYNC);
    let synchronised = if directory.join("synchronized").exists() {
        Some(Synchronised::Yes)
    } else if directory.is_dir() {
        Some(Synchronised::No)
    } else {
        None
    };
    Clock { synchronised }
}
