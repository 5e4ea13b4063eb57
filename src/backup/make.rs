//! Making a backup: what changed is sealed and stored, what did not is referred to, and the manifest comes last.
//!
//! *Never*: a manifest before everything that it names is stored; Chartgate's own without its trail.
//! *On failure*: a source that fails leaves its reason in the manifest; anything else leaves no manifest.

use std::collections::HashMap;
use std::fs::File as OpenFile;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::collect::{self, Content, Item};
use super::command;
use super::error::BackupError;
use super::manifest::{File, Link, Manifest, TrailEnd};
use super::seal::{self, Digests, Kind, Sealing};
use super::target::fresh_directory;
use super::vault::{Kept, Vault};
use crate::audit::log::{LogStatus, SigningKey};
use crate::clock::SharedClock;
use crate::config::{Backup, BackupContent, BackupSource, Config};

/// What a backup is made from.
pub(super) struct Maker<'m> {
    /// The configuration.
    pub(super) config: &'m Config,
    /// Its part about backups.
    pub(super) backup: &'m Backup,
    /// Where it goes.
    pub(super) vault: &'m Vault,
    /// Who signs it.
    pub(super) signer: &'m SigningKey,
    /// Where objects are prepared, where the target has no place for it.
    pub(super) spool: PathBuf,
    /// The backup that must be the newest, where there must be one.
    pub(super) expected: Option<Link>,
    /// Time.
    pub(super) clock: SharedClock,
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// Its manifest.
    pub(super) kept: Kept,
    /// Bytes that had to be stored; the rest was there already.
    pub(super) stored: u64,
}

struct Run<'m> {
    maker: &'m Maker<'m>,
    spool: PathBuf,
    known: HashMap<String, File>,
    files: Vec<File>,
    problems: Vec<String>,
    stored: u64,
}

impl Maker<'_> {
    /// Makes a backup with `store` as the copy of the store; `status` says how far the trail is durable.
    pub(super) fn make(
        &self,
        store: &Path,
        status: impl Fn() -> LogStatus,
    ) -> Result<Made, BackupError> {
        let time = self.clock.now();
        let spool = self
            .vault
            .target
            .spool()
            .unwrap_or_else(|| self.spool.join("objects"));
        fresh_directory(&spool)?;
        let mut run = Run {
            maker: self,
            spool: spool.clone(),
            known: HashMap::new(),
            files: Vec::new(),
            problems: Vec::new(),
            stored: 0,
        };
        let previous = run.previous()?;
        for item in collect::checkpoints(self.config) {
            run.item(&item)?;
        }
        let status = status();
        run.items(collect::trail(self.config, status.sequence)?)?;
        run.item(&Item {
            path: "store.redb".to_owned(),
            content: Content::File(store.to_owned(), None),
        })?;
        run.items(collect::rest(
            self.config,
            self.backup,
            &self.vault.verifier,
        )?)?;
        for source in &self.backup.sources {
            if let Err(error) = run.source(source) {
                run.problems.push(error.to_string());
            }
        }
        let manifest = Manifest {
            id: name(time)?,
            number: previous
                .as_ref()
                .map_or(1, |kept| kept.manifest.number.saturating_add(1)),
            time,
            node: self.config.audit.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            previous: previous.as_ref().map(Kept::link),
            trail: TrailEnd {
                sequence: status.sequence,
                head: status.head.to_string(),
                checkpoint: status.checkpoint.map(|(sequence, _)| sequence),
            },
            files: std::mem::take(&mut run.files),
            problems: std::mem::take(&mut run.problems),
        };
        let kept = run.store_manifest(manifest)?;
        let stored = run.stored;
        std::fs::remove_dir_all(&spool).map_err(BackupError::io(&spool))?;
        Ok(Made { kept, stored })
    }
}

