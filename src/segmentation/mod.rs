//! Whether an EMR answers around the gateway: probes of addresses where nobody may.
//!
//! It sees what this machine sees. From a source address in another zone it sees what that zone's rules let through
//! on this machine's way; what a workstation sees, only a workstation can tell (docs/segmentation.md).
//!
//! *Owns*: what the newest probes found.
//! *Never*: sends anything over a connection that opens; that it opens is the finding.
//! *On failure*: a probe that cannot be made is shown as such, never as closed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, lookup_host};

use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::{Config, Probe, Segmentation};
use crate::request::Event;
use crate::telemetry::metrics as names;

/// Who drops packets does not answer; nobody needs longer than this on a hospital's network.
const PATIENCE: Duration = Duration::from_secs(3);
/// The first probes come this long after the start.
const FIRST: Duration = Duration::from_secs(30);

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nobody answers there, as it must be.
    Closed(String),
    /// A connection opened: the EMR can be reached around the gateway.
    Reachable(SocketAddr),
    /// The probe could not be made.
    Unknown(String),
}

/// A probe with what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The probe.
    pub name: String,
    /// The EMR that it is about.
    pub emr: String,
    /// Where nobody may answer.
    pub address: String,
    /// The source address, where one is set.
    pub from: Option<IpAddr>,
    /// What was found.
    pub outcome: Outcome,
}

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Make every probe now.
    Probe,
}

/// How segmentation is: a line of `chartgate status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Every probe found nobody.
    Fine(String),
    /// Somebody should look.
    Look(String),
    /// An EMR answers around the gateway.
    Bad(String),
}

/// Makes every probe, all at once.
pub async fn probe(probes: &[Probe]) -> Vec<Finding> {
    let asked = probes.iter().map(|probe| async {
        Finding {
            name: probe.name.clone(),
            emr: probe.emr.clone(),
            address: format!("{}:{}", probe.host, probe.port),
            from: probe.from,
            outcome: reach(probe).await,
        }
    });
    futures_util::future::join_all(asked).await
}

async fn reach(probe: &Probe) -> Outcome {
    let host = probe.host.trim_matches(['[', ']']);
    let found = match tokio::time::timeout(PATIENCE, lookup_host((host, probe.port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Outcome::Unknown(format!("{host} is not known: {error}")),
        Err(_) => return Outcome::Unknown(format!("{host} is not known: no answer in time")),
    };
    let suits = |address: &SocketAddr| {
        probe
            .from
            .is_none_or(|from| from.is_ipv4() == address.is_ipv4())
    };
    let addresses: Vec<SocketAddr> = found.filter(suits).take(8).collect();
    let mut outcome = Outcome::Unknown("it has no address of the source's kind".to_owned());
    for address in addresses {
        outcome = connect(address, probe.from).await;
        if matches!(outcome, Outcome::Reachable(_)) {
            break;
        }
    }
    outcome
}

async fn connect(address: SocketAddr, from: Option<IpAddr>) -> Outcome {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let bound = socket.and_then(|socket| {
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        Ok(socket)
    });
    let socket = match bound {
        Ok(socket) => socket,
        Err(error) => {
            let from = from.map_or_else(|| "this machine".to_owned(), |from| from.to_string());
            return Outcome::Unknown(format!("no connection can be made from {from}: {error}"));
        }
    };
    match tokio::time::timeout(PATIENCE, socket.connect(address)).await {
        Ok(Ok(_)) => Outcome::Reachable(address),
        Ok(Err(error)) => judged(&error),
        Err(_) => Outcome::Closed("no answer".to_owned()),
    }
}

/// What refuses or has no way there is closed; anything else is this machine's own trouble.
fn judged(error: &io::Error) -> Outcome {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the kinds of I/O errors are an open list of the standard library"
    )]
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::TimedOut => Outcome::Closed(error.to_string()),
        _ => Outcome::Unknown(error.to_string()),
    }
}

/// The room; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Probes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    section: Segmentation,
    audit: Audit,
    clock: SharedClock,
    newest: Mutex<Option<(Timestamp, Vec<Finding>)>>,
    loud: Mutex<BTreeSet<String>>,
}

impl Probes {
    /// Opens the room.
    #[must_use]
    pub fn open(config: &Config, audit: Audit, clock: SharedClock) -> Self {
        Self {
            inner: Arc::new(Inner {
                section: config.segmentation.clone(),
                audit,
                clock,
                newest: Mutex::default(),
                loud: Mutex::default(),
            }),
        }
    }

