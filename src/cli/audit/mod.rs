//! `chartgate audit`: reading and verifying the trail.

pub mod archive;
mod astray;
pub mod check_proof;
pub mod export;
pub mod hold;
pub mod prove;
pub mod query;
pub mod reindex;
pub mod retention;
pub mod show;
pub mod verify;

use clap::Subcommand;

use super::console::{Console, Failure};
use crate::clock::SharedClock;

/// Ask, export, prove, verify, archive and keep the trail.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum AuditCommand {
    Query(query::QueryArgs),
    Export(export::ExportArgs),
    /// The archive of the trail: bring it up to date, list, verify, restore.
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// Legal holds: what may not be removed, however old it is.
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    Reindex(reindex::ReindexArgs),
    Retention(retention::RetentionArgs),
    Show(show::ShowArgs),
    Prove(prove::ProveArgs),
    CheckProof(check_proof::CheckProofArgs),
    Verify(verify::VerifyArgs),
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    command: &AuditCommand,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        AuditCommand::Query(args) => query::run(args, console, clock),
        AuditCommand::Export(args) => export::run(args, console, clock),
        AuditCommand::Archive(command) => archive::run(command, console, clock),
        AuditCommand::Hold(command) => hold::run(command, console, clock),
        AuditCommand::Reindex(args) => reindex::run(args, console, clock),
        AuditCommand::Retention(args) => retention::run(args, console, clock),
        AuditCommand::Show(args) => show::run(args, console, clock),
        AuditCommand::Prove(args) => prove::run(args, console, clock),
        AuditCommand::CheckProof(args) => check_proof::run(args, console),
        AuditCommand::Verify(args) => verify::run(args, console, clock),
    }
}

