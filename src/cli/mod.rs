//! The command line: one variant and one file for each subcommand.
//!
//! *Never*: a result on standard error, or a complaint on standard output.
//! *On failure*: exit code 64 where configuration or command line must be put right, 1 for anything else.

pub mod audit;
pub mod backup;
pub mod breakglass;
pub mod case;
pub mod certificates;
pub mod check;
pub mod console;
pub mod demo;
pub mod detect;
pub mod disclosure;
pub mod emergency;
pub mod factor;
mod gateway;
pub mod incident;
pub mod init;
pub mod inspect;
pub mod keys;
pub mod lockdown;
pub mod notify;
mod offline;
mod output;
mod policy;
pub mod posture;
pub mod provisioning;
pub mod refusals;
pub mod report;
pub mod segmentation;
pub mod serve;
pub mod session;
pub mod status;
pub mod token;
mod trail;
pub mod training;
pub mod update;
pub mod user;
pub mod version;
pub mod witness;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::console::{Console, Failure};
use crate::clock::{SharedClock, SystemClock};

/// A security gateway in front of an EMR that can be neither modified nor replaced.
#[derive(Debug, Parser)]
#[command(
    name = "chartgate",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Start with `chartgate init`, then `chartgate check`.\n\
                  Exit codes: 0 fine; 64 the configuration or the command line is wrong; 1 anything else."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    #[command(subcommand)]
    Breakglass(breakglass::BreakglassCommand),
    #[command(subcommand)]
    Case(case::CaseCommand),
    #[command(subcommand)]
    Certificates(certificates::CertificatesCommand),
    Check(check::CheckArgs),
    Demo(demo::DemoArgs),
    #[command(subcommand)]
    Detect(detect::DetectCommand),
    #[command(subcommand)]
    Disclosure(disclosure::DisclosureCommand),
    #[command(subcommand)]
    EmergencyAccount(emergency::EmergencyCommand),
    #[command(subcommand)]
    Factor(factor::FactorCommand),
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    Init(init::InitArgs),
    Inspect(inspect::InspectArgs),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    #[command(subcommand)]
    Lockdown(lockdown::LockdownCommand),
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    Posture(posture::PostureArgs),
    #[command(subcommand)]
    Provisioning(provisioning::ProvisioningCommand),
    Refusals(refusals::RefusalsArgs),
    #[command(subcommand)]
    Report(report::ReportCommand),
    #[command(subcommand)]
    Segmentation(segmentation::SegmentationCommand),
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Session(session::SessionCommand),
    Status(status::StatusArgs),
    #[command(subcommand)]
    Token(token::TokenCommand),
    #[command(subcommand)]
    Training(training::TrainingCommand),
    #[command(subcommand)]
    Update(update::UpdateCommand),
    #[command(subcommand)]
    User(user::UserCommand),
    Version(version::VersionArgs),
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut console = Console::standard();
    run(std::env::args_os(), &mut console, &SystemClock::shared()).into()
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// The configuration or the command line must be put right.
    Configuration,
    /// Something else went wrong.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => Self::SUCCESS,
            Exit::Configuration => Self::from(64),
            Exit::Failed => Self::from(1),
        }
    }
}

/// Runs one command line.
pub fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Exit {
    let done = match CommandLine::try_parse_from(arguments) {
        Ok(CommandLine { command }) => dispatch(&command, console, clock),
        Err(error) => console.usage(&error),
    };
    match done {
        Ok(()) => Exit::Fine,
        Err(failure) => console.fail(&failure),
    }
}

