//! Key files and recovery files, whole, exposed and altered.

use std::os::unix::fs::PermissionsExt;

use super::super::code::RecoveryCode;
use super::*;

#[test]
fn a_key_survives_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let key = MasterKey::generate().unwrap();
    key.write(&path).unwrap();
    let read = MasterKey::read(&path).unwrap();
    assert_eq!(read.id(), key.id());
    assert_eq!(read.key.expose(), key.key.expose());
    assert!(matches!(key.write(&path), Err(KeyError::Io { .. })));
    assert_eq!(format!("{:?}", key.key), "[redacted]");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    MasterKey::generate().unwrap().write(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o644] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = MasterKey::read(&path).unwrap_err();
        assert!(matches!(refused, KeyError::Exposed { mode: found, .. } if found == mode));
    }
}

#[test]
fn anything_else_is_not_a_key() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("empty", ""),
        ("header", "chartgate-master-key-v1\n"),
        ("short", "chartgate-master-key-v1\nAAAA\n"),
        ("other", "chartgate-master-recovery-v1\nAAAA\n"),
        ("no ring", "chartgate-master-key-v2\n"),
        ("no time", "chartgate-master-key-v2\nAAAA\n"),
    ] {
        let path = dir.path().join(name);
        write_private(&path, text.as_bytes()).unwrap();
        let refused = MasterKey::read(&path).unwrap_err();
        assert!(
            matches!(refused, KeyError::Malformed { .. }),
            "{name}: {refused}"
        );
    }
}

#[test]
fn the_recovery_code_brings_the_key_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.recovery");
    let key = MasterKey::generate().unwrap();
    let code = key.write_recovery(&path).unwrap();
    let typed = RecoveryCode::parse(&code.reveal().to_lowercase().replace('-', " ")).unwrap();
    let recovered = MasterKey::recover(&path, &typed).unwrap();
    assert_eq!(recovered.key.expose(), key.key.expose());

    let other = RecoveryCode::generate().unwrap();
    let refused = MasterKey::recover(&path, &other).unwrap_err();
    assert!(matches!(refused, KeyError::Crypt { .. }));
}

#[test]
fn a_rotated_key_still_opens_and_comes_back_with_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, recovery) = (dir.path().join("master.key"), dir.path().join("m.recovery"));
    let old = MasterKey::generate().unwrap();
    old.write(&path).unwrap();
    old.write_recovery(&recovery).unwrap();
    let (old_id, wrapped) = (old.id().to_string(), old.wrap(b"aad", &[7; 32]).unwrap());

    let now = "2026-11-25T09:00:00Z".parse().unwrap();
    let new = old.succeeded(now).unwrap();
    assert_ne!(new.id().to_string(), old_id);
    let code = RecoveryCode::generate().unwrap();
    new.replace_recovery(&recovery, &code).unwrap();
    new.replace(&path).unwrap();
    let read = MasterKey::read(&path).unwrap();
    assert_eq!(read.created(), Some(now));
    let recovered = MasterKey::recover(&recovery, &code).unwrap();
    for ring in [read, recovered] {
        let ids: Vec<KeyId> = ring.all().map(MasterKey::id).collect();
        assert_eq!(ids, new.all().map(MasterKey::id).collect::<Vec<_>>());
        assert!(ring.opens(&old_id));
        let opened = ring.unwrap(&old_id, b"aad", &wrapped).unwrap();
        assert_eq!(opened.expose(), &[7; 32]);
        let id = ring.id().to_string();
        assert!(ring.unwrap(&id, b"aad", &wrapped).is_err());
    }
    assert_eq!(
        MasterKey::recovered_by(&recovery).unwrap(),
        new.id().to_string()
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