    /// Probes at intervals until `end`.
    pub async fn keep(self, end: impl Future<Output = ()>) {
        if self.inner.section.probes.is_empty() {
            return;
        }
        let mut end = std::pin::pin!(end);
        let mut pause = FIRST.min(self.inner.section.interval);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.probe().await;
            pause = self.inner.section.interval;
        }
    }

    /// Makes every probe now, and alarms for what is reachable, once until it is closed again.
    pub async fn probe(&self) -> Vec<Finding> {
        let inner = &self.inner;
        let findings = probe(&inner.section.probes).await;
        for finding in &findings {
            let reachable = match &finding.outcome {
                Outcome::Reachable(address) => Some(*address),
                Outcome::Closed(_) => {
                    lock(&inner.loud).remove(&finding.name);
                    None
                }
                Outcome::Unknown(_) => None,
            };
            let value = if reachable.is_some() { 1.0 } else { 0.0 };
            metrics::gauge!(names::EMR_BYPASS, "emr" => finding.emr.clone()).set(value);
            if let Some(address) = reachable
                && lock(&inner.loud).insert(finding.name.clone())
            {
                self.alarm(finding, address).await;
            }
        }
        *lock(&inner.newest) = Some((inner.clock.now(), findings.clone()));
        findings
    }

    async fn alarm(&self, finding: &Finding, address: SocketAddr) {
        let Finding { name, emr, .. } = finding;
        let title =
            format!("the EMR {emr} answers at {address}, around the gateway (probe {name})");
        let detail = BTreeMap::from([
            ("rule".to_owned(), "emr-bypass".to_owned()),
            ("level".to_owned(), "critical".to_owned()),
            ("title".to_owned(), title),
            ("emr".to_owned(), emr.clone()),
        ]);
        if let Err(error) = self.inner.audit.event(Event::Alarm, None, detail).await {
            tracing::error!(%error, "an alarm could not be recorded");
        }
    }

    /// How segmentation is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let probes = self.inner.section.probes.len();
        if probes == 0 {
            return Standing::Look("no probe is configured: add [[segmentation.probe]]".to_owned());
        }
        let Some((_, findings)) = lock(&self.inner.newest).clone() else {
            return Standing::Look(format!("{probes} probes, none made yet"));
        };
        let mut unknown = None;
        for Finding {
            name, emr, outcome, ..
        } in &findings
        {
            match outcome {
                Outcome::Reachable(address) => {
                    return Standing::Bad(format!(
                        "{emr} answers at {address}, around the gateway ({name})"
                    ));
                }
                Outcome::Unknown(why) => unknown = Some(format!("{name} could not be made: {why}")),
                Outcome::Closed(_) => {}
            }
        }
        match unknown {
            Some(unknown) => Standing::Look(unknown),
            None => Standing::Fine(format!("{probes} probes found nobody around the gateway")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn at(address: SocketAddr, from: Option<&str>) -> Probe {
        Probe {
            name: "p".to_owned(),
            emr: "emr".to_owned(),
            host: address.ip().to_string(),
            port: address.port(),
            from: from.map(|from| from.parse().unwrap()),
        }
    }

    async fn outcome(probe: Probe) -> Outcome {
        self::probe(&[probe]).await.remove(0).outcome
    }

    #[tokio::test]
    async fn who_listens_is_reachable_and_who_does_not_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            outcome(at(address, None)).await,
            Outcome::Reachable(address)
        );
        assert_eq!(
            outcome(at(address, Some("127.0.0.9"))).await,
            Outcome::Reachable(address)
        );
        drop(listener);
        assert!(matches!(
            outcome(at(address, None)).await,
            Outcome::Closed(_)
        ));
    }

    #[tokio::test]
    async fn a_probe_that_cannot_be_made_is_not_closed() {
        let address = "127.0.0.1:1".parse().unwrap();
        // An address of the documentation network is none of this machine's.
        let foreign = outcome(at(address, Some("192.0.2.77"))).await;
        assert!(matches!(foreign, Outcome::Unknown(_)), "{foreign:?}");
        let other_kind = outcome(at(address, Some("::1"))).await;
        assert!(matches!(other_kind, Outcome::Unknown(_)), "{other_kind:?}");
    }
}