#[cfg(test)]
mod evidence;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use crate::cli::console::testing::Captured;
    use crate::cli::{Exit, run as command};
    use crate::clock::SystemClock;

    pub(super) fn call(line: &[&str]) -> Captured {
        let line: Vec<&str> = std::iter::once("chartgate")
            .chain(line.iter().copied())
            .collect();
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    /// A directory as `init` makes it, with a small trail and this user as operator.
    pub(super) fn initialised(directory: &Path) -> String {
        let shown = directory.display().to_string();
        assert_eq!(call(&["init", &shown]).exit, Exit::Fine);
        let secret = directory.join("secrets/client_secret");
        fs::write(&secret, "s3cret\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let file = directory.join("chartgate.toml");
        let uid = rustix::process::geteuid().as_raw();
        let text = fs::read_to_string(&file).unwrap();
        let text = text
            .replace("0 = \"root\"", &format!("{uid} = \"alice\""))
            .replace("# segment_bytes = \"64MiB\"", "segment_bytes = \"1MiB\"")
            .replace("# reserve_bytes = \"256MiB\"", "reserve_bytes = \"2MiB\"");
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    pub(super) fn segments(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory.join("data/trail/segments")).unwrap();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    #[test]
    fn a_reading_is_on_record_and_the_trail_is_proven() {
        let temporary = tempfile::tempdir().unwrap();
        let config = initialised(temporary.path());
        let first = call(&["audit", "show", "--config", &config]);
        assert_eq!(first.exit, Exit::Fine, "{}", first.err);
        let second = call(&["audit", "show", "--config", &config, "--json"]);
        let readings = second
            .out
            .lines()
            .filter(|line| line.contains("\"alice\""))
            .count();
        assert_eq!(readings, 2, "{}", second.out);
        let first: serde_json::Value =
            serde_json::from_str(second.out.lines().next().unwrap()).unwrap();
        let id = first["entry"]["id"].as_str().unwrap();
        let one = call(&["audit", "show", id, "--config", &config, "--json"]);
        assert_eq!(one.out.lines().count(), 1, "{}{}", one.out, one.err);
        assert!(one.out.contains(id), "{}", one.out);
        let twice = ["audit", "show", id, "--request", id, "--config", &config];
        assert_eq!(call(&twice).exit, Exit::Configuration);

        let intact = call(&["audit", "verify", "--config", &config]);
        assert_eq!(intact.exit, Exit::Fine, "{}{}", intact.out, intact.err);
        assert!(intact.out.contains("intact up to record"), "{}", intact.out);
        let path = |name: &str| temporary.path().join(name).display().to_string();
        let (trail, key, witness) = (
            path("data/trail"),
            path("keys/signing.pub"),
            path("witness/checkpoints"),
        );
        let public = [
            "audit",
            "verify",
            "--dir",
            &trail,
            "--key",
            &key,
            "--witness",
            &witness,
            "--json",
        ];
        let report: serde_json::Value = serde_json::from_str(&call(&public).out).unwrap();
        assert_eq!(report["intact"], true, "{report}");
        assert_eq!(report["newest_witnessed"], report["last"], "{report}");
    }

    #[test]
    fn an_altered_or_cut_trail_is_found() {
        let temporary = tempfile::tempdir().unwrap();
        let config = initialised(temporary.path());
        for _ in 0..2 {
            assert_eq!(
                call(&["audit", "show", "--config", &config]).exit,
                Exit::Fine
            );
        }
        let newest = segments(temporary.path()).pop().unwrap();
        let whole = fs::read(&newest).unwrap();
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        fs::write(&newest, &altered).unwrap();
        let found = call(&["audit", "verify", "--config", &config]);
        assert_eq!(found.exit, Exit::Failed);
        assert!(
            found
                .out
                .contains("NOT INTACT: the first record in doubt is"),
            "{}",
            found.out
        );

        fs::remove_file(&newest).unwrap();
        let found = call(&["audit", "verify", "--config", &config]);
        assert_eq!(found.exit, Exit::Failed);
        assert!(found.out.contains("PROBLEM record"), "{}", found.out);

        fs::write(&newest, whole).unwrap();
        // A witness that was cleared proves nothing, and must not pass for none.
        fs::write(temporary.path().join("witness/checkpoints"), "hello\n").unwrap();
        let found = call(&["audit", "verify", "--config", &config, "--json"]);
        assert_eq!(found.exit, Exit::Failed, "{}", found.out);
        assert!(
            found.out.contains("it holds no checkpoint of this trail"),
            "{}",
            found.out
        );
        fs::remove_file(temporary.path().join("witness/checkpoints")).unwrap();
        let found = call(&["audit", "verify", "--config", &config]);
        assert_eq!(found.exit, Exit::Failed);
        assert!(
            found.out.contains("NOT PROVEN: a witness is missing"),
            "{}",
            found.out
        );
    }

    #[test]
    fn where_no_gateway_runs_the_trail_answers_all_the_same_and_on_record() {
        let temporary = tempfile::tempdir().unwrap();
        let config = initialised(temporary.path());
        let file = temporary.path().join("events.ndjson");
        let output = file.display().to_string();
        let answered = |line: &[&str]| {
            let ended = call(&[line, &["--config", &config]].concat());
            assert_eq!(ended.exit, Exit::Fine, "{line:?} {}", ended.err);
            ended
        };
        let query = answered(&["audit", "query", "--user", "alice", "--format", "csv"]);
        assert!(query.out.starts_with("time,seq,kind,"), "{}", query.out);
        assert!(
            query.out.contains("command=query"),
            "its own asking: {}",
            query.out
        );
        let export = answered(&["audit", "export", "--format", "fhir", "--output", &output]);
        let sum = fs::read_to_string(temporary.path().join("events.ndjson.sha256")).unwrap();
        assert!(sum.ends_with("  events.ndjson\n"), "{sum}");
        assert!(
            export.err.contains(sum.split(' ').next().unwrap()),
            "{}",
            export.err
        );
        assert!(fs::read_to_string(&file).unwrap().contains("110101"));
        let activity = answered(&["report", "activity"]);
        assert!(
            activity.out.contains("audit-exported 1"),
            "{}",
            activity.out
        );
        let retention = answered(&["audit", "retention"]);
        assert!(
            retention.out.contains("kept for 6 calendar years"),
            "{}",
            retention.out
        );
        let reindexed = answered(&["audit", "reindex"]);
        assert!(reindexed.out.contains("indexed"), "{}", reindexed.out);
        assert!(reindexed.err.contains("100%"), "{}", reindexed.err);
        let only = call(&["audit", "reindex", "--only", "77", "--config", &config]);
        assert_eq!(only.exit, Exit::Failed);
        assert!(
            only.err.contains("no closed segment is `77`"),
            "{}",
            only.err
        );
        let found = answered(&[
            "audit",
            "query",
            "--event",
            "index-rebuilt",
            "--format",
            "json",
        ]);
        assert_eq!(found.out.lines().count(), 1, "{}", found.out);
        let apart = call(&[
            "audit",
            "export",
            "--format",
            "jsonl",
            "--outcome",
            "cut",
            "--config",
            &config,
        ]);
        assert_eq!(apart.exit, Exit::Configuration);
        let again = call(&[
            "audit", "export", "--format", "csv", "--output", &output, "--config", &config,
        ]);
        assert_eq!(again.exit, Exit::Configuration, "{}", again.err);
        let sorted = call(&["audit", "query", "--sort", "colour", "--config", &config]);
        assert_eq!(sorted.exit, Exit::Configuration);
        assert!(sorted.err.contains("bytes_out"), "{}", sorted.err);
    }

    #[test]
    fn fewer_years_than_the_law_asks_for_are_a_problem() {
        let temporary = tempfile::tempdir().unwrap();
        let config = initialised(temporary.path());
        let text = fs::read_to_string(&config).unwrap();
        fs::write(
            &config,
            text.replace("# retention_years = 6", "retention_years = 5"),
        )
        .unwrap();
        let refused = call(&["check", "--offline", "--config", &config]);
        assert_eq!(refused.exit, Exit::Configuration);
        assert!(refused.out.contains("164.316(b)(2)(i)"), "{}", refused.out);
        // What only reads goes on, with the years that the law asks for.
        let listed = call(&["audit", "retention", "--config", &config]);
        assert!(
            listed.out.contains("kept for 6 calendar years"),
            "{}",
            listed.out
        );
    }

    #[test]
    fn without_a_gateway_nothing_is_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let config = initialised(temporary.path());
        let captured = call(&["audit", "show", "--config", &config, "--follow"]);
        assert_eq!(captured.exit, Exit::Failed);
        assert!(
            captured.err.contains("the gateway is not running"),
            "{}",
            captured.err
        );
        assert!(!temporary.path().join("data/trail").exists());
    }
}
