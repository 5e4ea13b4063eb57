//! How listeners answer clients that they should refuse, asked on the wire.
//!
//! The greetings are written by hand: no TLS library of today offers what a gateway must refuse.
//! *Never*: more than a greeting; nothing is read beyond the head of an answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::posture::facts::{Listener, Plain, Taken};

/// A listener of this machine answers within this.
const PATIENCE: Duration = Duration::from_secs(3);
/// The head of a redirect is some hundred bytes.
const HEAD: usize = 4096;

/// A record that carries a handshake message, and one that carries an alert.
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const TLS_1_1: [u8; 2] = [3, 2];
const TLS_1_2: [u8; 2] = [3, 3];
/// ECDHE and RSA with AES-CBC and 3DES: every suite that TLS 1.1 had and servers still knew lately.
const CBC: &[u16] = &[
    0xc028, 0xc024, 0xc027, 0xc023, 0xc014, 0xc00a, 0xc013, 0xc009, 0x003d, 0x003c, 0x0035, 0x002f,
    0x000a,
];

/// Asks every HTTPS listener.
pub(super) async fn listeners(config: &Config) -> Vec<Listener> {
    let host = host(config);
    let mut found = Vec::new();
    for address in config.server.listen.iter().copied().map(near) {
        found.push(Listener {
            address,
            old_version: taken(address, &greeting(TLS_1_1, host)).await,
            weak_suites: taken(address, &greeting(TLS_1_2, host)).await,
        });
    }
    found
}

/// Asks every plain HTTP listener.
pub(super) async fn plain(config: &Config) -> Vec<Plain> {
    let host = host(config);
    let mut found = Vec::new();
    for address in config.server.redirect_http.iter().copied().map(near) {
        let asked = tokio::time::timeout(PATIENCE, redirect(address, host)).await;
        let location = match asked {
            Ok(Ok(location)) => Ok(location),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        found.push(Plain { address, location });
    }
    found
}

fn host(config: &Config) -> &str {
    let mut hosts = config.emrs.iter().flat_map(|emr| &emr.hosts);
    hosts.next().map_or("localhost", String::as_str)
}

/// Where a listener of all addresses is reached from this machine.
const fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn taken(address: SocketAddr, greeting: &[u8]) -> Taken {
    match tokio::time::timeout(PATIENCE, answer(address, greeting)).await {
        Ok(Ok(Some(HANDSHAKE))) => Taken::Accepted,
        // An alert, or a connection that is closed without a word.
        Ok(Ok(Some(ALERT) | None)) => Taken::Refused,
        Ok(Ok(Some(other))) => Taken::Silent(format!("it does not speak TLS (first byte {other})")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Taken::Refused,
        Ok(Err(error)) => Taken::Silent(error.to_string()),
        Err(_) => Taken::Silent("no answer in time".to_owned()),
    }
}

/// The first byte of the answer; nothing where the connection ends without one.
async fn answer(address: SocketAddr, greeting: &[u8]) -> io::Result<Option<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(greeting).await?;
    let mut first = [0_u8; 1];
    let read = stream.read(&mut first).await?;
    Ok((read == 1).then(|| u8::from_be_bytes(first)))
}

async fn redirect(address: SocketAddr, host: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let limit = u64::try_from(HEAD).unwrap_or(u64::MAX);
    stream.take(limit).read_to_end(&mut head).await?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let location = head
        .lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location")
                .then(|| value.trim().to_owned())
        });
    match location {
        Some(location) if status.starts_with('3') => Ok(location),
        // What answers a request for a page with a page is no redirect, wherever it lies.
        Some(_) | None => Ok(format!("nowhere: it answers {status} itself")),
    }
}

/// A `ClientHello` of this version at most, with suites that have no authenticated encryption.
fn greeting(version: [u8; 2], host: &str) -> Vec<u8> {
    let mut suites = Vec::new();
    for suite in CBC {
        suites.extend(suite.to_be_bytes());
    }
    let mut name = vec![0];
    name.extend(counted(host.as_bytes()));
    let mut extensions = Vec::new();
    let mut add = |kind: u16, body: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(counted(body));
    };
    add(0, &counted(&name));
    // Groups x25519, P-256, P-384; uncompressed points; signatures by RSA and ECDSA with SHA-2 and SHA-1.
    add(10, &counted(&[0, 29, 0, 23, 0, 24]));
    add(11, &[1, 0]);
    add(13, &counted(&[8, 4, 4, 3, 4, 1, 5, 3, 5, 1, 2, 3, 2, 1]));
    let mut hello = version.to_vec();
    hello.extend([0x5a; 32]);
    hello.push(0);
    hello.extend(counted(&suites));
    hello.extend([1, 0]);
    hello.extend(counted(&extensions));
    let mut message = vec![1, 0];
    message.extend(counted(&hello));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(counted(&message));
    record
}

/// Bytes behind their number, in two bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut counted = length.to_be_bytes().to_vec();
    counted.extend(bytes);
    counted
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn who_answers(with: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let read = stream.read(&mut heard).await.unwrap();
            heard.truncate(read);
            stream.write_all(with).await.unwrap();
            heard
        });
        (address, served)
    }

    #[tokio::test]
    async fn a_server_hello_is_acceptance_and_an_alert_or_silence_is_refusal() {
        let greeting = greeting(TLS_1_1, "emr.hospital.example");
        let (address, served) = who_answers(&[HANDSHAKE, 3, 2, 0, 1]).await;
        assert_eq!(taken(address, &greeting).await, Taken::Accepted);
        assert_eq!(served.await.unwrap(), greeting);
        let (address, _served) = who_answers(&[ALERT, 3, 1, 0, 2, 2, 70]).await;
        assert_eq!(taken(address, &greeting).await, Taken::Refused);
        let (address, _served) = who_answers(&[]).await;
        assert_eq!(taken(address, &greeting).await, Taken::Refused);
        let (address, _served) = who_answers(b"HTTP/1.1 400").await;
        assert!(matches!(taken(address, &greeting).await, Taken::Silent(_)));
    }

    #[tokio::test]
    async fn a_redirect_says_where_to_and_a_page_is_none() {
        let to =
            b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://emr.hospital.example/\r\n\r\n";
        let (address, _served) = who_answers(to).await;
        let location = redirect(address, "emr.hospital.example").await.unwrap();
        assert_eq!(location, "https://emr.hospital.example/");
        let (address, _served) = who_answers(b"HTTP/1.1 200 OK\r\n\r\n<h1>EMR</h1>").await;
        let location = redirect(address, "emr.hospital.example").await.unwrap();
        assert!(location.starts_with("nowhere"), "{location}");
    }

    #[test]
    fn the_greeting_is_one_that_rustls_can_read() {
        // Lengths that do not add up would be refused whatever is offered, and prove nothing.
        for version in [TLS_1_1, TLS_1_2] {
            let mut acceptor = rustls::server::Acceptor::default();
            let greeting = greeting(version, "emr.hospital.example");
            let read = acceptor.read_tls(&mut greeting.as_slice()).unwrap();
            assert_eq!(read, greeting.len());
            let accepted = acceptor.accept().map_err(|(error, _)| error).unwrap();
            let accepted = accepted.expect("the greeting is whole");
            let hello = accepted.client_hello();
            assert_eq!(hello.server_name(), Some("emr.hospital.example"));
            assert_eq!(hello.cipher_suites().len(), CBC.len());
        }
    }
}
