//! A small object store on loopback that believes no signature it has not recomputed.

pub(crate) mod locked;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::config::S3Target;
use crate::outbound::sigv4::{self, Signed, Signer};

/// What the store holds, by path.
pub(crate) type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// What the store was asked.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What it answers: a status, headers, and a body, which a HEAD only measures.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

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
    /// A parameter of the query.
    pub(crate) fn part(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
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
            &Signer {
                access_key_id: &account.access_key_id,
                secret_access_key: &account.secret_access_key,
                region: &account.region,
                service: "s3",
            },
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

/// The name under which a number says how many marks of deletion lie on the first object.
const MARKS: &str = "marks";

/// From here on so many marks of deletion lie on the first object.
pub(crate) fn mark_deleted(objects: &Objects, marks: usize) {
    let mut objects = objects.lock().unwrap();
    objects.insert(MARKS.to_owned(), marks.to_string().into_bytes());
}

/// Every object has one version; before the first lie the marks of deletion, three to a page.
fn versions(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let pairs: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    let number = |text: &str| text.parse::<usize>().unwrap();
    let marks = objects
        .get(MARKS)
        .map_or(0, |marks| number(std::str::from_utf8(marks).unwrap()));
    let seen = pairs
        .get("version-id-marker")
        .map_or(0, |marker| number(marker))
        .saturating_add(3);
    let mut text = "<ListVersionsResult>".to_owned();
    if seen < marks {
        text.push_str("<DeleteMarker><Key>k</Key><VersionId>m</VersionId></DeleteMarker>");
        text.extend([
            "<NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>",
            &seen.to_string(),
            "</NextVersionIdMarker>",
        ]);
        return text + "</ListVersionsResult>";
    }
    let prefix = &*pairs["prefix"];
    let keys = objects.keys().filter_map(|key| key.strip_prefix("/saved/"));
    for key in keys.filter(|key| key.starts_with(prefix)) {
        text.extend([
            "<Version><Key>",
            key,
            "</Key><VersionId>v1</VersionId></Version>",
        ]);
    }
    text + "</ListVersionsResult>"
}

fn answer(request: &Request, objects: &Objects) -> Reply {
    let mut objects = objects.lock().unwrap();
    let (status, body) = match request.method.as_str() {
        "PUT" => {
            objects.insert(request.path.clone(), request.body.clone());
            (200, Vec::new())
        }
        "GET" if request.path == "/saved" && request.query.contains("versions=") => {
            (200, versions(&objects, &request.query).into_bytes())
        }
        "GET" if request.path == "/saved" => (200, listing(&objects, &request.query).into_bytes()),
        _ => match objects.get(&request.path) {
            Some(object) => (200, object.clone()),
            None => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        },
    };
    (status, Vec::new(), body)
}

/// Serves until the process ends; gives the account, and what it holds.
pub(crate) fn store(secret: &str) -> (S3Target, Objects) {
    let objects = Objects::default();
    let kept = Arc::clone(&objects);
    let account = serve(secret, move |request| answer(request, &kept));
    (account, objects)
}

/// Answers requests that are signed, until the process ends; gives the account.
pub(crate) fn serve(secret: &str, answer: impl Fn(&Request) -> Reply + Send + 'static) -> S3Target {
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
    let known = account.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = request(&stream) else {
                continue;
            };
            let (status, headers, body) = if request.is_signed(&known) {
                answer(&request)
            } else {
                let code = "<Error><Code>SignatureDoesNotMatch</Code></Error>";
                (403, Vec::new(), code.as_bytes().to_vec())
            };
            let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
            stream.write_all(head.as_bytes()).unwrap();
            if request.method != "HEAD" {
                stream.write_all(&body).unwrap();
            }
        }
    });
    account
}
