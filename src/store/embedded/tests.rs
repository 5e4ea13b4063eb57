//! Who may have the file, and a disk that breaks and is mended.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn who_has_the_file_open_already_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let _first = EmbeddedStore::open(&path).unwrap();
    let said = EmbeddedStore::open(&path).unwrap_err().to_string();
    assert!(
        said.ends_with(
            "another chartgate process has it open; is the gateway running, or just starting?"
        ),
        "{said}"
    );
}

/// A disk whose writes can be made to fail. Clones share the platter.
#[derive(Debug, Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    broken: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let bytes = self.bytes.lock().unwrap();
        let part = bytes.get(offset..offset.saturating_add(out.len()));
        out.copy_from_slice(part.ok_or_else(|| io::Error::other("out of range"))?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.bytes
            .lock()
            .unwrap()
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let offset = usize::try_from(offset).unwrap();
        let mut bytes = self.bytes.lock().unwrap();
        bytes[offset..][..data.len()].copy_from_slice(data);
        Ok(())
    }
    fn try_lock_range(
        &self,
        _start: std::ops::Bound<u64>,
        _end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        Ok(true)
    }
    fn unlock_range(
        &self,
        _start: std::ops::Bound<u64>,
        _end: std::ops::Bound<u64>,
    ) -> Result<(), redb::BackendError> {
        Ok(())
    }
}

fn on_disk(disk: &Disk) -> EmbeddedStore {
    let disk = disk.clone();
    let open = move || {
        Database::builder()
            .create_with_backend(disk.clone())
            .map_err(|source| StoreError::Unavailable(source.to_string()))
    };
    EmbeddedStore::with_opener(Box::new(open)).unwrap()
}

fn cell(byte: u8) -> Cell {
    Cell {
        expires: 9,
        sealed: vec![byte],
    }
}

#[tokio::test]
async fn a_broken_disk_is_unavailable_and_a_mended_one_works_again() {
    let disk = Disk::default();
    let store = on_disk(&disk);
    let put = |key: &str, byte| {
        store.put(
            Table::Sessions,
            key.to_owned(),
            cell(byte),
            Durability::Immediate,
        )
    };
    put("a", 1).await.unwrap();
    disk.broken.store(true, Ordering::SeqCst);
    assert!(matches!(put("b", 2).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(put("b", 2).await, Err(StoreError::Unavailable(_))));
    disk.broken.store(false, Ordering::SeqCst);
    put("c", 3).await.unwrap();
    let read = |key: &str| store.get(Table::Sessions, key.to_owned());
    assert_eq!(read("a").await.unwrap(), Some(cell(1)));
    assert_eq!(read("c").await.unwrap(), Some(cell(3)));
}

#[tokio::test]
async fn file_and_directory_belong_to_their_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state").join("store.redb");
    let store = EmbeddedStore::open(&path).unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // One process at a time.
    assert!(matches!(
        EmbeddedStore::open(&path),
        Err(StoreError::Unavailable(_))
    ));
    drop(store);
    assert!(EmbeddedStore::open(&path).is_ok());
}

#[test]
fn a_file_that_is_no_database_is_unavailable() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    std::fs::write(&path, vec![0x41; 8192]).unwrap();
    assert!(EmbeddedStore::open(&path).is_err());
}
