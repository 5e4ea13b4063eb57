//! The sample clinic: a development identity provider, a small legacy EMR and the gateway in front of it, in one
//! process and on loopback only.
//!
//! *Never*: reached by `serve`.

mod feeds;

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use feeds::{ADVISORIES, training_feed};

use super::{Running, StartError, StartOptions, ended};
use crate::audit::log::Truncation;
use crate::audit::open::Ground;
use crate::cli::console::Console;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::problem::Problems;
use crate::demo::clinic::{Clinic, ClinicOptions as EmrOptions, EMR_PASSWORD, ReceivedLog};
use crate::demo::issuer::{Client, Issuer, IssuerError, IssuerHandle, IssuerOptions, TotpReplay};
use crate::demo::sink::Sink;
use crate::demo::users::{DemoUser, staff};
use crate::gateway::Stages;
use crate::server::Inherited;
use crate::telemetry::metrics::Metrics;

/// The host name of the sample clinic. The provider is at 127.0.0.1, so that the browser keeps their cookies apart.
const HOST: &str = "localhost";
const CLIENT: &str = "chartgate-demo";

/// Why the sample clinic does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClinicError {
    /// A file or a port.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The data directory could not be prepared.
    #[error("the data directory could not be prepared:\n{0}")]
    Init(String),
    /// The configuration that was written does not load.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The identity provider.
    #[error("the identity provider: {0}")]
    Issuer(#[from] IssuerError),
    /// The gateway.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// How the sample clinic is started.
pub struct ClinicOptions {
    /// The gateway's port on loopback; 0 takes any free one.
    pub port: u16,
    /// Where everything is written.
    pub data_dir: PathBuf,
    /// Who works there beside the staff.
    pub visitors: Vec<DemoUser>,
    /// Time.
    pub clock: SharedClock,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// What the trail stands on: the machine's own file system, but for tests.
    pub ground: Ground,
    /// A last change to the configuration, for tests.
    pub tune: Box<dyn FnOnce(&mut Config) + Send>,
}

impl std::fmt::Debug for ClinicOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClinicOptions")
            .field("port", &self.port)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// What someone needs to use the sample clinic, or to script against it: the line that `demo --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct ClinicFacts {
    /// The gateway.
    pub url: String,
    /// The CA that its certificate is from.
    pub ca_cert: PathBuf,
    /// The identity provider.
    pub issuer: String,
    /// How to sign in at the EMR, once past the gateway.
    pub emr_login: EmrLogin,
    /// The people.
    pub users: Vec<UserFacts>,
    /// Where everything is written.
    pub data_dir: PathBuf,
    /// The configuration file, for the other commands.
    pub config: PathBuf,
    /// The admin listener.
    pub admin: Option<String>,
}

/// The EMR's own login: the same names, one password.
#[derive(Debug, Clone, Serialize)]
pub struct EmrLogin {
    /// The page.
    pub url: String,
    /// The password of everyone.
    pub password: &'static str,
}

/// A person of the sample clinic.
#[derive(Debug, Clone, Serialize)]
pub struct UserFacts {
    /// Name at provider and EMR.
    pub name: String,
    /// Full name.
    pub display: String,
    /// Password at the provider.
    pub password: String,
    /// TOTP secret, base32; `null` for someone without a second factor.
    pub totp_secret: Option<String>,
    /// Groups at the provider, which `policies/roles.toml` maps to roles.
    pub roles: Vec<String>,
}

impl From<&DemoUser> for UserFacts {
    fn from(user: &DemoUser) -> Self {
        Self {
            name: user.name().to_owned(),
            display: user.display().to_owned(),
            password: user.password().to_owned(),
            totp_secret: user.totp_secret(),
            roles: user.groups().to_vec(),
        }
    }
}

/// The running sample clinic.
#[derive(Debug)]
pub struct RunningClinic {
    facts: ClinicFacts,
    config: Config,
    gateway: Running,
    issuer: IssuerHandle,
    received: ReceivedLog,
    alarms: mpsc::Receiver<Value>,
    address: SocketAddr,
    parts: JoinSet<io::Result<()>>,
    end: watch::Sender<bool>,
}

