//! What a disk in memory holds, apart from what of it is durable, and what goes wrong with it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Injection, Survival};
use crate::audit::log::waiting::lock;

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) dirty: Vec<Change>,
}

impl Inode {
    /// What a crash leaves of it.
    pub(super) fn after_crash(&self, survival: Survival) -> Self {
        let mut durable = self.durable.clone();
        let count = self.dirty.len();
        for (index, change) in self.dirty.iter().enumerate() {
            let last = if index.saturating_add(1) == count {
                Last::Yes
            } else {
                Last::No
            };
            change.apply_part(&mut durable, survival, last);
        }
        Self {
            live: durable.clone(),
            durable,
            dirty: Vec::new(),
        }
    }
}

impl Change {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Size(size) => to.resize(*size, 0),
            Self::Write { offset, bytes } => put(to, *offset, bytes),
        }
    }

    fn apply_part(&self, to: &mut Vec<u8>, survival: Survival, last: Last) {
        match (survival, self) {
            (Survival::Nothing, _) => {}
            (Survival::Prefix, Self::Write { offset, bytes }) if last == Last::Yes => {
                put(
                    to,
                    *offset,
                    bytes.get(..bytes.len() / 2).unwrap_or_default(),
                );
            }
            (Survival::Sectors { odd }, Self::Write { offset, bytes }) => {
                for (index, byte) in bytes.iter().enumerate() {
                    let at = offset.saturating_add(index);
                    if (at / 512 % 2 == 1) == odd {
                        put(to, at, std::slice::from_ref(byte));
                    }
                }
            }
            (Survival::All | Survival::Prefix, _) | (Survival::Sectors { .. }, Self::Size(_)) => {
                self.apply(to);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    Yes,
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(room) = to.get_mut(offset..end) {
        room.copy_from_slice(bytes);
    }
}

/// What an operation needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Space,
    Sync,
}

/// What is wrong until somebody repairs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    Broken,
    Full,
    Hanging,
    ReadOnly,
}

impl Ill {
    const fn of(injection: Injection) -> Option<Self> {
        match injection {
            Injection::Broken => Some(Self::Broken),
            Injection::Full => Some(Self::Full),
            Injection::Hang => Some(Self::Hanging),
            Injection::ReadOnly => Some(Self::ReadOnly),
            Injection::CrashBefore | Injection::CrashAfter | Injection::Fail => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) operations: u64,
    pub(super) plan: Option<(u64, Injection)>,
    pub(super) crashed: bool,
    pub(super) ill: Option<Ill>,
    /// An operation hangs.
    pub(super) held: bool,
    pub(super) free: u64,
    pub(super) locked: Vec<PathBuf>,
    /// Syncs of a file whose sync had failed.
    pub(super) resynced: u64,
}

impl Disk {
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(crash()) } else { Ok(()) }
    }

    /// Whether anything may be changed at all.
    pub(super) fn writable(&self) -> io::Result<()> {
        self.alive()?;
        match self.ill {
            Some(Ill::ReadOnly) => Err(Errno::ROFS.into()),
            Some(Ill::Broken | Ill::Full | Ill::Hanging) | None => Ok(()),
        }
    }

    pub(super) fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn crash() -> io::Error {
    io::Error::other("the machine has stopped")
}

/// The disk, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Machine {
    disk: Mutex<Disk>,
    moved: Condvar,
}

impl Machine {
    pub(super) fn new(disk: Disk) -> Self {
        Self {
            disk: Mutex::new(disk),
            moved: Condvar::new(),
        }
    }

    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// Counts an operation that changes something, and injects what is planned for it.
    pub(super) fn change<T>(
        &self,
        kind: Kind,
        act: impl FnOnce(&mut Disk) -> io::Result<T>,
        lose: impl FnOnce(&mut Disk),
    ) -> io::Result<T> {
        let mut disk = self.disk();
        disk.alive()?;
        disk.operations = disk.operations.saturating_add(1);
        let planned = disk.plan.filter(|(at, _)| *at == disk.operations);
        match planned.map(|(_, injection)| injection) {
            Some(Injection::CrashBefore) => {
                disk.crashed = true;
                return Err(crash());
            }
            Some(Injection::CrashAfter) => {
                let _done = act(&mut disk);
                disk.crashed = true;
                return Err(crash());
            }
            Some(Injection::Fail) => {
                lose(&mut disk);
                return Err(Errno::IO.into());
            }
            Some(
                lasting @ (Injection::Broken
                | Injection::Full
                | Injection::Hang
                | Injection::ReadOnly),
            ) => disk.ill = Ill::of(lasting),
            None => {}
        }
        while disk.ill == Some(Ill::Hanging) {
            disk.held = true;
            self.moved.notify_all();
            let woken = self.moved.wait(disk);
            disk = woken.unwrap_or_else(PoisonError::into_inner);
        }
        match disk.ill {
            Some(Ill::Broken) => {
                lose(&mut disk);
                Err(Errno::IO.into())
            }
            Some(Ill::ReadOnly) => {
                lose(&mut disk);
                Err(Errno::ROFS.into())
            }
            Some(Ill::Full) if kind == Kind::Space => Err(Errno::NOSPC.into()),
            Some(Ill::Full | Ill::Hanging) | None => act(&mut disk),
        }
    }

    /// From now on this is wrong.
    pub(super) fn begin(&self, injection: Injection) {
        self.disk().ill = Ill::of(injection);
        self.moved.notify_all();
    }

    /// Waits until an operation hangs.
    pub(super) fn wait_until_held(&self) {
        let mut disk = self.disk();
        while !disk.held {
            let woken = self.moved.wait(disk);
            disk = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends what is wrong from now on.
    pub(super) fn repair(&self) {
        let mut disk = self.disk();
        disk.ill = None;
        disk.held = false;
        disk.plan = None;
        drop(disk);
        self.moved.notify_all();
    }
}
