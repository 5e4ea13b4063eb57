//! `chartgate serve`: runs the gateway until it is told to stop.

use std::io;
use std::path::PathBuf;

use clap::Args;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console::{Console, Failure};
use crate::assembly::{Running, StartOptions};
use crate::audit::log::Truncation;
use crate::audit::open::{Before, Ground};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::server::Inherited;
use crate::telemetry::metrics::Metrics;

/// Run the gateway.
///
/// Reads and checks the configuration, recovers the trail, then serves until it is told to stop (SIGTERM or
/// Ctrl-C), and drains: requests in flight are finished, connections closed. What `chartgate check`
/// calls an error keeps it from starting (exit code 64).
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate serve --config /etc/chartgate/chartgate.toml\n  \
                       chartgate check && chartgate serve"
)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    pub config: PathBuf,
    /// Start although the trail ends before its newest witnessed checkpoint. The loss is put on record.
    ///
    /// Only after finding out why records are missing: it is what an attacker who cut the trail would leave.
    #[arg(long)]
    pub accept_truncated_trail: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says why the gateway does not start, or did not end in good order.
pub fn run(
    args: &ServeArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let config = super::check::preflight(&args.config, clock).map_err(Failure::Problems)?;
    let inherited = Inherited::take().map_err(Failure::of)?;
    crate::telemetry::init(&config.log).map_err(Failure::of)?;
    let metrics = Metrics::install().map_err(Failure::of)?;
    let truncation = if args.accept_truncated_trail {
        Truncation::Accept
    } else {
        Truncation::Refuse
    };
    let options = StartOptions {
        clock: clock.clone(),
        metrics,
        truncation,
        inherited,
        ground: Ground::default(),
    };
    runtime()?.block_on(serve(&config, options, console))
}

/// The runtime of everything but the workers, which have their own.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::of)
}

async fn serve(
    config: &Config,
    options: StartOptions,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::of)?;
    let running = Running::start(config, options).await.map_err(Failure::of)?;
    let settled = running.settled();
    if settled.cut_bytes > 0 || settled.unknown > 0 {
        console.line(format_args!(
            "recovered the trail: {} bytes of a torn tail were put aside, {} requests of the last run have an unknown outcome",
            settled.cut_bytes, settled.unknown
        ))?;
    }
    if settled.before == Before::Unclean {
        console.line("the last run did not stop in order; the trail says so")?;
    }
    for address in running.https() {
        console.line(format_args!("serving https on {address}"))?;
    }
    if let Some(address) = running.admin() {
        console.line(format_args!("health and metrics on http://{address}"))?;
    }
    tell(NotifyState::Ready);
    signals.stop(&running).await;
    tell(NotifyState::Stopping);
    console.line("draining; requests in flight are finished")?;
    running.stop().await.map_err(Failure::of)
}

/// Tells systemd how far the service is (`Type=notify`); nobody listens elsewhere.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// What an operator tells the process by signal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    /// Listens from now on. To be called before anybody is served: a SIGTERM that finds nobody listening kills.
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C; SIGHUP has the certificate files read again.
    async fn stop(&mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.reload.recv() => running.reload_certificates().await,
            }
        }
    }
}
