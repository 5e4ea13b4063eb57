//! Whole requests against every shipped profile: one meaning or a refusal, and the same meaning in every spelling.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chartgate::clock::SystemClock;
use chartgate::emr::Profile;
use chartgate::emr::fuzzing::{HOST, Rig};
use chartgate::refusal::Refusal;
use chartgate::request::facts::{Action, Mapping};
use chartgate::request::hygiene::Hygiene;
use chartgate::request::received::Connection;
use chartgate::request::{BodyError, PeerAddr};
use chartgate::server::Reception;
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

static RIGS: LazyLock<Vec<Rig>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/emr");
    let files = std::fs::read_dir(folder).expect("the shipped profiles");
    let rigs: Vec<Rig> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .map(|path| Profile::read(&path).expect("a shipped profile"))
        .map(|profile| Rig::new(profile, SystemClock::shared()))
        .collect();
    assert!(rigs.len() >= 3, "the shipped profiles were not found");
    rigs
});

static RECEPTION: LazyLock<Reception> = LazyLock::new(|| Reception {
    clock: SystemClock::shared(),
    trusted: Vec::new(),
    hygiene: Hygiene::default(),
    knows: Arc::new(|host| host == HOST),
    edition: Arc::new(|| 1.into()),
    body_timeout: Duration::from_secs(1),
});

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// A request as the input spells it: a line of method and target, fields, an empty line, the body.
#[derive(Clone)]
struct Ask<'a> {
    method: &'a [u8],
    target: Vec<u8>,
    fields: Vec<(&'a [u8], &'a [u8])>,
    body: Vec<u8>,
}

impl<'a> Ask<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|two| two == b"\n\n");
        let (head, body) = bytes.split_at(end.unwrap_or(bytes.len()));
        let mut lines = head.split(|b| *b == b'\n');
        let (method, target) = split_once(lines.next()?, b' ')?;
        Some(Self {
            method,
            target: target.to_vec(),
            fields: lines.filter_map(|line| split_once(line, b':')).collect(),
            body: body.get(2..).unwrap_or_default().to_vec(),
        })
    }

    /// What the request means to one EMR; nothing where it is not received at all.
    fn mean(&self, rig: &Rig) -> Option<Result<Mapping, Refusal>> {
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(self.target.as_slice())
            .header("host", HOST);
        for (name, value) in &self.fields {
            request = request.header(*name, value.trim_ascii());
        }
        let body = Full::new(Bytes::from(self.body.clone()))
            .map_err(|never| -> BodyError { match never {} });
        let request = request.body(body).ok()?;
        let connection = Connection {
            peer: PeerAddr::new("192.0.2.7:50000".parse().expect("an address")),
            sni: None,
            tls: None,
            certificate: None,
        };
        let received = RECEPTION.receive(request, &connection, None).ok()?;
        let expires = SystemClock::shared().now() + jiff::SignedDuration::from_hours(1);
        Some(RUNTIME.with(|runtime| runtime.block_on(rig.map(received, expires))))
    }

    fn path_len(&self) -> usize {
        let end = |b: &u8| matches!(b, b'?' | b'#');
        self.target.iter().position(end).unwrap_or(self.target.len())
    }

    /// The same request with one letter or digit of its path spelt as an escape.
    fn escaped(&self) -> Option<Self> {
        let path = self.target.get(..self.path_len())?;
        let free = |at: &usize| {
            let escape = path.get(at.saturating_sub(2)..*at).unwrap_or_default();
            path[*at].is_ascii_alphanumeric() && !escape.contains(&b'%')
        };
        let places: Vec<usize> = (0..path.len()).filter(free).collect();
        let at = *places.get((self.target.len() + self.body.len()) % places.len().max(1))?;
        let mut other = self.clone();
        let escape = format!("%{:02x}", path[at]).into_bytes();
        other.target.splice(at..=at, escape);
        Some(other)
    }

    /// The same request that says everything twice, in the query and in a form.
    fn doubled(&self) -> [Option<Self>; 2] {
        let mut query = self.clone();
        let said = self.target.get(self.path_len() + 1..).unwrap_or_default();
        query.target.extend([b"&", said].concat());
        let mut form = self.clone();
        form.body = [&self.body, b"&".as_slice(), &self.body].concat();
        let has_query = !said.is_empty() && self.target.get(self.path_len()) == Some(&b'?');
        [has_query.then_some(query), (!self.body.is_empty()).then_some(form)]
    }
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == at)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fuzz_target!(|bytes: &[u8]| {
    let Some(ask) = Ask::read(bytes) else {
        return;
    };
    for rig in RIGS.iter() {
        let Some(Ok(meaning)) = ask.mean(rig) else {
            continue;
        };
        check(rig, &meaning);
        // Whoever undoes escapes before it acts, and whoever does not, acts on what was decided.
        if let Some(Some(Ok(other))) = ask.escaped().map(|other| other.mean(rig))
            && other.action != Action::Unmapped
            && meaning.action != Action::Unmapped
        {
            assert_eq!(other, meaning);
        }
        for other in ask.doubled().into_iter().flatten() {
            if let Some(Ok(other)) = other.mean(rig) {
                assert_eq!(other.patients, meaning.patients);
                assert_eq!(other.route, meaning.route);
            }
        }
    }
});

fn check(rig: &Rig, meaning: &Mapping) {
    let profile = rig.profile().expect("the profile");
    let route = profile.routes().iter().find(|route| route.id() == meaning.route);
    match route {
        Some(route) => {
            assert_eq!(route.action(), meaning.action);
            assert_eq!(route.section(), meaning.section);
        }
        None => {
            assert_eq!(meaning.action, Action::Unmapped);
            assert!(meaning.patients.is_empty());
            // All that is on record of it is that cookies of no session were not forwarded.
            assert!(meaning.fields.keys().all(|name| name == "dropped_cookies"));
        }
    }
    for patient in &meaning.patients {
        assert!(!patient.system.is_empty() && !patient.id.is_empty());
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        assert!(patient.id.bytes().all(plain), "{patient:?}");
    }
    for value in meaning.fields.values() {
        assert!(value.chars().count() <= 1000);
    }
    // No EMR session was obtained, so nobody can be selected in one.
    let is_sticky = |p: &chartgate::request::PatientRef| {
        p.source == chartgate::request::facts::PatientSource::Sticky
    };
    assert!(!meaning.patients.iter().any(is_sticky));
}
