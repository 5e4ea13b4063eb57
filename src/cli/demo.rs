//! `chartgate demo`: the sample clinic in one process.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::console::{Console, Failure};
use super::serve::runtime;
use crate::assembly::clinic::{self, ClinicFacts, ClinicOptions};
use crate::audit::open::Ground;
use crate::clock::SharedClock;
use crate::config::sessions::BindTo;
use crate::config::unit::parse_duration;
use crate::config::{Log, LogFormat};
use crate::demo::sink;
use crate::demo::users::staff;
use crate::telemetry::metrics::Metrics;

/// Run the sample clinic: an identity provider, a small EMR and the gateway in front of it.
///
/// Everything is invented and runs in this process, on loopback only, with certificates made on the fly. It prints
/// the address, the users with their passwords and one-time codes, and a walk through what it is protected by.
/// Ctrl-C drains it and prints how to verify the trail. Never put real data into it.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate demo\n  chartgate demo --port 0 --json --data-dir /tmp/clinic\n  chartgate demo --lock-after 30s\n  chartgate demo --device-proof-lifetime 5m"
)]
pub struct DemoArgs {
    /// The gateway's HTTPS port on loopback; 0 takes any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub port: u16,
    /// Where trail, keys and certificates go; a temporary directory, if left out.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Lock screens after this long without activity, from 10s to 14m; 5m, if left out.
    #[arg(long, value_name = "DURATION", value_parser = lock_after)]
    pub lock_after: Option<Duration>,
    /// Bind sessions to a key of the browser's device, where the browser can; a proof of it is good for so long, from 10s
    /// to 60m.
    #[arg(long, value_name = "DURATION", value_parser = proof_lifetime)]
    pub device_proof_lifetime: Option<Duration>,
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
    let (after, proof) = (args.lock_after, args.device_proof_lifetime);
    let options = ClinicOptions {
        visitors: Vec::new(),
        port: args.port,
        data_dir,
        clock: clock.clone(),
        metrics,
        ground: Ground::default(),
        tune: Box::new(move |config| {
            if let (Some(after), Some(lock)) = (after, &mut config.identity.lock) {
                lock.after = after;
            }
            if let Some(lifetime) = proof {
                let binding = &mut config.identity.sessions.binding;
                binding.on = vec![BindTo::DeviceKey];
                binding.device_proof_lifetime = lifetime;
            }
        }),
    };
    runtime()?.block_on(demonstrate(args, options, console, clock))
}

/// When the sample clinic's screens lock: before its sessions end, after 15 minutes.
fn lock_after(text: &str) -> Result<Duration, String> {
    let after = parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(10)..=Duration::from_mins(14)).contains(&after) {
        Ok(after)
    } else {
        Err("a screen locks after 10s to 14m".to_owned())
    }
}

/// How long a proof of a device's key is good for.
fn proof_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(10)..=Duration::from_hours(1)).contains(&lifetime) {
        Ok(lifetime)
    } else {
        Err("a proof is good for 10s to 60m".to_owned())
    }
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

{}

Ctrl-C closes the clinic.",
        ca_cert.display(),
        data_dir.display(),
        people.join("\n"),
        emr_login.password,
        things_to_try(url, &config.display().to_string()),
    )
}

/// A walk through what the clinic is protected by: first as its people, then as those who run the gateway.
fn things_to_try(url: &str, config: &str) -> String {
    format!(
        "\
Nine things to try in the browser:
  1. As dr.okafor sign in here and then to the EMR, search for a patient, open the chart, write a note.
  2. As dr.weber, who has no second factor, sign in: refused, and told why.
  3. As billing.shah open a patient's notes: refused by policy (CG-3001), and the page says what to do.
  4. As him.doyle export a chart as CSV; wait five minutes and try again: a fresh sign-in is asked for.
  5. As nurse.lind open a patient's protected notes: refused, and you are offered to break the glass.
  6. As nurse.lind open /patients/select?set_pid=1, then 2, 3 … up to 12: an alarm appears here, a case is opened, and
     the sessions of nurse.lind end.
  7. As dr.okafor search for a patient called ' OR 1=1-- (refused, CG-1017), then write a note with <script> in it: it
     passes, because notes are free text, and what was found is on record.
  8. As rad.novak open the EMR: a course is due within the week. As billing.shah, who is overdue, enter a charge: refused
     until the course is done. Report something suspicious from any page of the gateway.
  9. Come with an old browser: refused, and told what would do (CG-1020).
     curl -k -H 'Accept: text/html' -A 'Mozilla/5.0 (X11; rv:78.0) Gecko/20100101 Firefox/78.0' {url}

And as those who run it, in another terminal, each command with --config {config}
  chartgate status                                      how everything is, on one screen
  chartgate audit show --follow                         the trail, while you do the above
  chartgate report patient 1                            who opened this chart, when and why
  chartgate policy explain --roles billing --patient 1 'GET /chart/notes'
                                                        why that is refused
  chartgate policy review                               who may do what, and who does
  chartgate breakglass list                             broken glasses; `breakglass review` closes one
  chartgate case list                                   what alarms and reports became
  chartgate incident open --case 1                      its clocks; `incident evidence` packs the records
  chartgate lockdown set L2 --reason drill              nothing can be changed; `lockdown lift` ends it
  chartgate segmentation probe                          does the EMR answer around the gateway?
  chartgate backup run                                  then `backup drill` brings it back, and measures
  chartgate keys status                                 what seals the data, and what brings a lost key back
  chartgate training status                             who has to do which course
  chartgate update check                                known vulnerabilities of this build
  chartgate posture                                     more than seventy checks: what of all this holds"
    )
}
