//! `chartgate witness serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::endpoint::Endpoint;
use crate::audit::log::{CosigningKey, Files, RealFiles, VerifierKey};
use crate::audit::witnesses::Holder;
use crate::cli::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::config::{Certificate, Log, LogFormat, secrets};
use crate::outbound::private_roots;
use crate::server::{Certificates, tls};

/// Take checkpoints over HTTPS and hold them in a file.
///
/// Takes the notes of one log: only those that its key signed, and none that is older than the newest it holds. It says
/// yes when the note is durable, and signs that with its own key. Run it on another machine than the gateway, under
/// other administrators: whoever controls both can take back what both say. Stops at SIGTERM or Ctrl-C; SIGHUP has the
/// certificate read again.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  chartgate witness serve --listen 0.0.0.0:8443 --certificate server.pem --key server.key \\\n      \
    --log-key signing.pub --file /srv/witness/checkpoints --cosign-key witness.key --token-file token"
)]
pub struct ServeArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The PEM chain that is shown, leaf first.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its PEM private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The public key of the log whose checkpoints are taken (`keys/signing.pub` of the gateway).
    #[arg(long, value_name = "FILE")]
    log_key: PathBuf,
    /// Where they are held; made where it does not exist.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The witness's own key (`chartgate witness keygen`).
    #[arg(long, value_name = "FILE")]
    cosign_key: PathBuf,
    /// Take requests only over connections with a certificate of this PEM CA.
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Take requests only with this bearer token: one line, in a file that only its owner may read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], where something is not in order.
pub(super) fn run(
    args: &ServeArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let pair = Certificate {
        chain: args.certificate.clone(),
        key: args.key.clone(),
    };
    let certificates = Certificates::load(&[pair], clock.clone()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::Configuration(problems.join("; "))
    })?;
    let token = args.token_file.as_deref().map(secrets::read_line);
    let token = token
        .transpose()
        .map_err(|said| Failure::Configuration(format!("{}; {}", said.message, said.remedy)))?;
    let tls = tls_config(&certificates, args.client_ca.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let log = VerifierKey::read(&args.log_key).map_err(Failure::of)?;
    let key = CosigningKey::read(&args.cosign_key).map_err(Failure::of)?;
    let witness = key.verifier().name().to_owned();
    let holder = Holder::open(&args.file, &files, log, key, clock.clone()).map_err(Failure::of)?;
    crate::telemetry::init(&Log {
        filter: "info".to_owned(),
        format: LogFormat::Text,
    })
    .map_err(Failure::of)?;
    let log = holder.log().name().to_owned();
    let endpoint = Endpoint {
        holder: Arc::new(holder),
        token,
        tls,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before anybody is served: a SIGTERM that finds nobody listening kills.
        let signals = Signals::listen()?;
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            Failure::Configuration(format!(
                "{}: {error}; free the address, or choose another",
                args.listen
            ))
        })?;
        let address = listener.local_addr()?;
        console.line(format_args!(
            "{witness} takes checkpoints of {log} on https://{address}, and holds them in {}",
            args.file.display()
        ))?;
        endpoint.serve(listener, signals.stop(&certificates)).await;
        Ok(())
    })
}

pub(super) fn tls_config(
    certificates: &Arc<Certificates>,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, Failure> {
    let builder = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(Failure::of)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in private_roots(path).map_err(Failure::of)? {
                roots.add(root).map_err(Failure::of)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider());
            builder.with_client_cert_verifier(verifier.build().map_err(Failure::of)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::<Certificates>::clone(certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What an operator tells the process by signal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C; SIGHUP has the certificate read again.
    async fn stop(mut self, certificates: &Certificates) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.reload.recv() => match certificates.reload() {
                    Ok(()) => tracing::info!("the certificate was read again"),
                    Err(problems) => {
                        for problem in problems {
                            tracing::error!(%problem, "the certificate in use stays");
                        }
                    }
                },
            }
        }
    }
}