impl Run<'_> {
    /// The newest backup at the target, whose objects need not be stored again.
    fn previous(&mut self) -> Result<Option<Kept>, BackupError> {
        let vault = self.maker.vault;
        let mut ids = vault.ids()?;
        let expected = self.maker.expected.as_ref();
        if let Some(expected) = expected
            && !ids.contains(&expected.id)
        {
            self.problems.push(format!(
                "the backup {} is gone from the target: it was rolled back, or emptied",
                expected.id
            ));
        }
        while let Some(id) = ids.pop() {
            match vault.manifest(&id) {
                Ok(kept) => {
                    for file in &kept.manifest.files {
                        self.known.insert(file.object.clone(), file.clone());
                    }
                    return Ok(Some(kept));
                }
                // A damaged one must not keep the next from being made.
                Err(error @ (BackupError::Altered { .. } | BackupError::Sealed { .. })) => {
                    self.problems.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn items(&mut self, (items, problems): (Vec<Item>, Vec<String>)) -> Result<(), BackupError> {
        self.problems.extend(problems);
        items.iter().try_for_each(|item| self.item(item))
    }

    fn item(&mut self, item: &Item) -> Result<(), BackupError> {
        match &item.content {
            Content::Text(text) => self.stream(&item.path, |to| {
                to.write_all(text.as_bytes())
                    .map_err(|error| error.to_string())
            }),
            Content::File(from, limit) => self.file(&item.path, from, *limit),
        }
    }

    fn file(&mut self, path: &str, from: &Path, limit: Option<u64>) -> Result<(), BackupError> {
        let opened = || {
            let file = OpenFile::open(from).map_err(BackupError::io(from))?;
            Ok::<_, BackupError>(file.take(limit.unwrap_or(u64::MAX)))
        };
        let (_, plain) = seal::measure(opened()?).map_err(BackupError::io(from))?;
        let object = self.name(&plain)?;
        if self.refer(path, &object)? {
            return Ok(());
        }
        let mut content = opened()?;
        self.stream(path, |to| {
            std::io::copy(&mut content, to)
                .map(drop)
                .map_err(|error| format!("`{}`: {error}", from.display()))
        })
    }

    fn source(&mut self, source: &BackupSource) -> Result<(), BackupError> {
        let to = format!("sources/{}", source.name);
        match &source.content {
            BackupContent::Directory(directory) => {
                let found = collect::files_below(directory, &to);
                self.items(found.map_err(|error| BackupError::Source {
                    name: source.name.clone(),
                    reason: error.to_string(),
                })?)
            }
            BackupContent::Command { command, timeout } => self
                .stream(&format!("{to}/output"), |out| {
                    command::run(command, *timeout, out)
                }),
        }
    }

    /// Seals what `write` writes, and stores it unless it is there already.
    fn stream(
        &mut self,
        path: &str,
        write: impl FnOnce(&mut Sealing<OpenFile>) -> Result<(), String>,
    ) -> Result<(), BackupError> {
        let prepared = self.spool.join("object");
        let failed = |reason: String| BackupError::Source {
            name: path.to_owned(),
            reason,
        };
        let mut sealing = self.begin(&prepared, Kind::Object)?;
        write(&mut sealing).map_err(failed)?;
        let digests = end(sealing, &prepared)?;
        let object = self.name(&digests.plain)?;
        if self.refer(path, &object)? {
            return Ok(());
        }
        self.put(&object, &prepared, &digests)?;
        let file = File::new(path.to_owned(), object.clone(), digests);
        self.known.insert(object, file.clone());
        self.files.push(file);
        Ok(())
    }

    fn store_manifest(&mut self, manifest: Manifest) -> Result<Kept, BackupError> {
        let note = manifest.sign(self.maker.signer)?;
        let prepared = self.spool.join("manifest");
        let mut sealing = self.begin(&prepared, Kind::Manifest)?;
        sealing
            .write_all(note.as_bytes())
            .map_err(BackupError::io(&prepared))?;
        let digests = end(sealing, &prepared)?;
        let name = Manifest::place(&manifest.id);
        if self.maker.vault.target.size_of(&name)?.is_some() {
            return Err(BackupError::altered(
                &name,
                "there is one of this name already",
            ));
        }
        self.put(&name, &prepared, &digests)?;
        Ok(Kept {
            digest: crate::outbound::sigv4::sha256(note.as_bytes()),
            manifest,
        })
    }

    fn begin(&self, prepared: &Path, kind: Kind) -> Result<Sealing<OpenFile>, BackupError> {
        let file = OpenFile::create(prepared).map_err(BackupError::io(prepared))?;
        Sealing::begin(file, &self.maker.vault.keys, kind).map_err(sealed(prepared))
    }

    fn name(&self, plain: &str) -> Result<String, BackupError> {
        let keys = &self.maker.vault.keys;
        keys.name(plain)
            .map_err(sealed(Path::new("an object's name")))
    }

    /// Refers to an object that an earlier backup stored, if it is still there whole in length.
    fn refer(&mut self, path: &str, object: &str) -> Result<bool, BackupError> {
        let Some(known) = self.known.get(object) else {
            return Ok(false);
        };
        if self.maker.vault.target.size_of(object)? != Some(known.sealed_size) {
            return Ok(false);
        }
        self.files.push(File {
            path: path.to_owned(),
            ..known.clone()
        });
        Ok(true)
    }

    fn put(&mut self, name: &str, prepared: &Path, digests: &Digests) -> Result<(), BackupError> {
        self.maker.vault.target.put(name, prepared, digests)?;
        self.stored = self.stored.saturating_add(digests.sealed_size);
        Ok(())
    }
}

fn end(sealing: Sealing<OpenFile>, prepared: &Path) -> Result<Digests, BackupError> {
    let (file, digests) = sealing.finish().map_err(BackupError::io(prepared))?;
    file.sync_all().map_err(BackupError::io(prepared))?;
    Ok(digests)
}

fn sealed(what: &Path) -> impl FnOnce(seal::SealError) -> BackupError {
    let name = what.display().to_string();
    move |source| BackupError::Sealed { name, source }
}

/// A name that sorts by time, and is nobody else's.
fn name(time: jiff::Timestamp) -> Result<String, BackupError> {
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_unspecified| {
        BackupError::Refused("the system gives no random numbers".to_owned())
    })?;
    Ok(format!(
        "{}-{}",
        time.strftime("%Y%m%dT%H%M%S%3fZ"),
        hex::encode(random)
    ))
}
