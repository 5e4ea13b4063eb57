//! The provider and the EMR of a sample clinic in this process, for a gateway that is a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use chartgate::assembly::clinic::{Addresses, Prepared, prepare};
use chartgate::clock::SystemClock;
use chartgate::demo::clinic::{Clinic, ClinicOptions, ReceivedLog};
use chartgate::demo::issuer::Issuer;
use chartgate::demo::users::staff;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Browser;
use super::people::People;
use super::process::{Ended, Process, chartgate};

/// Everything but the gateway.
#[derive(Debug)]
pub(crate) struct Practice {
    pub(crate) people: People,
    received: ReceivedLog,
    prepared: Prepared,
    addresses: Addresses,
    parts: JoinSet<std::io::Result<()>>,
    dir: tempfile::TempDir,
}

/// A gateway that serves, as a child.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) process: Process,
    /// The admin listener.
    pub(crate) admin: String,
}

impl Practice {
    /// Provider and EMR listen.
    pub(crate) async fn open() -> Self {
        let mut practice = Self::without_provider().await;
        practice.open_provider().await;
        practice
    }

    /// Only the EMR listens.
    pub(crate) async fn without_provider() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addresses = Addresses {
            gateway: port_to_come_back_to().await,
            emr: emr.local_addr().unwrap(),
            issuer: SocketAddr::from((Ipv4Addr::LOCALHOST, port_to_come_back_to().await)),
            // Nobody listens: alarms of these tests wait on the trail.
            sink: SocketAddr::from((Ipv4Addr::LOCALHOST, port_to_come_back_to().await)),
        };
        let clock = SystemClock::shared();
        let prepared = prepare(dir.path(), &addresses, &clock).unwrap();
        // Witnesses hear of the trail within the second, so that a test need not be long to have one.
        let text = std::fs::read_to_string(&prepared.config).unwrap();
        let text = text.replace("[audit]\n", "[audit]\ncheckpoint_interval = \"1s\"\n");
        std::fs::write(&prepared.config, text).unwrap();
        let clinic = Clinic::new(&ClinicOptions {
            staff: staff(),
            clock,
        });
        let received = clinic.received();
        let mut parts = JoinSet::new();
        parts.spawn(clinic.serve(emr, std::future::pending()));
        Self {
            people: People::of(&prepared.url, &prepared.issuer_url),
            received,
            prepared,
            addresses,
            parts,
            dir,
        }
    }

    /// The provider begins to listen.
    pub(crate) async fn open_provider(&mut self) {
        let options = self.prepared.issuer_options(SystemClock::shared());
        let issuer = Issuer::new(options.unwrap()).unwrap();
        let listener = TcpListener::bind(self.addresses.issuer).await.unwrap();
        self.parts
            .spawn(issuer.serve(listener, std::future::pending()));
    }

    /// Starts the gateway, and waits until it serves.
    pub(crate) async fn serve(&self) -> Serving {
        self.serve_with(&[]).await
    }

    /// The same with further arguments.
    pub(crate) async fn serve_with(&self, extra: &[&str]) -> Serving {
        let mut process = self.start(extra);
        process.line_after("serving https on ").await;
        let admin = process.line_after("health and metrics on ").await;
        Serving { process, admin }
    }

    /// Starts the gateway with a listening socket that is held open elsewhere, and waits until it serves.
    pub(crate) async fn serve_with_socket(&self, socket: &std::net::TcpListener) -> Process {
        let config = self.prepared.config.to_str().unwrap();
        let mut process = Process::start_with_socket(socket, &["serve", "--config", config]);
        process.line_after("serving https on ").await;
        process
    }

    /// Starts the gateway, which may not get far.
    pub(crate) fn start(&self, extra: &[&str]) -> Process {
        let mut arguments = vec!["serve", "--config", self.prepared.config.to_str().unwrap()];
        arguments.extend(extra);
        Process::start(&arguments)
    }

    /// Runs an `audit` command on this clinic's trail.
    pub(crate) async fn audit(&self, command: &[&str]) -> Ended {
        chartgate(&self.audit_arguments(command)).await
    }

    /// The whole command line of an `audit` command on this clinic's trail.
    pub(crate) fn audit_arguments<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["audit"];
        arguments.extend(command);
        arguments.extend(["--config", self.prepared.config.to_str().unwrap()]);
        arguments
    }

    /// The whole trail, as `audit show --json` has it.
    pub(crate) async fn trail(&self) -> Vec<Value> {
        let shown = self.audit(&["show", "--json"]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        entries(&shown.out)
    }

    /// What `audit verify --json` finds, and its exit code.
    pub(crate) async fn verify(&self) -> (Option<i32>, Value) {
        let ended = self.audit(&["verify", "--json"]).await;
        let found = serde_json::from_str(&ended.out);
        (
            ended.code,
            found.unwrap_or_else(|error| panic!("{error}: {} {}", ended.out, ended.err)),
        )
    }

    /// A browser that nobody has used.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.prepared.ca_cert, self.address())
    }

    /// The same, trusting what is in the file `name`.
    pub(crate) fn browser_trusting(&self, name: &str) -> Browser {
        Browser::new(&self.path(name), self.address())
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.addresses.gateway))
    }

    /// A file or directory of the gateway's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What reached the EMR.
    pub(crate) const fn received(&self) -> &ReceivedLog {
        &self.received
    }

    /// Waits until a request for `target` has reached the EMR.
    pub(crate) async fn reached(&self, target: &str) {
        eventually(&format!("{target} at the EMR"), async || {
            let requests = self.received.requests();
            requests
                .iter()
                .any(|request| request.target() == target)
                .then_some(())
        })
        .await;
    }
}

/// The entries that `audit show --json` printed.
pub(crate) fn entries(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].clone())
        .collect()
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Looks again and again until there is something to see: for what tells nobody when it happens.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .unwrap_or_else(|_| panic!("never seen: {what}"))
}

/// Waits until the witness in a file below `directory` holds a checkpoint.
pub(crate) async fn witnessed(directory: &Path) {
    let checkpoints = directory.join("witness/checkpoints");
    eventually("a witnessed checkpoint", async || {
        let file = std::fs::metadata(&checkpoints).ok();
        file.filter(|file| file.len() > 0)
    })
    .await;
}

/// A port that outgoing connections do not take while nobody listens on it, as those that the system picks are.
async fn port_to_come_back_to() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + u16::try_from(std::process::id() % 15_000).unwrap();
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return port;
        }
    }
}
