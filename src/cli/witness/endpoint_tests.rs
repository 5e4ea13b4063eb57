//! A gateway's witness against the endpoint, over mutual TLS on loopback.

use std::path::Path;
use std::sync::Mutex;

use tokio::sync::oneshot;

use super::super::serve::tls_config;
use super::*;
use crate::audit::log::{
    Checkpoint, CosigningKey, Files, RealFiles, SigningKey, Witness, WitnessError,
};
use crate::audit::{fixture, witnesses};
use crate::clock::SystemClock;
use crate::config;
use crate::config::witness::{HttpsWitness, Witness as Configured};
use crate::outbound::HttpClient;
use crate::server::Certificates;

fn pair(home: &Path, name: &str) -> config::Certificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (chain, key) = (
        home.join(format!("{name}.pem")),
        home.join(format!("{name}.key")),
    );
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    config::Certificate { chain, key }
}

fn note(log: &SigningKey, sequence: u64) -> String {
    let (name, head) = (log.verifier().name(), "A".repeat(43));
    log.sign(&format!(
        "{name}\n{sequence}\n{head}=\ntime 2026-03-01T10:00:00Z\nsegment 00000000-0000-0000-0000-000000000003\nprevious 0\nclock unknown\n"
    ))
}

/// An endpoint that asks for token and client certificate, what a gateway knows of it, and the log's key.
struct Kit {
    home: tempfile::TempDir,
    log: SigningKey,
    known: HttpsWitness,
    end: Option<oneshot::Sender<()>>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Kit {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (server, client) = (pair(home.path(), "localhost"), pair(home.path(), "client"));
        let clock = SystemClock::shared();
        let certificates = Certificates::load(std::slice::from_ref(&server), clock.clone());
        let tls = tls_config(&certificates.unwrap(), Some(&client.chain)).unwrap();
        let key = CosigningKey::generate("witness.example").unwrap();
        let public = home.path().join("w.pub");
        key.write(&home.path().join("w.key"), &public).unwrap();
        let config = fixture::configured(home.path());
        let log = SigningKey::read(&config.signing_key).unwrap();
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        let (path, of) = (home.path().join("held"), log.verifier().clone());
        let holder = Holder::open(&path, &files, of, key, clock).unwrap();
        let endpoint = Endpoint {
            holder: Arc::new(holder),
            token: Some("t0ken".to_owned().into()),
            tls,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(endpoint.serve(listener, async {
            let _ended = ended.await;
        }));
        Self {
            log,
            known: HttpsWitness {
                url: format!("https://localhost:{port}/").parse().unwrap(),
                ca: Some(server.chain),
                client: Some(client),
                token: Some("t0ken".to_owned().into()),
                cosigner: Some(public),
            },
            home,
            end: Some(end),
            task: Mutex::new(Some(task)),
        }
    }

    /// Does something with a witness, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut HttpsWitness),
        act: impl FnOnce(&mut dyn Witness) -> T + Send + 'static,
    ) -> T {
        let mut known = self.known.clone();
        change(&mut known);
        let mut config = fixture::configured(self.home.path());
        config.witnesses = vec![Configured::Https(Box::new(known))];
        let key = self.log.verifier().clone();
        let done = tokio::task::spawn_blocking(move || {
            let files: Arc<dyn Files> = Arc::new(RealFiles);
            let mut opened = witnesses::open(&config, &files, &key, &SystemClock::shared());
            act(&mut *opened[0])
        });
        done.await.unwrap()
    }

    async fn post(&self, body: String) -> u16 {
        let HttpsWitness {
            url, ca, client, ..
        } = &self.known;
        let http = HttpClient::with_certificate(ca.as_deref(), client.as_ref());
        let request = Request::post(url.as_str())
            .header(AUTHORIZATION, "Bearer t0ken")
            .body(body.into_bytes())
            .unwrap();
        http.unwrap().send(request).await.unwrap().status().as_u16()
    }
}

type Change = Box<dyn FnOnce(&mut HttpsWitness)>;

#[tokio::test]
async fn a_gateway_and_its_witness_understand_each_other() {
    let mut kit = Kit::new().await;
    let notes: Vec<String> = (0..9).map(|sequence| note(&kit.log, sequence)).collect();
    let [four, five] = [notes[4].clone(), notes[5].clone()];
    let exchange = move |witness: &mut dyn Witness| {
        assert_eq!(witness.newest().unwrap(), None);
        witness.publish(&five).unwrap();
        let refused = witness.publish(&four).unwrap_err();
        (witness.newest().unwrap().unwrap(), refused)
    };
    let (held, refused) = kit.with(|_| {}, exchange).await;
    assert!(
        matches!(
            refused,
            WitnessError::GoesBack {
                held: 5,
                offered: 4
            }
        ),
        "{refused}"
    );
    let read = Checkpoint::open(&held, kit.log.verifier()).unwrap();
    assert_eq!(read.sequence, 5);
    assert!(held.contains("\u{2014} witness.example "), "{held}");

    // Without token, with a wrong one, without certificate, with one of another CA.
    let stranger = pair(kit.home.path(), "stranger");
    let spoilt: [(Change, &str); 4] = [
        (Box::new(|known| known.token = None), "401"),
        (
            Box::new(|known| known.token = Some("t0ke".to_owned().into())),
            "401",
        ),
        (Box::new(|known| known.client = None), ""),
        (Box::new(move |known| known.client = Some(stranger)), ""),
    ];
    for (spoil, said) in spoilt {
        let six = notes[6].clone();
        let act = move |witness: &mut dyn Witness| witness.publish(&six).unwrap_err();
        let error = kit.with(spoil, act).await.to_string();
        assert!(error.contains(said), "{error}");
    }
    // A note of another log, and what is none.
    let other = SigningKey::generate("gw1").unwrap();
    for (body, status) in [
        (note(&other, 9), 403),
        ("no".to_owned(), 403),
        ("x".repeat(20_000), 413),
    ] {
        assert_eq!(kit.post(body).await, status);
    }
    drop(kit.end.take());
    let task = kit.task.lock().unwrap().take().unwrap();
    task.await.unwrap();
    let kept = std::fs::read_to_string(kit.home.path().join("held")).unwrap();
    assert_eq!(kept.matches("witness.example").count(), 1, "{kept}");
}