/// Starts the sample clinic.
///
/// # Errors
/// [`ClinicError`] says what is in the way.
pub async fn start(options: ClinicOptions) -> Result<RunningClinic, ClinicError> {
    let ClinicOptions {
        port,
        data_dir,
        visitors,
        clock,
        metrics,
        ground,
        tune,
    } = options;
    let people = [staff(), visitors].concat();
    let emr_listener = listen(0, "the EMR").await?;
    let issuer_listener = listen(0, "the identity provider").await?;
    let sink_listener = listen(0, "the receiver of alarms").await?;
    let port = free_port(port).await?;
    let addresses = Addresses {
        gateway: port,
        emr: address_of(&emr_listener)?,
        issuer: address_of(&issuer_listener)?,
        sink: address_of(&sink_listener)?,
    };
    let prepared = prepare(&data_dir, &addresses, &clock)?;
    let mut config = Config::load(&prepared.config)?;
    tune(&mut config);
    let mut options = prepared.issuer_options(clock.clone())?;
    options.users.clone_from(&people);
    let issuer = Issuer::new(options)?;
    let emr = Clinic::new(&EmrOptions {
        staff: people.clone(),
        clock: clock.clone(),
    });
    let (end, ending) = watch::channel(false);
    let (handle, received) = (issuer.handle(), emr.received());
    let mut parts = JoinSet::new();
    parts.spawn(issuer.serve(issuer_listener, ended(ending.clone())));
    parts.spawn(emr.serve(emr_listener, ended(ending.clone())));
    let (sink, alarms) = Sink::new(prepared.webhook_secret.clone(), clock.clone());
    parts.spawn(sink.serve(sink_listener, ended(ending)));
    let start = StartOptions {
        clock,
        metrics,
        truncation: Truncation::Refuse,
        inherited: Inherited::default(),
        ground,
    };
    let gateway = Running::start(&config, start).await?;
    let facts = ClinicFacts {
        ca_cert: prepared.ca_cert,
        emr_login: EmrLogin {
            url: format!("{}/login", prepared.url),
            password: EMR_PASSWORD,
        },
        url: prepared.url,
        issuer: prepared.issuer_url,
        users: people.iter().map(UserFacts::from).collect(),
        data_dir,
        config: prepared.config,
        admin: gateway.admin().map(|address| format!("http://{address}")),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(RunningClinic {
        facts,
        config,
        gateway,
        issuer: handle,
        received,
        alarms,
        address,
        parts,
        end,
    })
}

impl RunningClinic {
    /// What someone needs to use it.
    #[must_use]
    pub const fn facts(&self) -> &ClinicFacts {
        &self.facts
    }

    /// The configuration that the gateway runs with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The owners of the gateway's stages.
    #[must_use]
    pub fn stages(&self) -> &Arc<Stages> {
        self.gateway.stages()
    }

    /// Switches of the identity provider.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerHandle {
        &self.issuer
    }

    /// What reached the EMR.
    #[must_use]
    pub const fn received(&self) -> &ReceivedLog {
        &self.received
    }

    /// The next alarm that the clinic's receiver got, as it was sent.
    pub async fn next_alarm(&mut self) -> Option<Value> {
        self.alarms.recv().await
    }

    /// Where the gateway listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains the gateway, then stops the rest.
    ///
    /// # Errors
    /// [`ClinicError::Start`] when the gateway did not end in good order.
    pub async fn stop(mut self) -> Result<(), ClinicError> {
        self.gateway.stop().await?;
        self.end.send_replace(true);
        self.parts.shutdown().await;
        Ok(())
    }
}

async fn listen(port: u16, what: &str) -> Result<TcpListener, ClinicError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.map_err(|source| ClinicError::Io {
        what: format!("{what} cannot listen"),
        source,
    })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, ClinicError> {
    listener.local_addr().map_err(|source| ClinicError::Io {
        what: "a listener has no address".to_owned(),
        source,
    })
}

/// The provider must know the gateway's address before the gateway has one, so a free port is found first.
async fn free_port(port: u16) -> Result<u16, ClinicError> {
    let listener = listen(port, &format!("port {port}: the gateway")).await?;
    Ok(address_of(&listener)?.port())
}

fn client(url: &str, secret: &str) -> Client {
    Client::new(CLIENT, secret)
        .with_redirect_uri(&format!("{url}/.chartgate/callback"))
        .with_post_logout_redirect_uri(&format!("{url}/.chartgate/signed-out"))
        .with_backchannel_logout_uri(&format!("{url}/.chartgate/backchannel-logout"))
}

/// Where the parts of a sample clinic listen, all on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The gateway's port.
    pub gateway: u16,
    /// The EMR.
    pub emr: SocketAddr,
    /// The identity provider.
    pub issuer: SocketAddr,
    /// The receiver of alarms.
    pub sink: SocketAddr,
}

