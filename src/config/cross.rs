//! What only several sections together can get wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::chain;
use super::problem::Severity;
use super::providers;
use super::second_factor::FactorMethod;
use super::source::{Document, says};
use super::{ArchiveTarget, BackupContent, BackupTarget, Config, Emr};

/// Checks a configuration whose sections are each fine.
pub(super) fn check(document: &Document<'_>, config: &Config) {
    listeners(document, config);
    emr_names(document, &config.emrs);
    second_factor(document, config);
    certificates(document, config);
    witnesses(document, config);
    sockets(document, config);
    backups(document, config);
    archive(document, config);
    providers::check(document, config);
    super::api::check(document, config);
}

fn refuse(document: &Document<'_>, key: &str, message: String, remedy: &str) {
    document.at(Severity::Error, key, says(message, remedy));
}

/// Two listeners on the same port of the same address.
fn listeners(document: &Document<'_>, config: &Config) {
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let https = config.server.listen.iter().enumerate();
    let plain = config.server.redirect_http.iter().enumerate();
    let named = https
        .map(|(index, address)| (format!("server.listen[{index}]"), *address))
        .chain(plain.map(|(index, address)| (format!("server.redirect_http[{index}]"), *address)))
        .chain(
            config
                .admin
                .listen
                .map(|address| ("admin.listen".to_owned(), address)),
        );
    for (key, address) in named {
        if let Some((other, _)) = taken.iter().find(|(_, other)| overlap(*other, address)) {
            let message = format!("`{address}` is taken by `{other}` already");
            refuse(
                document,
                &key,
                message,
                "give each listener its own address or port",
            );
        }
        taken.push((key, address));
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    // Port 0 means any free port: two of them never meet.
    a.port() != 0
        && a.port() == b.port()
        && (a.ip() == b.ip() || (everywhere && a.is_ipv4() == b.is_ipv4()))
}

/// Two EMRs under one name or one host.
fn emr_names(document: &Document<'_>, emrs: &[Emr]) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut hosts: BTreeMap<&str, String> = BTreeMap::new();
    for (index, emr) in emrs.iter().enumerate() {
        if names.insert(&emr.name, index).is_some() {
            let message = format!(
                "there are two EMRs called `{}`; records could not tell them apart",
                emr.name
            );
            refuse(
                document,
                &format!("emr[{index}].name"),
                message,
                "give each EMR its own name",
            );
        }
        for (position, host) in emr.hosts.iter().enumerate() {
            let key = format!("emr[{index}].hosts[{position}]");
            if let Some(first) = hosts.get(host.as_str()) {
                let message = format!("`{host}` leads to two places; `{first}` has it too");
                refuse(document, &key, message, "give each host to one EMR, once");
            } else {
                hosts.insert(host, key);
            }
        }
    }
}

/// An own second factor for nobody, or passkeys that would not work on every host.
fn second_factor(document: &Document<'_>, config: &Config) {
    let Some(own) = &config.identity.second_factor else {
        return;
    };
    let key = "identity.second_factor.issuers";
    for name in &own.issuers {
        if config
            .identity
            .issuers
            .iter()
            .all(|issuer| issuer.name != *name)
        {
            let message = format!("there is no issuer called `{name}`");
            refuse(
                document,
                key,
                message,
                "name an issuer as its `name` is written",
            );
        }
    }
    let hosts: Vec<&str> = config
        .emrs
        .iter()
        .flat_map(|emr| emr.hosts.iter().map(String::as_str))
        .collect();
    let has_passkeys = own.methods.contains(&FactorMethod::Passkey);
    match &own.rp_id {
        Some(id) => {
            let within = |host: &str| host == id || host.ends_with(&format!(".{id}"));
            if let Some(host) = hosts.iter().find(|host| !within(host)) {
                let message = format!("passkeys of `{id}` cannot be used on `{host}`");
                let remedy = "name the host itself, or the domain that every host lies under (never a public suffix)";
                refuse(document, "identity.second_factor.rp_id", message, remedy);
            }
        }
        // A passkey that works on one host of several would look broken on the others.
        None if has_passkeys && hosts.len() > 1 => {
            let message = "there are several hosts; a passkey belongs to one domain".to_owned();
            let remedy = "add `rp_id`, the domain that every host lies under; it cannot be changed later without new passkeys";
            refuse(document, "identity.second_factor", message, remedy);
        }
        None => {}
    }
}

/// Certificates that cannot be used, and hosts that none of them covers.
fn certificates(document: &Document<'_>, config: &Config) {
    let mut leaves = Vec::new();
    let mut complete = true;
    for (index, certificate) in config.certificates.iter().enumerate() {
        match chain::matched(certificate) {
            Ok(leaf) => leaves.push(leaf),
            Err(error) => {
                complete = false;
                let part = match error {
                    chain::ChainError::Key { .. } | chain::ChainError::Mismatch { .. } => "key",
                    chain::ChainError::Pem { .. }
                    | chain::ChainError::Empty(_)
                    | chain::ChainError::X509 { .. } => "chain",
                };
                let remedy = "name a PEM chain, leaf first, and the PEM private key of that leaf";
                refuse(
                    document,
                    &format!("certificate[{index}].{part}"),
                    error.to_string(),
                    remedy,
                );
            }
        }
    }
    for (index, emr) in config.emrs.iter().enumerate() {
        for (position, host) in emr.hosts.iter().enumerate() {
            // A certificate that could not be read may be the one for this host.
            if complete && !leaves.iter().any(|leaf| leaf.covers(host)) {
                let covered: Vec<&str> = leaves
                    .iter()
                    .flat_map(chain::Leaf::names)
                    .map(String::as_str)
                    .collect();
                let message = format!(
                    "no certificate is for `{host}`; there are some for {}",
                    covered.join(", ")
                );
                let key = format!("emr[{index}].hosts[{position}]");
                refuse(
                    document,
                    &key,
                    message,
                    "add a `[[certificate]]` with this name among its subject alternative names",
                );
            }
        }
    }
    for (index, emr) in config.emrs.iter().enumerate() {
        if let Some(client) = &emr.backend.client_certificate
            && let Err(error) = chain::matched(client)
        {
            let key = format!("emr[{index}].backend.client_certificate");
            refuse(
                document,
                &key,
                error.to_string(),
                "name a PEM chain, leaf first, and its PEM private key",
            );
        }
    }
}

/// Witnesses that share the fate of the trail.
fn witnesses(document: &Document<'_>, config: &Config) {
    let trail = lexical(&config.audit.directory);
    let mut seen = Vec::new();
    for (index, witness) in config.audit.witnesses.iter().enumerate() {
        let key = format!("audit.witnesses[{index}]");
        if witness
            .file()
            .is_some_and(|path| lexical(path).starts_with(&trail))
        {
            // SECURITY: whoever rolls the trail's directory back would roll its witness back with it.
            let message = format!("the witness `{witness}` lies inside the trail's own directory");
            let remedy = "put it elsewhere, best on another disk or host: who can roll back the trail must not reach it";
            refuse(document, &key, message, remedy);
        }
        let place = witness.file().map_or_else(
            || witness.to_string(),
            |path| lexical(path).display().to_string(),
        );
        if seen.contains(&place) {
            let message = format!("the witness `{witness}` is named twice");
            refuse(document, &key, message, "name each witness once");
        }
        seen.push(place);
        if let Some(client) = witness.client()
            && let Err(error) = chain::matched(client)
        {
            let remedy = "name a PEM chain, leaf first, and its PEM private key";
            refuse(
                document,
                &format!("{key}.certificate"),
                error.to_string(),
                remedy,
            );
        }
    }
}

/// Paths that would be written by two owners.
fn sockets(document: &Document<'_>, config: &Config) {
    let trail = lexical(&config.audit.directory);
    if lexical(&config.store.path).starts_with(&trail) {
        let message =
            "the store lies inside the trail's directory, which holds segments and nothing else"
                .to_owned();
        refuse(
            document,
            "store.path",
            message,
            "put the store next to the trail's directory, not into it",
        );
    }
    let socket = config.admin.socket.as_os_str().len();
    if socket > 107 {
        let message = format!("the socket's path has {socket} bytes; the system takes 107");
        refuse(
            document,
            "admin.socket",
            message,
            "use a shorter path, like \"/run/chartgate/admin.sock\"",
        );
    }
}

/// An archive that would lie in what it archives.
fn archive(document: &Document<'_>, config: &Config) {
    let archive = config.audit.archive.as_ref();
    let Some(ArchiveTarget::Directory(target)) = archive.map(|archive| &archive.target) else {
        return;
    };
    let (target, trail) = (lexical(target), lexical(&config.audit.directory));
    if target.starts_with(&trail) || trail.starts_with(&target) {
        let message = format!(
            "the archive `{}` shares a directory with the trail",
            target.display()
        );
        let remedy = "put the archive into a directory of its own, best on a share whose files cannot be changed";
        refuse(document, "audit.archive.directory", message, remedy);
    }
}

/// Backups that would save themselves, their key, or share a directory with what is alive.
fn backups(document: &Document<'_>, config: &Config) {
    let Some(backup) = &config.backup else { return };
    let target = match &backup.target {
        BackupTarget::Directory(target) => Some(lexical(target)),
        BackupTarget::S3(_) => None,
    };
    let meets = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let taken = [&config.audit.directory, &config.policy.directory].map(|path| lexical(path));
    if let Some(target) = target
        .as_deref()
        .filter(|target| taken.iter().any(|own| meets(own, target)))
    {
        let message = format!(
            "the backup target `{}` shares a directory with what it saves",
            target.display()
        );
        let remedy = "put backups into a directory of their own, best on another disk or host";
        refuse(document, "backup.target", message, remedy);
    }
    if [&config.audit.master_key, &config.store.key].contains(&&backup.key) {
        let message = "the backup key is a key of what is backed up".to_owned();
        let remedy = "give backups a key of their own: `chartgate init` makes one";
        refuse(document, "backup.key", message, remedy);
    }
    for (index, source) in backup.sources.iter().enumerate() {
        let BackupContent::Directory(directory) = &source.content else {
            continue;
        };
        let directory = lexical(directory);
        let key = format!("backup.source[{index}].directory");
        if target
            .as_deref()
            .is_some_and(|target| meets(target, &directory))
        {
            let message = format!(
                "the source `{}` and the backup target lie inside each other",
                source.name
            );
            refuse(
                document,
                &key,
                message,
                "a backup that saves the backups never ends: separate them",
            );
        }
        let keys: [&Path; 4] = [
            &backup.key,
            &config.audit.master_key,
            &config.audit.signing_key,
            &config.store.key,
        ];
        if keys.iter().any(|key| lexical(key).starts_with(&directory)) {
            // SECURITY: a backup that holds its key opens itself; one that holds the others gives the trail away with it.
            let message = format!("the source `{}` holds private keys", source.name);
            refuse(
                document,
                &key,
                message,
                "keep keys out of backups; their recovery files are saved anyway",
            );
        }
    }
}

/// The path without `.` and `..`, absolute.
fn lexical(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}
