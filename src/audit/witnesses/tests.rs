//! Witnesses on loopback: ones that do as they should, and ones that are slow, silent or lie.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::audit::fixture;
use crate::audit::log::{
    CosigningKey, Log, LogError, LogOptions, Payload, Priority, RealFiles, SigningKey, Truncation,
    verify,
};
use crate::audit::trail::Audit;
use crate::clock::SystemClock;
use crate::config::witness::HttpsWitness as Endpoint;
use crate::request::Event;

/// A checkpoint of a log that is nowhere.
pub(super) fn note(log: &SigningKey, sequence: u64) -> String {
    note_after(log, sequence, sequence.saturating_sub(1))
}

/// The same, with the one that the log made before it.
pub(super) fn note_after(log: &SigningKey, sequence: u64, previous: u64) -> String {
    let name = log.verifier().name();
    let head = "A".repeat(43);
    log.sign(&format!(
        "{name}\n{sequence}\n{head}=\ntime 2026-03-01T10:00:00Z\nsegment 00000000-0000-0000-0000-000000000003\nprevious {previous}\nclock unknown\n"
    ))
}

/// What a request asked: method, headers in lower case, body.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    headers: String,
    body: String,
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let method = line.split(' ').next()?.to_owned();
    let mut headers = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        headers.extend([&line, "\n"]);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        method,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// Serves one answer to each request, made by `answer`, until the process ends.
fn serve(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Configured {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/gw", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let Some(asked) = read(&stream) else { return };
                let (status, body) = answer(&asked);
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all((head + &body).as_bytes()));
            });
        }
    });
    Configured::Https(Box::new(Endpoint {
        url: url.parse().unwrap(),
        ca: None,
        client: None,
        token: Some("t0ken".to_owned().into()),
        cosigner: None,
    }))
}

fn witness(configured: &Configured, log: &SigningKey) -> HttpsWitness {
    let Configured::Https(endpoint) = configured else {
        panic!("{configured:?}");
    };
    let key = log.verifier().clone();
    HttpsWitness::new(endpoint, configured.to_string(), key)
}

/// A witness as it should be, in this process.
fn honest(home: &Path, log: &SigningKey) -> Arc<Holder> {
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let key = CosigningKey::generate("witness.example").unwrap();
    key.write(&home.join("w.key"), &home.join("w.pub")).unwrap();
    let (path, log) = (home.join("held"), log.verifier().clone());
    let clock = SystemClock::shared();
    Arc::new(Holder::open(&path, &files, log, key, clock).unwrap())
}

/// The protocol of docs/witnesses.md.
fn protocol(holder: &Holder, asked: &Asked) -> (u16, String) {
    match asked.method.as_str() {
        "GET" => match holder.newest() {
            Some(note) => (200, note),
            None => (204, String::new()),
        },
        _ => match holder.take(&asked.body).unwrap() {
            Taken::Held(line) => (200, line),
            Taken::GoesBack(newest) => (409, newest),
            Taken::Foreign(error) => (403, error.to_string()),
        },
    }
}

#[test]
fn an_endpoint_is_given_notes_and_asked_for_the_newest() {
    let home = tempfile::tempdir().unwrap();
    let log = SigningKey::generate("gw").unwrap();
    let holder = honest(home.path(), &log);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (known, ears) = (Arc::clone(&holder), Arc::clone(&heard));
    let mut configured = serve(move |asked| {
        ears.lock().unwrap().push(asked.clone());
        protocol(&known, asked)
    });
    if let Configured::Https(endpoint) = &mut configured {
        endpoint.cosigner = Some(home.path().join("w.pub"));
    }
    let mut witness = witness(&configured, &log);
    assert_eq!(witness.newest().unwrap(), None);
    witness.publish(&note(&log, 7)).unwrap();
    let newest = witness.newest().unwrap().unwrap();
    assert_eq!(log.verifier().own(&newest), Ok(note(&log, 7)));
    let refused = witness.publish(&note(&log, 6)).unwrap_err();
    assert_eq!(refused.holds(), Some(7), "{refused}");
    witness.publish(&note(&log, 8)).unwrap();
    for asked in heard.lock().unwrap().iter() {
        assert!(
            asked.headers.contains("authorization: bearer t0ken\n"),
            "{asked:?}"
        );
    }
    // As a verification sees it.
    let key = log.verifier();
    let heard = ask(&[configured], key, &SystemClock::shared());
    assert_eq!(heard.silent, Vec::<String>::new());
    assert!(heard.read[0].1.contains("gw\n8\n"));
}