/// A sample clinic's data directory that a gateway can be started from.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The gateway.
    pub url: String,
    /// The identity provider.
    pub issuer_url: String,
    /// The configuration file.
    pub config: PathBuf,
    /// The CA that the gateway's certificate is from.
    pub ca_cert: PathBuf,
    /// What alarms are signed with.
    pub webhook_secret: String,
    client: Client,
}

impl Prepared {
    /// What the identity provider of this clinic is made from.
    ///
    /// # Errors
    /// [`ClinicError::Init`] when the CA's certificate cannot be read.
    pub fn issuer_options(&self, clock: SharedClock) -> Result<IssuerOptions, ClinicError> {
        Ok(IssuerOptions {
            issuer_url: self.issuer_url.clone(),
            clients: vec![self.client.clone()],
            users: staff(),
            clock,
            totp_replay: TotpReplay::Accepted,
            tls: Some(Arc::new(trusting(&self.ca_cert)?)),
        })
    }
}

/// Writes the configuration of this run and, where they are missing, policies, keys and certificates.
///
/// # Errors
/// [`ClinicError`] says what cannot be written.
pub fn prepare(
    dir: &Path,
    addresses: &Addresses,
    clock: &SharedClock,
) -> Result<Prepared, ClinicError> {
    let port = addresses.gateway;
    let url = format!("https://{HOST}:{port}");
    let issuer_url = format!("http://{}", addresses.issuer);
    let failed = |what: &Path| {
        let what = format!("`{}` cannot be written", what.display());
        move |source| ClinicError::Io { what, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let uid = rustix::process::geteuid().as_raw();
    let text = include_str!("clinic.toml")
        .replace("{port}", &port.to_string())
        .replace("{issuer}", &issuer_url)
        .replace("{emr}", &format!("http://{}", addresses.emr))
        .replace("{sink}", &addresses.sink.to_string())
        .replace("{emr_port}", &addresses.emr.port().to_string())
        .replace("{uid}", &uid.to_string());
    let config = dir.join("chartgate.toml");
    fs::write(&config, text).map_err(failed(&config))?;

    let feed = dir.join("training.csv");
    if !feed.exists() {
        fs::write(&feed, training_feed(clock)).map_err(failed(&feed))?;
    }

    let advisories = dir.join("osv.jsonl");
    if !advisories.exists() {
        fs::write(&advisories, ADVISORIES).map_err(failed(&advisories))?;
    }

    let (mut words, mut complaints) = (Vec::new(), Vec::new());
    let exit = {
        let mut console = Console::over(io::empty(), &mut words, &mut complaints);
        let dir = dir.display().to_string();
        crate::cli::run(
            ["chartgate", "init", "--host", HOST, &dir],
            &mut console,
            clock,
        )
    };
    if exit != crate::cli::Exit::Fine {
        return Err(ClinicError::Init(
            String::from_utf8_lossy(&complaints).into_owned(),
        ));
    }
    let assertion = dir.join("keys/assertion.pem");
    if !assertion.exists() {
        let key =
            rcgen::KeyPair::generate().map_err(|source| ClinicError::Init(source.to_string()))?;
        private_file(&assertion, &key.serialize_pem()).map_err(failed(&assertion))?;
    }
    let secret = random_secret(&dir.join("secrets/client_secret"))?;
    let webhook_secret = random_secret(&dir.join("secrets/webhook"))?;
    Ok(Prepared {
        client: client(&url, &secret),
        url,
        issuer_url,
        config,
        ca_cert: dir.join("certs/ca.pem"),
        webhook_secret,
    })
}

/// Writes a secret that nobody knew before.
fn random_secret(path: &Path) -> Result<String, ClinicError> {
    let mut bytes = [0; 24];
    SystemRandom::new()
        .fill(&mut bytes)
        .ok()
        .ok_or(ClinicError::Random)?;
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    private_file(path, &secret).map_err(|source| ClinicError::Io {
        what: format!("`{}` cannot be written", path.display()),
        source,
    })?;
    Ok(secret)
}

fn private_file(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The provider calls the gateway's back channel, so it has to trust the demonstration's CA.
fn trusting(ca: &Path) -> Result<rustls::ClientConfig, ClinicError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let failed =
        |error: &dyn std::fmt::Display| ClinicError::Init(format!("`{}`: {error}", ca.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| failed(&error))? {
        roots
            .add(certificate.map_err(|error| failed(&error))?)
            .map_err(|error| failed(&error))?;
    }
    let config = rustls::ClientConfig::builder_with_provider(crate::server::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