fn dispatch(
    command: &Command,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    match command {
        Command::Audit(command) => audit::run(command, console, clock),
        Command::Backup(command) => backup::run(command, console, clock),
        Command::Breakglass(command) => breakglass::run(command, console),
        Command::Case(command) => case::run(command, console),
        Command::Certificates(command) => certificates::run(command, console),
        Command::Check(args) => check::run(args, console, clock),
        Command::Demo(args) => demo::run(args, console, clock),
        Command::Detect(command) => detect::run(command, console),
        Command::Disclosure(command) => disclosure::run(command, console, clock),
        Command::EmergencyAccount(command) => emergency::run(command, console),
        Command::Factor(command) => factor::run(command, console),
        Command::Incident(command) => incident::run(command, console, clock),
        Command::Init(args) => init::run(args, console, clock),
        Command::Inspect(args) => inspect::run(args, console),
        Command::Keys(command) => keys::run(command, console, clock),
        Command::Policy(command) => policy::run(command, console, clock),
        Command::Posture(args) => posture::run(args, console, clock),
        Command::Lockdown(command) => lockdown::run(command, console),
        Command::Notify(command) => notify::run(command, console),
        Command::Refusals(args) => refusals::run(args, console),
        Command::Report(command) => report::run(command, console, clock),
        Command::Segmentation(command) => segmentation::run(command, console),
        Command::Serve(args) => serve::run(args, console, clock),
        Command::Session(command) => session::run(command, console),
        Command::Status(args) => status::run(args, console),
        Command::Provisioning(command) => provisioning::run(command, console),
        Command::Token(command) => token::run(command, console),
        Command::Training(command) => training::run(command, console),
        Command::User(command) => user::run(command, console),
        Command::Update(command) => update::run(command, console, clock),
        Command::Version(args) => version::run(args, console),
        Command::Witness(command) => witness::run(command, console, clock),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::console::testing::Captured;
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    /// Every leaf command with its full name.
    fn leaves(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let children: Vec<_> = command.get_subcommands().collect();
        if children.is_empty() {
            return vec![(name.to_owned(), command.clone())];
        }
        children
            .iter()
            .flat_map(|child| leaves(child, &format!("{name} {}", child.get_name())))
            .collect()
    }

    #[test]
    fn every_help_says_what_it_does_and_gives_an_example() {
        let commands = leaves(&CommandLine::command(), "chartgate");
        assert!(commands.len() >= 8);
        for (name, mut command) in commands {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{name} has no example:\n{help}");
            assert!(
                help.contains(&format!("  {name}")),
                "the example of {name} does not call it:\n{help}"
            );
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let described = argument.get_help().is_some() || matches!(id, "help" | "version");
                assert!(described, "{name}: {id} has no help");
            }
        }
    }

    /// What is written at the arguments of commands beyond their first paragraph, by the name of the type.
    fn written(directory: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                written(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for block in text.split("\n\n") {
                let mut lines = block.lines();
                let is_args = |line: &&str| {
                    line.starts_with("pub") && line.contains("struct ") && line.contains("Args {")
                };
                let Some(named) = lines.clone().find(is_args) else {
                    continue;
                };
                let docs = lines.by_ref().map_while(|line| line.strip_prefix("///"));
                let (first, rest): (Vec<&str>, Vec<&str>) = {
                    let docs: Vec<&str> = docs.collect();
                    let end = docs.iter().position(|line| line.is_empty());
                    let end = end.unwrap_or(docs.len());
                    (docs[..end].to_vec(), docs[end..].to_vec())
                };
                if !first.is_empty() && !rest.is_empty() {
                    found.push((named.to_owned(), bare(&rest.concat())));
                }
            }
        }
    }

    fn bare(text: &str) -> String {
        text.split_whitespace().collect()
    }

    #[test]
    fn what_is_written_about_a_command_is_shown() {
        let mut found = Vec::new();
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli");
        written(std::path::Path::new(sources), &mut found);
        assert!(found.len() > 50, "{}", found.len());
        let commands = leaves(&CommandLine::command(), "chartgate");
        let helps: Vec<String> = commands
            .into_iter()
            .map(|(_, mut command)| bare(&command.render_long_help().to_string()))
            .collect();
        // A comment at the variant that holds the arguments hides theirs.
        for (named, text) in &found {
            let is_shown = helps.iter().any(|help| help.contains(text));
            assert!(is_shown, "no help shows what stands at `{named}`:\n{text}");
        }
    }

    #[test]
    fn help_is_fine_and_a_wrong_command_line_is_64() {
        let clock = SystemClock::shared();
        let captured = Captured::run(|console| run(["chartgate", "--help"], console, &clock));
        assert_eq!(captured.exit, Exit::Fine);
        assert!(captured.out.contains("chartgate init"), "{}", captured.out);
        let captured = Captured::run(|console| run(["chartgate", "chekc"], console, &clock));
        assert_eq!(captured.exit, Exit::Configuration);
        assert!(
            captured.err.contains("'check'") && captured.out.is_empty(),
            "{}",
            captured.err
        );
    }
}