#[test]
fn a_witness_that_lies_is_not_believed() {
    let log = SigningKey::generate("gw").unwrap();
    let stranger = SigningKey::generate("gw").unwrap();
    let answers: [(u16, String); 6] = [
        (409, note(&log, 3)),
        (409, note(&stranger, 99)),
        (409, "no".to_owned()),
        (302, String::new()),
        (500, String::new()),
        (200, "x".repeat(20_000)),
    ];
    for (status, body) in answers {
        let said = (status, body.clone());
        let configured = serve(move |_| said.clone());
        let error = witness(&configured, &log)
            .publish(&note(&log, 5))
            .unwrap_err();
        assert_eq!(error.holds(), None, "{status} {body}: {error}");
    }
    // What it gives out is nothing, where this log did not sign it.
    let forged = note(&stranger, 99);
    let configured = serve(move |_| (200, forged.clone()));
    let error = witness(&configured, &log).newest().unwrap_err();
    assert!(matches!(error, WitnessError::Note { .. }), "{error}");

    // It says yes, and cannot prove it.
    let home = tempfile::tempdir().unwrap();
    let holder = honest(home.path(), &log);
    let Taken::Held(line) = holder.take(&note(&log, 4)).unwrap() else {
        panic!("it was not taken");
    };
    for body in [String::new(), line, note(&log, 5)] {
        let mut configured = serve(move |_| (200, body.clone()));
        if let Configured::Https(endpoint) = &mut configured {
            endpoint.cosigner = Some(home.path().join("w.pub"));
        }
        let error = witness(&configured, &log)
            .publish(&note(&log, 5))
            .unwrap_err()
            .to_string();
        assert!(error.contains("proves nothing"), "{error}");
    }
}

fn options(config: &config::Audit) -> LogOptions {
    let signer = SigningKey::read(&config.signing_key).unwrap();
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let master = crate::audit::log::MasterKey::read(&config.master_key).unwrap();
    LogOptions {
        directory: config.directory.clone(),
        node: config.node.clone(),
        master: Arc::new(master),
        witnesses: open(config, &files, signer.verifier(), &SystemClock::shared()),
        signer,
        observer: Box::new(fixture::Deaf),
        limits: crate::audit::log::Limits {
            checkpoint_records: 1,
            min_free_bytes: 0,
            ..crate::audit::log::Limits::default()
        },
        watch: SystemClock::shared(),
        truncation: Truncation::Refuse,
    }
}

fn write(log: &Log, count: usize) {
    for _ in 0..count {
        let [slot] = log.reserve::<1>(Priority::Routine).unwrap();
        slot.append(Payload::new(b"record".to_vec()).unwrap())
            .wait()
            .unwrap();
    }
}

/// A clock by which the opening of a log has waited long enough at its second look.
#[derive(Debug, Default)]
struct Impatient(std::sync::atomic::AtomicU64);

impl crate::clock::Clock for Impatient {
    fn now(&self) -> jiff::Timestamp {
        fixture::time()
    }

    fn monotonic(&self) -> Duration {
        let looks = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Duration::from_secs(looks.saturating_mul(60))
    }
}

#[test]
fn a_silent_witness_holds_up_neither_the_start_nor_the_others() {
    let home = tempfile::tempdir().unwrap();
    let mut config = fixture::configured(home.path());
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let silent = serve(move |_| {
        // It takes the question and says nothing for as long as the test goes on.
        let _released = gate.lock().unwrap().recv();
        (500, String::new())
    });
    let name = silent.to_string();
    config.witnesses.insert(0, silent);
    let opened = Log::open(
        options(&config),
        Arc::new(RealFiles),
        Arc::new(Impatient::default()),
    );
    let (log, recovered) = opened.unwrap();
    assert!(
        recovered
            .unheard
            .iter()
            .any(|unheard| unheard.witness == name),
        "{recovered:?}"
    );
    write(&log, 3);
    // The file beside it takes everything.
    while log.status().witnesses[1].newest != Some(3) {
        std::thread::yield_now();
    }
    assert_eq!(log.status().witnesses[0].newest, None);
    drop(release);
}

