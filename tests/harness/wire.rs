//! A client that sends any bytes: for requests that no proper client would write.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::House;
use super::browser::tls_client;

/// How long an answer may take before the gateway counts as silent.
const PATIENCE: Duration = Duration::from_secs(15);

/// An answer as it stood on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The refusal's code, if the gateway refused.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.header("x-chartgate-refusal")
    }

    /// Whether this is no answer of the EMR: a refusal, or the parser's own 4xx.
    pub(crate) fn is_refusal(&self) -> bool {
        self.refusal().is_some() || matches!(self.status, 400 | 405 | 414 | 431)
    }

    /// What `/echo` saw.
    pub(crate) fn echo(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{} {}", self.head, self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The values of a header that `/echo` saw.
pub(crate) fn echoed<'a>(echo: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    echo["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|field| field[0] == name)
        .map(|field| field[1].as_str().unwrap())
        .collect()
}

/// A TCP stream that sends at most so many bytes at a time.
#[derive(Debug)]
pub(crate) struct Pieces {
    stream: TcpStream,
    most: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(self.most)];
        Pin::new(&mut self.stream).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One connection to the gateway.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TlsStream<Pieces>,
    read: Vec<u8>,
}

impl Wire {
    /// Connects to `localhost`, as the server name of the handshake says too.
    pub(crate) async fn open(house: &House) -> Self {
        Self::open_in_pieces(house, usize::MAX).await
    }

    /// Connects, with a handshake that arrives in pieces of at most `most` bytes.
    pub(crate) async fn open_in_pieces(house: &House, most: usize) -> Self {
        Self::connect(house, tls_client(&house.clinic.facts().ca_cert), most).await
    }

    /// Connects without naming a server in the handshake.
    pub(crate) async fn open_nameless(house: &House) -> Self {
        let mut tls = tls_client(&house.clinic.facts().ca_cert);
        tls.enable_sni = false;
        Self::connect(house, tls, usize::MAX).await
    }

    /// Connects as this TLS client.
    pub(crate) async fn open_with(house: &House, tls: rustls::ClientConfig) -> Self {
        Self::connect(house, tls, usize::MAX).await
    }

    async fn connect(house: &House, tls: rustls::ClientConfig, most: usize) -> Self {
        let stream = TcpStream::connect(house.clinic.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
            .connect(name, Pieces { stream, most })
            .await
            .unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends these bytes. A gateway that closed already is no error: its answer is still to be read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes).await;
    }

    /// Sends these bytes, if the gateway takes them.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next answer; `None` when the gateway closed the connection instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer())
            .await
            .expect("the gateway answers or closes")
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        if (100..200).contains(&status) {
            return Some(answer);
        }
        let body = if answer.header("transfer-encoding").is_some() {
            self.read_chunks().await?
        } else {
            let length = answer.header("content-length").unwrap_or("0");
            self.take(length.parse().unwrap()).await?
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    async fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = self.read.windows(2).position(|two| two == b"\r\n") {
                    break self.take(at + 2).await?;
                }
                self.read_more().await?;
            };
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            self.read_more().await?;
        }
        Some(self.read.drain(..count).collect())
    }

    async fn read_more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece).await.unwrap_or(0);
        self.read.extend_from_slice(&piece[..count]);
        (count > 0).then_some(())
    }
}

impl House {
    /// Host and port of the gateway, as they stand in `Host`.
    pub(crate) fn authority(&self) -> String {
        format!("localhost:{}", self.clinic.address().port())
    }

    /// Sends one request head, with `Host` and `Connection: close` added, on a connection of its own.
    pub(crate) async fn raw(&self, line: &[u8], fields: &str) -> Option<Answer> {
        let mut bytes = line.to_vec();
        let host = self.authority();
        bytes.extend_from_slice(
            format!("\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n").as_bytes(),
        );
        self.raw_bytes(&bytes).await
    }

    /// Sends these bytes on a connection of its own and reads the first answer.
    pub(crate) async fn raw_bytes(&self, bytes: &[u8]) -> Option<Answer> {
        let mut wire = Wire::open(self).await;
        wire.send(bytes).await;
        wire.answer().await
    }
}
