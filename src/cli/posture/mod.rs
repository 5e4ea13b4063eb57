//! `chartgate posture`: whether the gateway is configured and run as the rules ask, check by check.

mod brought;

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::check;
use super::console::{Console, Failure};
use super::output::Output;
use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::problem::{Problems, Severity};
use crate::posture::assessments::{Ask, Summary};
use crate::posture::facts::{Facts, Faults, Known, Look, Scope};
use crate::posture::gather::{Brought, gather};
use crate::posture::report::{Report, catalogue};
use crate::posture::running::Running;

/// Assess the security posture: every check with evidence, remedy and the rules that it is evidence for.
///
/// Looks at the configuration and the files it names, asks the policy bundle over its whole vocabulary, verifies the
/// trail against its witnesses, tries the listeners with clients that they must refuse, and asks the gateway itself.
/// Of a gateway that does not run, what only it knows is shown as unknown. The report also lists what a gateway cannot
/// fulfil of each rule, and who must. With a running gateway the result goes on record. Exits with 1 where a check
/// failed. Run it as the user that the gateway runs as; docs/posture.md lists the checks.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate posture --config /etc/chartgate/chartgate.toml\n  chartgate posture --html posture.html\n  \
    chartgate posture --json | jq '.checks[] | select(.verdict == \"fail\")'"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line, as clap has them"
)]
pub struct PostureArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    /// Print the report as one JSON document.
    #[arg(long)]
    json: bool,
    /// Write a page to read, print and sign to this HTML file; it must not exist.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    /// Do not connect to listeners, and make no probes around the gateway.
    #[arg(long)]
    offline: bool,
    /// Do not verify the trail, which takes time where it is long.
    #[arg(long)]
    no_trail: bool,
    /// List every check and rule instead, as a table for documents.
    #[arg(long, conflicts_with_all = ["json", "html", "config"])]
    list: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(
    args: &PostureArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    if args.list {
        return console.text(catalogue());
    }
    let page = args
        .html
        .as_ref()
        .map(|file| Output::to(Some(file)))
        .transpose()?;
    let (config, problems) = check::look(&args.config, clock).map_err(Failure::Problems)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = config.admin.socket.clone();
        let facts = facts(args, config, &problems, clock).await;
        let report = Report::of(&facts, &args.config.display().to_string());
        if args.json {
            console.line(serde_json::to_string(&report).map_err(Failure::of)?)?;
        } else if let Some(mut page) = page {
            let html = report.html().map_err(Failure::of)?;
            page.text(&html, console)?;
            page.finish(&[])?;
            console.line(&report.summary)?;
        } else {
            console.text(report.text())?;
        }
        let recorded = match facts.running {
            Err(_) => Ok(()),
            Ok(_) => record(&socket, report.summary.clone()).await,
        };
        recorded.map_err(Failure::of)?;
        if report.summary.failed == 0 {
            Ok(())
        } else {
            Err(Failure::Unfit)
        }
    })
}

async fn facts(
    args: &PostureArgs,
    config: Config,
    problems: &Problems,
    clock: &SharedClock,
) -> Facts {
    let look = |left_out: bool, option| {
        if left_out {
            Look::LeftOutBy(option)
        } else {
            Look::Closely
        }
    };
    let scope = Scope {
        trail: look(args.no_trail, "--no-trail"),
        network: look(args.offline, "--offline"),
    };
    let running = running(&config).await;
    let brought = Brought {
        reading: faults(problems),
        kept: brought::kept(&config, running.as_ref(), clock).await,
        probes: brought::probes(&config, scope).await,
        detections: brought::detections(&config),
        running,
    };
    gather(config, &args.config, brought, scope, clock).await
}

fn faults(problems: &Problems) -> Faults {
    let mut faults = Faults::default();
    for problem in problems {
        let line = if problem.key.is_empty() {
            format!("{}: {}", problem.file.display(), problem.message)
        } else {
            format!("{}: {}", problem.key, problem.message)
        };
        match problem.severity {
            Severity::Error => faults.errors.push(line),
            Severity::Warning => faults.warnings.push(line),
        }
    }
    faults
}

/// What the gateway says about itself; why it says nothing.
async fn running(config: &Config) -> Known<Running> {
    let request = AdminRequest::Posture(Ask::Facts);
    let answered = one(&config.admin.socket, request).await;
    let value = answered.map_err(|error| match error {
        ClientError::NotRunning(_) => "gateway not running".to_owned(),
        ClientError::Denied(_) => "the gateway was not asked: you are no operator".to_owned(),
        ClientError::Refused(_)
        | ClientError::BrokeOff
        | ClientError::Reply(_)
        | ClientError::Io { .. } => format!("the gateway was not asked: {error}"),
    })?;
    serde_json::from_value(value).map_err(|error| format!("the gateway's answer: {error}"))
}

async fn record(socket: &std::path::Path, summary: Summary) -> Result<(), ClientError> {
    let request = AdminRequest::Posture(Ask::Record(summary));
    one(socket, request).await.map(|_assessed| ())
}

async fn one(socket: &std::path::Path, request: AdminRequest) -> Result<Value, ClientError> {
    let mut client = AdminClient::ask(socket, request).await?;
    let mut last = Value::Null;
    while let Some(value) = client.next().await? {
        last = value;
    }
    Ok(last)
}