#[test]
fn a_trail_that_was_rolled_back_is_known_to_an_endpoint() {
    let home = tempfile::tempdir().unwrap();
    let mut config = fixture::configured(home.path());
    let signer = SigningKey::read(&config.signing_key).unwrap();
    let holder = honest(home.path(), &signer);
    let known = Arc::clone(&holder);
    config.witnesses = vec![serve(move |asked| protocol(&known, asked))];
    let start = |config: &config::Audit| {
        Log::open(options(config), Arc::new(RealFiles), SystemClock::shared())
    };
    let (log, _) = start(&config).unwrap();
    write(&log, 2);
    log.shutdown().unwrap();
    // A copy is kept, the trail goes on, and the copy comes back.
    let copy = home.path().join("copy");
    copy_all(&config.directory, &copy);
    let (log, _) = start(&config).unwrap();
    write(&log, 5);
    log.shutdown().unwrap();
    std::fs::remove_dir_all(&config.directory).unwrap();
    copy_all(&copy, &config.directory);
    let refused = start(&config).unwrap_err();
    assert!(
        matches!(refused, LogError::Ahead { witnessed: 7, .. }),
        "{refused}"
    );
    let heard = ask(&config.witnesses, signer.verifier(), &SystemClock::shared());
    let report = verify(
        &RealFiles,
        &config.directory,
        signer.verifier(),
        &heard.places(),
        None,
    )
    .unwrap();
    assert_eq!(report.first_bad(), Some(3), "{report:?}");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// A syslog receiver that trusts the certificate `client`: takes one connection, and gives what was sent over it.
fn receiver(home: &Path) -> (Configured, std::sync::mpsc::Receiver<String>) {
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (chain, key) = (
            home.join(format!("{name}.pem")),
            home.join(format!("{name}.key")),
        );
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        config::Certificate { chain, key }
    };
    let (server, client) = (pair("localhost"), pair("client"));
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&client.chain).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&server.chain).unwrap()],
            PrivateKeyDer::from_pem_file(&server.key).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, frames) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(tls)).unwrap();
        let mut reader = BufReader::new(rustls::StreamOwned::new(session, stream));
        loop {
            let mut length = Vec::new();
            if reader.read_until(b' ', &mut length).unwrap_or(0) == 0 {
                return;
            }
            let length = String::from_utf8(length).unwrap();
            let mut frame = vec![0; length.trim().parse().unwrap()];
            reader.read_exact(&mut frame).unwrap();
            if sent.send(String::from_utf8(frame).unwrap()).is_err() {
                return;
            }
        }
    });
    let at = format!("localhost:{port}");
    let server = config::syslog::SyslogServer::at(&at, Some(server.chain), Some(client)).unwrap();
    (Configured::Syslog(Box::new(server)), frames)
}

#[test]
fn what_a_syslog_receiver_wrote_down_proves_the_trail() {
    let home = tempfile::tempdir().unwrap();
    let mut config = fixture::configured(home.path());
    let (configured, frames) = receiver(home.path());
    config.witnesses = vec![configured];
    let clock = SystemClock::shared();
    let (log, _) = Log::open(options(&config), Arc::new(RealFiles), clock.clone()).unwrap();
    write(&log, 3);
    log.shutdown().unwrap();
    assert_eq!(log.status().witnesses[0].newest, Some(3));
    let received: Vec<String> = frames.iter().collect();
    let first = received.first().unwrap();
    assert!(
        first.starts_with("<86>1 ") && first.contains(" chartgate "),
        "{first}"
    );
    assert!(first.contains(" checkpoint - "), "{first}");
    let file = home.path().join("received.log");
    std::fs::write(&file, received.join("\n")).unwrap();
    let key = SigningKey::read(&config.signing_key).unwrap();
    // It cannot be asked; what it wrote is verified as a file.
    let nothing = ask(&config.witnesses, key.verifier(), &clock);
    assert!(nothing.read.is_empty() && nothing.silent.is_empty());
    let heard = ask(&[Configured::File(file)], key.verifier(), &clock);
    let places = heard.places();
    let report = verify(&RealFiles, &config.directory, key.verifier(), &places, None).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.newest_witnessed, Some(3));
}

/// The path of a running gateway: a witness that says at once that the trail goes back.
#[tokio::test]
async fn a_witness_that_knows_more_is_shown_with_what_it_holds() {
    let home = tempfile::tempdir().unwrap();
    let mut config = fixture::configured(home.path());
    let signer = SigningKey::read(&config.signing_key).unwrap();
    let newer = note(&signer, 1_000);
    // It held that back when it was asked.
    config.witnesses = vec![serve(move |asked| {
        if asked.method == "GET" {
            (204, String::new())
        } else {
            (409, newer.clone())
        }
    })];
    config.checkpoint_records = 1;
    let (audit, _) = Audit::open(
        &config,
        &fixture::limits(),
        Arc::new(RealFiles),
        SystemClock::shared(),
        Truncation::Refuse,
    )
    .await
    .unwrap();
    let event = audit.event(Event::AuditRead, None, std::collections::BTreeMap::new());
    event.await.unwrap();
    while audit.log().status().witnesses[0].holds.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(audit.log().status().witnesses[0].holds, Some(1_000));
}
