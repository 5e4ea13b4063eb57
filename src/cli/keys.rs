//! `chartgate keys`: which keys there are, new keys in place of old ones, and the way back to a lost one.

mod protect;
mod rotate;
mod status;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::console::{Console, Failure};
use crate::audit::log::{KeyError, MasterKey, RecoveryCode};
use crate::clock::SharedClock;

/// Show, rotate and recover keys.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum KeysCommand {
    Status(status::StatusArgs),
    Rotate(rotate::RotateArgs),
    Protect(protect::ProtectArgs),
    Recover(RecoverArgs),
}

/// Get a key back from its recovery file and the code on paper.
///
/// `chartgate init` sealed the keys of trail, store and backups into `*.recovery` files under a code that was shown
/// once; `chartgate keys rotate` renews both. With file and code, this writes the key again, readable for its owner only; it never overwrites a file. The code is read from standard
/// input, so that it stays out of the shell's history.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate keys recover --recovery keys/master.recovery --output keys/master.key"
)]
pub struct RecoverArgs {
    /// The recovery file.
    #[arg(long, value_name = "FILE", default_value = "keys/master.recovery")]
    recovery: PathBuf,
    /// The key file to write; it must not exist.
    #[arg(long, value_name = "FILE", default_value = "keys/master.key")]
    output: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &KeysCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        KeysCommand::Status(args) => status::run(args, console, clock),
        KeysCommand::Rotate(args) => rotate::run(args, console, clock),
        KeysCommand::Protect(args) => protect::run(args, console, clock),
        KeysCommand::Recover(args) => recover(args, console),
    }
}

