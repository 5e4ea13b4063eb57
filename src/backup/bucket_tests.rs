//! The same backups in a bucket: a small object store on loopback that believes no signature it has not recomputed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::sigv4::{self, Signed};
use super::tests::Place;
use crate::config::{BackupTarget, S3Target};

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut parts = line.split_whitespace();
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
    })
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    fn is_signed(&self, account: &S3Target) -> bool {
        let authorization = self.header("authorization");
        let names = authorization
            .split("SignedHeaders=")
            .nth(1)
            .unwrap_or_default();
        let names = names.split(',').next().unwrap_or_default();
        let headers: Vec<(&str, String)> = names
            .split(';')
            .map(|name| (name, self.header(name).to_owned()))
            .collect();
        let payload = sigv4::sha256(&self.body);
        let expected = sigv4::authorization(
            account,
            &Signed {
                method: &self.method,
                path: &self.path,
                query: &self.query,
                headers: &headers,
                payload: &payload,
                stamp: self.header("x-amz-date"),
            },
        );
        expected == authorization && self.header("x-amz-content-sha256") == payload
    }
}

/// Names begin a page of three behind the token.
fn listing(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let part = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let prefix = format!("/saved/{}", part("prefix").unwrap());
    let after = part("continuation-token").unwrap_or_default();
    let found: Vec<&String> = objects
        .keys()
        .filter(|key| key.starts_with(&prefix) && **key > after)
        .collect();
    let mut text = "<ListBucketResult>".to_owned();
    for key in found.iter().take(3) {
        let key = key.strip_prefix("/saved/").unwrap();
        text.extend(["<Contents><Key>", key, "</Key></Contents>"]);
    }
    if found.len() > 3 {
        text.extend([
            "<NextContinuationToken>",
            found[2],
            "</NextContinuationToken>",
        ]);
    }
    text + "</ListBucketResult>"
}

fn answer(request: &Request, account: &S3Target, objects: &Objects) -> (u16, Vec<u8>) {
    if !request.is_signed(account) {
        return (
            403,
            b"<Error><Code>SignatureDoesNotMatch</Code></Error>".to_vec(),
        );
    }
    let mut objects = objects.lock().unwrap();
    match request.method.as_str() {
        "PUT" => {
            objects.insert(request.path.clone(), request.body.clone());
            (200, Vec::new())
        }
        "GET" if request.path == "/saved" => (200, listing(&objects, &request.query).into_bytes()),
        _ => match objects.get(&request.path) {
            Some(object) => (200, object.clone()),
            None => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        },
    }
}

/// Serves until the process ends.
fn store(secret: &str) -> (S3Target, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let account = S3Target {
        endpoint: format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
        bucket: "saved".to_owned(),
        region: "eu-central-1".to_owned(),
        prefix: "gateway-1/".to_owned(),
        access_key_id: "chartgate".to_owned(),
        secret_access_key: secret.to_owned().into(),
        ca: None,
    };
    let objects = Objects::default();
    let (known, kept) = (account.clone(), Arc::clone(&objects));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = request(&stream) else {
                continue;
            };
            let (status, body) = answer(&request, &known, &kept);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            if request.method != "HEAD" {
                stream.write_all(&body).unwrap();
            }
        }
    });
    (account, objects)
}

#[tokio::test]
async fn a_bucket_holds_what_a_directory_would_and_is_verified_like_one() {
    let (account, objects) = store("s3cret");
    let place = Place::open().await;
    place.happen(5).await;
    let place = place.reopen().await;
    let place = place
        .with_target(BackupTarget::S3(Box::new(account.clone())))
        .await;
    for _ in 0..2 {
        place.clock.advance(std::time::Duration::from_secs(1));
        let made = place.backups.run("alice").await.unwrap();
        assert_eq!(made.problems, Vec::<String>::new());
    }
    let names: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("/saved/gateway-1/")),
        "{names:?}"
    );
    let found = place.backups.verify("alice", None).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.backups, found.unreferenced), (2, 0));
    assert!(found.objects > 10, "{found:?}");
    let drilled = place.backups.drill("alice", None).await.unwrap();
    assert_eq!(drilled.problems, Vec::<String>::new());

    let first = names[0].clone();
    objects.lock().unwrap().get_mut(&first).unwrap()[60] ^= 1;
    let found = place.backups.verify("alice", None).await.unwrap();
    assert!(!found.problems.is_empty());
    objects.lock().unwrap().remove(&first);
    let found = place.backups.verify("alice", None).await.unwrap();
    assert!(
        found.problems.join("\n").contains("is missing"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_wrong_secret_is_told() {
    let (mut account, objects) = store("s3cret");
    account.secret_access_key = "another".to_owned().into();
    let place = Place::open()
        .await
        .with_target(BackupTarget::S3(Box::new(account)))
        .await;
    let refused = place.backups.run("alice").await.unwrap_err().to_string();
    assert!(
        refused.contains("403") && refused.contains("SignatureDoesNotMatch"),
        "{refused}"
    );
    assert!(objects.lock().unwrap().is_empty());
}
