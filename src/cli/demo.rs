//! `chartgate demo`: the sample clinic in one process.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::console::{Console, Failure};
use super::serve::runtime;
use crate::assembly::clinic::{self, ClinicFacts, ClinicOptions};
use crate::clock::SharedClock;
use crate::config::{Log, LogFormat};
use crate::demo::sink;
use crate::demo::users::staff;
use crate::telemetry::metrics::Metrics;

/// Run the sample clinic: an identity provider, a small EMR and the gateway in front of it.
///
/// Everything is invented and runs in this process, on loopback only, with certificates made on the fly. It prints
/// the address, the users with their passwords and one-time codes, and eight things to try, some of which are refused.
/// Ctrl-C drains it and prints how to verify the trail. Never put real data into it.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate demo\n  chartgate demo --port 0 --json --data-dir /tmp/clinic"
)]
pub struct DemoArgs {
    /// The gateway's HTTPS port on loopback; 0 takes any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub port: u16,
    /// Where trail, keys and certificates go; a temporary directory, if left out.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print the same facts as one line of JSON, once everything answers.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says why the sample clinic does not start, or did not end in good order.
pub fn run(args: &DemoArgs, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    let log = Log {
        filter: "warn".to_owned(),
        format: LogFormat::Text,
    };
    crate::telemetry::init(&log).map_err(Failure::of)?;
    let metrics = Metrics::install().map_err(Failure::of)?;
    let data_dir = match &args.data_dir {
        Some(dir) => std::path::absolute(dir).map_err(Failure::of)?,
        None => temporary_directory(),
    };
    let options = ClinicOptions {
        port: args.port,
        data_dir,
        clock: clock.clone(),
        metrics,
        tune: Box::new(|_| {}),
    };
    runtime()?.block_on(demonstrate(args, options, console, clock))
}

fn temporary_directory() -> PathBuf {
    std::env::temp_dir().join(format!("chartgate-demo-{}", std::process::id()))
}

async fn demonstrate(
    args: &DemoArgs,
    options: ClinicOptions,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::of)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::of)?;
    let mut running = clinic::start(options).await.map_err(Failure::of)?;
    let facts = running.facts().clone();
    if args.json {
        console.line(serde_json::to_string(&facts).map_err(Failure::of)?)?;
    } else {
        console.line(introduction(&facts, clock))?;
    }
    loop {
        let alarm = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(alarm) = running.next_alarm() => alarm,
        };
        if !args.json {
            console.line(sink::line(&alarm))?;
        }
    }
    running.stop().await.map_err(Failure::of)?;
    if !args.json {
        let config = facts.config.display();
        console.line(format_args!(
            "\nThe sample clinic is closed. What happened is on the trail:\n\n    \
             chartgate audit show --config {config}\n    chartgate audit verify --config {config}\n\n\
             Remove {} when you are done.",
            facts.data_dir.display()
        ))?;
    }
    Ok(())
}

fn introduction(facts: &ClinicFacts, clock: &SharedClock) -> String {
    let now = clock.now();
    let people: Vec<String> = staff()
        .iter()
        .map(|user| {
            let code = user.totp_code(now).unwrap_or_else(|| "(none)".to_owned());
            let secret = user
                .totp_secret()
                .unwrap_or_else(|| "no second factor".to_owned());
            let groups = user.groups().join(",");
            format!(
                "  {:<14} {:<22} {code:<7} {secret:<33} {groups}",
                user.name(),
                user.password()
            )
        })
        .collect();
    let ClinicFacts {
        url,
        emr_login,
        ca_cert,
        data_dir,
        config,
        ..
    } = facts;
    format!(
        "\
=== DEMONSTRATION ONLY: everything here is invented; never enter real data ===

Sample clinic      {url}
                   (a certificate made just now: your browser will warn; {} vouches for it)
Data directory     {}

Users (name, password, current one-time code, TOTP secret, groups):
{}

In the EMR itself everybody signs in with the same name and the password {}

Ten things to try:
  1. Open {url} as dr.okafor, sign in to the EMR, search for a patient, open the chart, write a note.
  2. Sign in as dr.weber, who has no second factor: refused, and told why.
  3. As billing.shah open a patient's notes: refused by policy (CG-3001).
  4. As him.doyle export a chart as CSV; wait five minutes and try again: a fresh sign-in is asked for.
  5. As nurse.lind open a patient's protected notes: refused, and you are offered to break the glass. Then, as
     somebody else, see what was opened and review it:
       chartgate breakglass list --config {config}
  6. As nurse.lind open /patients/select?set_pid=1, then 2, 3 … up to 12: an alarm appears here, a case is opened, and
     the sessions of nurse.lind end. Then:
       chartgate case list --config {config}
  7. As dr.okafor search for a patient called ' OR 1=1-- (refused, CG-1017), then write a note with <script> in it: it
     passes, because notes are free text, and what was found is on record. `chartgate inspect \"' OR 1=1--\"` says why.
  8. Open {url} with an old browser: refused, and told what would do (CG-1020). What is in force says `client` in
        chartgate status --config {config}
      For example: curl -k -H 'Accept: text/html' -A 'Mozilla/5.0 (X11; rv:78.0) Gecko/20100101 Firefox/78.0' {url}
  9. As rad.novak open the EMR: a course is due within the week. As billing.shah, who is overdue, enter a charge: refused,
     until the course is done. Report something suspicious from any page of the gateway. Then:
        chartgate training status --config {config}
 10. Watch the trail while you do it, in another terminal:
       chartgate audit show --follow --config {config}

Ctrl-C closes the clinic.",
        ca_cert.display(),
        data_dir.display(),
        people.join("\n"),
        emr_login.password,
        config = config.display(),
    )
}