fn recover(args: &RecoverArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let typed = console.ask("Recovery code (eight groups of seven): ")?;
    let code = RecoveryCode::parse(&typed).map_err(Failure::of)?;
    let key = MasterKey::recover(&args.recovery, &code).map_err(|error| match error {
        KeyError::Crypt { .. } => Failure::Failed(format!(
            "the code does not open `{}`: it belongs to another key",
            args.recovery.display()
        )),
        KeyError::Code(_)
        | KeyError::Exposed { .. }
        | KeyError::Io { .. }
        | KeyError::Homeless { .. }
        | KeyError::InClear { .. }
        | KeyError::Kms { .. }
        | KeyError::Token { .. }
        | KeyError::Malformed { .. }
        | KeyError::Name(_) => Failure::of(error),
    })?;
    key.write(&args.output).map_err(Failure::of)?;
    console.line(format_args!(
        "wrote the key {} to {}",
        key.id(),
        args.output.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::console::testing::Captured;
    use super::super::{Exit, run as command};
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_code_brings_the_key_back_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let key = MasterKey::generate().unwrap();
        let code = key
            .write_recovery(&dir.path().join("master.recovery"))
            .unwrap();
        let recover = |input: &str, output: &str| {
            let (recovery, output) = (path("master.recovery"), path(output));
            let line = [
                "chartgate",
                "keys",
                "recover",
                "--recovery",
                &recovery,
                "--output",
                &output,
            ];
            Captured::run_with(input, |console| {
                command(line, console, &SystemClock::shared())
            })
        };
        let captured = recover(&code.reveal(), "master.key");
        assert_eq!(captured.exit, Exit::Fine, "{}", captured.err);
        assert_eq!(
            MasterKey::read(dir.path().join("master.key")).unwrap().id(),
            key.id()
        );
        assert!(!captured.out.contains(code.reveal().as_str()));

        let other = RecoveryCode::generate().unwrap();
        let captured = recover(&other.reveal(), "second.key");
        assert_eq!(captured.exit, Exit::Failed);
        assert!(
            captured.err.contains("belongs to another key"),
            "{}",
            captured.err
        );
        let captured = recover("AAAA", "second.key");
        assert!(captured.err.contains("too short"), "{}", captured.err);
        assert!(!dir.path().join("second.key").exists());
        let captured = recover(&code.reveal(), "master.key");
        assert_eq!(captured.exit, Exit::Failed, "it overwrote a key");
    }

    /// A directory as `init` makes it, with this user as operator; its configuration and its recovery code.
    fn initialised(directory: &std::path::Path) -> (String, String) {
        let shown = directory.display().to_string();
        let made = called(&["init", &shown]);
        assert_eq!(made.exit, Exit::Fine, "{}", made.err);
        let secret = directory.join("secrets/client_secret");
        std::fs::write(&secret, "s3cret\n").unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, closed).unwrap();
        let file = directory.join("chartgate.toml");
        let uid = rustix::process::geteuid().as_raw();
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text
            .replace("0 = \"root\"", &format!("{uid} = \"alice\""))
            .replace("# reserve_bytes = \"256MiB\"", "reserve_bytes = \"2MiB\"");
        std::fs::write(&file, text).unwrap();
        (file.display().to_string(), code_in(&made.out))
    }

    fn called(line: &[&str]) -> Captured {
        let line: Vec<&str> = std::iter::once("chartgate")
            .chain(line.iter().copied())
            .collect();
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    fn code_in(out: &str) -> String {
        let code = |line: &&str| RecoveryCode::parse(line.trim()).is_ok();
        out.lines().find(code).unwrap().trim().to_owned()
    }

    #[test]
    fn a_rotated_master_key_seals_the_trail_from_there_on_and_all_of_it_opens() {
        let dir = tempfile::tempdir().unwrap();
        let (config, first_code) = initialised(dir.path());
        let show = ["audit", "show", "--config", &config, "--json"];
        assert_eq!(called(&show).exit, Exit::Fine);
        let rotated = called(&["keys", "rotate", "master", "--config", &config]);
        assert_eq!(rotated.exit, Exit::Fine, "{}", rotated.err);
        let shown = called(&show);
        assert_eq!(shown.exit, Exit::Fine, "{}", shown.err);
        let readings = shown.out.matches("\"audit_read\"").count();
        assert_eq!(readings, 2, "records before and after the rotation open");
        assert!(shown.out.contains("\"key_rotated\""), "{}", shown.out);
        assert_eq!(
            called(&["audit", "verify", "--config", &config]).exit,
            Exit::Fine
        );

        let status = called(&["keys", "status", "--config", &config, "--json"]);
        assert_eq!(status.exit, Exit::Fine, "{}{}", status.out, status.err);
        let keys: serde_json::Value = serde_json::from_str(&status.out).unwrap();
        let master = &keys[0];
        assert_eq!(master["age_days"], 0);
        assert!(
            master["older"][0]
                .as_str()
                .unwrap()
                .contains("(2 segments)"),
            "{master}"
        );

        // The new code brings every key back, the old one none.
        let recover = |code: &str, name: &str, output: &str| {
            let recovery = dir
                .path()
                .join(format!("keys/{name}.recovery"))
                .display()
                .to_string();
            let output = dir.path().join(output).display().to_string();
            let line = [
                "chartgate",
                "keys",
                "recover",
                "--recovery",
                &recovery,
                "--output",
                &output,
            ];
            Captured::run_with(code, |console| {
                command(line, console, &SystemClock::shared())
            })
            .exit
        };
        let code = code_in(&rotated.out);
        for name in ["master", "store", "backup"] {
            assert_eq!(recover(&code, name, name), Exit::Fine, "{name}");
            assert_eq!(recover(&first_code, name, "none"), Exit::Failed, "{name}");
            let read = |path| MasterKey::read(dir.path().join(path)).unwrap();
            let ids = |key: &MasterKey| {
                key.all()
                    .map(|key| key.id().to_string())
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                ids(&read(name.to_owned())),
                ids(&read(format!("keys/{name}.key")))
            );
        }
    }

    #[test]
    fn a_rotated_store_key_opens_every_value_and_the_old_one_none() {
        use crate::store::{Durability, Store, Table};
        let dir = tempfile::tempdir().unwrap();
        let (config, _) = initialised(dir.path());
        let key = dir.path().join("keys/store.key");
        let store = dir.path().join("data/store.redb");
        let old = MasterKey::read(&key).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let clock = SystemClock::shared();
        runtime.block_on(async {
            let opened = Store::embedded(&store, &old.derive_input(), clock.clone())
                .await
                .unwrap();
            for number in 0..600 {
                let key = format!("{number}");
                let never = jiff::Timestamp::MAX;
                opened
                    .put(Table::Grants, &key, b"v", never, Durability::Relaxed)
                    .await
                    .unwrap();
            }
        });
        let rotated = called(&["keys", "rotate", "store", "--config", &config]);
        assert_eq!(rotated.exit, Exit::Fine, "{}", rotated.err);
        assert!(rotated.out.contains("601 values"), "{}", rotated.out);
        let new = MasterKey::read(&key).unwrap();
        runtime.block_on(async {
            let refused = Store::embedded(&store, &old.derive_input(), clock.clone()).await;
            assert!(refused.is_err());
            let opened = Store::embedded(&store, &new.derive_input(), clock.clone())
                .await
                .unwrap();
            for number in [0, 255, 256, 599] {
                let entry = opened
                    .get(Table::Grants, &format!("{number}"))
                    .await
                    .unwrap();
                assert_eq!(entry.unwrap().value.expose(), b"v");
            }
        });
    }

    #[test]
    fn a_key_without_a_way_back_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (config, _) = initialised(dir.path());
        std::fs::remove_file(dir.path().join("keys/store.recovery")).unwrap();
        let status = called(&["keys", "status", "--config", &config]);
        assert_eq!(status.exit, Exit::Failed);
        assert!(
            status
                .out
                .contains("NO RECOVERY FILE: `chartgate keys rotate store`"),
            "{}",
            status.out
        );
    }
}
