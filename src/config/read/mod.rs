//! Reads a whole document into a [`Config`], section by section.

mod adt;
mod alarm;
mod api;
mod archive;
mod backup;
mod break_glass;
mod care;
mod client;
mod client_auth;
mod emergency;
mod emr;
mod identity;
mod inspection;
mod issuer;
mod keys;
mod links;
mod lock;
mod provision;
mod refresh;
mod s3;
mod second_factor;
mod segmentation;
mod server;
mod sessions;
mod sink;
mod sink_patients;
mod step_up;
mod timekeeping;
mod trail;
mod training;
mod witness;

use std::path::PathBuf;

use super::secrets;
use super::section::Section;
use super::settings::Settings;
use super::source::{Document, says};
use super::{Admin, Backup, Certificate, Config, Profiles};

/// Reads every section; what is wrong is noted in the document.
///
/// `None` where something required is missing or unreadable: a configuration with a hole does not exist.
pub(super) fn config(document: &Document<'_>) -> Option<Config> {
    let mut root = Section::root(document);
    let server = server::server(&mut root);
    let certificates = certificates(&mut root);
    let emrs = emr::emrs(&mut root);
    let identity = identity::identity(&mut root, emrs.as_deref());
    let policy = trail::policy(&mut root);
    let limits = trail::limits(&mut root);
    let audit = trail::audit(&mut root);
    let store = trail::store(&mut root);
    let clock = timekeeping::timekeeping(&mut root);
    let break_glass = break_glass::break_glass(&mut root);
    let training = training::training(&mut root);
    let provisioning = provision::provisioning(&mut root, identity.as_ref());
    let care = care::care(&mut root, identity.as_ref());
    let patient_links = links::patient_links(&mut root);
    let update = trail::update(&mut root);
    let backup = backup::backup(&mut root);
    let segmentation = segmentation::segmentation(&mut root, emrs.as_deref());
    let inspection = inspection::inspection(&mut root);
    let admin = server::admin(&mut root);
    let client = client::client(&mut root);
    let detection = alarm::detection(&mut root);
    let notify = alarm::notify(&mut root);
    let log = server::log(&mut root);
    let home = keys::keys(&mut root);
    root.done();
    let (mut audit, mut store, mut backup) = (audit?, store?, backup);
    audit.master_key = audit.master_key.sealed_by(home.clone());
    store.key = store.key.sealed_by(home.clone());
    backup = backup.map(|backup| Backup {
        key: backup.key.clone().sealed_by(home),
        ..backup
    });
    Some(Config {
        server: server?,
        certificates: certificates?,
        identity: identity?,
        emrs: emrs?,
        policy: policy?,
        limits,
        audit,
        store,
        clock,
        break_glass,
        training,
        provisioning,
        care,
        patient_links,
        update,
        backup,
        segmentation,
        inspection,
        admin: admin?,
        client,
        detection: detection?,
        notify: notify?,
        log,
        settings: Settings::of(document),
    })
}

/// Reads `[admin]` alone; what is wrong is noted in the document.
pub(super) fn admin(document: &Document<'_>) -> Option<Admin> {
    server::admin(&mut Section::root(document))
}

/// Reads what says how requests are understood; what is wrong is noted in the document.
pub(super) fn profiles(document: &Document<'_>) -> Option<Profiles> {
    let mut root = Section::root(document);
    let emrs = emr::profiles(&mut root);
    let policy = trail::policy(&mut root);
    let inspection = inspection::inspection(&mut root);
    Some(Profiles {
        directory: policy?.directory,
        emrs: emrs?,
        inspection,
    })
}

/// `[[certificate]]`
fn certificates(root: &mut Section<'_>) -> Option<Vec<Certificate>> {
    let sections = root.tables("certificate");
    if sections.is_empty() {
        let remedy = "add `[[certificate]]` with `chain = \"certs/server.pem\"` and `key = \"certs/server.key\"`";
        root.error(
            "certificate",
            says("there is no certificate; HTTPS needs one", remedy),
        );
    }
    all(sections.into_iter().map(certificate))
}

/// The two keys of a certificate, wherever one is configured.
fn certificate(mut section: Section<'_>) -> Option<Certificate> {
    let chain = file(&mut section, "chain", "chain = \"certs/server.pem\"");
    let key = secret_file(&mut section, "key", "key = \"certs/server.key\"");
    section.done();
    Some(Certificate {
        chain: chain?,
        key: key?,
    })
}

/// A path, relative to the configuration file.
fn path(section: &mut Section<'_>, key: &'static str, example: &str) -> Option<PathBuf> {
    let text: String = section.required(key, example)?;
    Some(section.document().source().resolve(&text))
}

/// A path whose file must exist.
fn file(section: &mut Section<'_>, key: &'static str, example: &str) -> Option<PathBuf> {
    let path = path(section, key, example)?;
    existing(section, key, path)
}

/// A path whose file must exist, if it is written at all.
fn optional_file(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let text: String = section.optional(key)?;
    let path = section.document().source().resolve(&text);
    existing(section, key, path)
}

fn existing(section: &Section<'_>, key: &str, path: PathBuf) -> Option<PathBuf> {
    match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => {
            section.document().names_file(section.key(key));
            Some(path)
        }
        Ok(_) => {
            let message = format!("`{}` is not a file", path.display());
            section.error(key, says(message, "name the file itself"));
            None
        }
        Err(error) => {
            let message = format!("`{}` cannot be read: {error}", path.display());
            section.error(key, says(message, secrets::remedy(&error)));
            None
        }
    }
}

/// A path whose file holds a secret: it must exist and be closed to others.
///
/// One that is open to others keeps a gateway from starting; it does not keep an assessment from naming it beside
/// everything else.
fn secret_file(section: &mut Section<'_>, key: &'static str, example: &str) -> Option<PathBuf> {
    let path = file(section, key, example)?;
    if let Err(said) = secrets::guard(&path) {
        section.error(key, said);
    }
    Some(path)
}

/// Every item, or nothing: a list with a hole would be a shorter list than the operator wrote.
fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    // Each item is read before the list is judged, so that the problems of all of them are noted.
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}
