//! `chartgate session`: who is signed in, and ending it.

use std::path::Path;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::Value;

use super::console::{Console, Failure};
use super::gateway::{self, Common, printable};
use crate::admin::protocol::AdminRequest;
use crate::identity::{Criteria, SessionView};
use crate::operate::containment::{Ask, Whose};

/// List sessions, and end them.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each does is said at its arguments, for clap"
)]
pub enum SessionCommand {
    List(ListArgs),
    #[command(visible_alias = "end")]
    Revoke(RevokeArgs),
}

/// Which sessions; what is said must all hold.
#[derive(Debug, Args)]
pub struct Which {
    /// Those of this user (name or stable id).
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Those of users who have this role now.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Those opened or last used from this address or network.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    address: Option<IpNet>,
    /// Those used for this EMR.
    #[arg(long, value_name = "NAME")]
    emr: Option<String>,
}

impl Which {
    fn criteria(&self) -> Criteria {
        Criteria {
            user: self.user.clone(),
            role: self.role.clone(),
            address: self.address,
            emr: self.emr.clone(),
        }
    }
}

/// List the open sessions.
///
/// Each with its id (the fingerprint that is on every record; not the cookie), its user, device, network and EMRs, and
/// when it was last used.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate session list --user nurse.lind\n  chartgate session list --address 10.2.0.0/16 --role nurse"
)]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    common: Common,
}

/// End sessions: one, those of a user, a role, a network or an EMR, or all.
///
/// At once and everywhere; live connections are cut. The users may sign in again: to keep one out, lock the user.
/// Where more than one user may be meant, the number of sessions is shown and asked back, unless `--yes` is given.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate session revoke 9f2c41d0aa17b3e2c55d0e6f1b7a8c90 --reason \"Left open in the corridor\"\n  \
                             chartgate session revoke --user nurse.lind --reason \"Phone lost\"\n  \
                             chartgate session revoke --address 10.2.7.0/24 --role nurse --reason \"Ward closed\" --yes\n  \
                             chartgate session revoke --all --reason \"Provider compromised\" --yes"
)]
#[group(skip)]
pub struct RevokeArgs {
    /// The session's id.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "user", "role", "address", "emr"])]
    id: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Everybody's.
    #[arg(long, conflicts_with_all = ["user", "role", "address", "emr"])]
    all: bool,
    /// Why; on record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(command: &SessionCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        SessionCommand::List(args) => list(args, console),
        SessionCommand::Revoke(args) => revoke(args, console),
    }
}

fn list(args: &ListArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let common = &args.common;
    let criteria = args.which.criteria();
    let ask = AdminRequest::Contain(Ask::Find { criteria });
    let nothing = if args.which.criteria().is_empty() {
        "no session is open"
    } else {
        "no session like that is open"
    };
    let told = (console, common.json, nothing);
    gateway::list(&common.config, ask, told, |value, console| {
        console.line(printable(&line(&view(value)?)))
    })
}

fn revoke(args: &RevokeArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let common = &args.common;
    let criteria = args.which.criteria();
    let whose = match &args.id {
        Some(id) => Whose::Session(id.clone()),
        None if args.all => Whose::All,
        None if criteria.is_empty() => {
            let message = "say which sessions: an id, --user, --role, --address, --emr or --all";
            return Err(Failure::Configuration(message.to_owned()));
        }
        None => Whose::Where(criteria.clone()),
    };
    let one_user = args.id.is_some() || criteria.user.is_some();
    if !one_user && !args.yes && !is_confirmed(&common.config, criteria, console)? {
        return Err(Failure::Failed("no session was ended".to_owned()));
    }
    let reason = args.reason.clone();
    let ask = AdminRequest::Contain(Ask::End { whose, reason });
    gateway::ask(&common.config, ask, |value| {
        if common.json {
            return console.line(&value);
        }
        let ended = value
            .get("ended")
            .map_or_else(String::new, ToString::to_string);
        console.line(format_args!("sessions ended: {ended}"))
    })
}

/// Asks the number back.
fn is_confirmed(
    config: &Path,
    criteria: Criteria,
    console: &mut Console<'_>,
) -> Result<bool, Failure> {
    let mut users = std::collections::BTreeSet::new();
    let mut sessions = 0_usize;
    gateway::ask(
        config,
        AdminRequest::Contain(Ask::Find { criteria }),
        |value| {
            sessions = sessions.saturating_add(1);
            users.insert(view(value)?.user);
            Ok(())
        },
    )?;
    let question = format!(
        "This ends {sessions} sessions of {} users. Type {sessions} to go on: ",
        users.len()
    );
    Ok(console.ask(&question)?.trim() == sessions.to_string())
}

fn view(value: Value) -> Result<SessionView, Failure> {
    serde_json::from_value(value).map_err(Failure::of)
}

fn line(session: &SessionView) -> String {
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let address = session.last_address.or(session.address);
    let emrs: Vec<&str> = session.emrs.iter().map(String::as_str).collect();
    format!(
        "{}  {} ({})  opened {}  used {}  ends {}  from {} ({}){}  at {}",
        session.id,
        session.name,
        session.user,
        time(session.created),
        time(session.last_active),
        time(session.ends),
        address.map_or_else(|| "unknown".to_owned(), |address| address.to_string()),
        session.device,
        if session.shared { ", shared" } else { "" },
        if emrs.is_empty() {
            "no EMR".to_owned()
        } else {
            emrs.join(", ")
        },
    )
}

/// An address or a network.
fn network(text: &str) -> Result<IpNet, String> {
    let one = text.parse::<std::net::IpAddr>().map(IpNet::from);
    one.or_else(|_| text.parse::<IpNet>())
        .map(|network| network.trunc())
        .map_err(|_error| format!("`{text}` is no address and no network like 10.2.0.0/16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_network_of_one() {
        assert_eq!(network("10.2.3.4").unwrap().to_string(), "10.2.3.4/32");
        assert_eq!(network("10.2.3.4/16").unwrap().to_string(), "10.2.0.0/16");
        assert!(network("ward 7").is_err());
    }
}
