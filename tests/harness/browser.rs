//! A small browser: cookies, redirects, forms; TLS with a private CA; host names mapped to loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::Url;

/// Why there is no answer.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) url: Url,
}

impl Page {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The refusal's code, if the gateway refused.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.header("x-chartgate-refusal")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A browser with its own cookies.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    tls: Arc<rustls::ClientConfig>,
    address: SocketAddr,
    pub(crate) cookies: BTreeMap<(String, String), String>,
    /// Send what a script sends instead of what a navigation sends.
    pub(crate) scripted: bool,
    /// What it says it is; nothing, as a script does, where there is none.
    pub(crate) agent: Option<&'static str>,
    /// The languages that its user reads, as `Accept-Language` names them.
    pub(crate) languages: Option<&'static str>,
    /// The last offer to bind its session to a key of its device.
    pub(crate) offer: Option<String>,
}

pub(crate) fn tls_client(ca_pem: &std::path::Path) -> rustls::ClientConfig {
    tls_trusting(ca_pem).with_no_client_auth()
}

/// A TLS client that trusts this CA and has not said whether it has a certificate of its own.
pub(crate) fn tls_trusting(
    ca_pem: &std::path::Path,
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_pem).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

impl Browser {
    /// A fresh browser that reaches every https host at `gateway`.
    pub(crate) fn new(ca_pem: &std::path::Path, gateway: SocketAddr) -> Self {
        Self {
            tls: Arc::new(tls_client(ca_pem)),
            address: gateway,
            cookies: BTreeMap::new(),
            scripted: false,
            agent: None,
            languages: None,
            offer: None,
        }
    }

    /// The same browser, with other TLS: another device's.
    pub(crate) fn presenting(mut self, tls: rustls::ClientConfig) -> Self {
        self.tls = Arc::new(tls);
        self
    }

    /// The `Cookie` field that this browser sends to `authority`, with its line end; nothing if it has no cookie.
    pub(crate) fn cookie_field(&self, authority: &str) -> String {
        let jar = self.cookie_header(authority);
        jar.map_or_else(String::new, |jar| format!("Cookie: {jar}\r\n"))
    }

    /// The value of a cookie, whichever host set it.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let mut cookies = self.cookies.iter();
        let found = cookies.find(|((_, cookie), _)| cookie == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) async fn get(&mut self, url: &str) -> Page {
        self.send(Method::GET, url, None, HeaderMap::new()).await
    }

    /// Follows redirects as a browser does, up to ten.
    pub(crate) async fn visit(&mut self, url: &str) -> Page {
        let page = self.get(url).await;
        self.follow(page).await
    }

    pub(crate) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            let Some(location) = page
                .headers
                .get(LOCATION)
                .filter(|_| page.status.is_redirection())
            else {
                return page;
            };
            let next = page.url.join(location.to_str().unwrap()).unwrap();
            page = self.get(next.as_str()).await;
        }
        panic!("redirect loop at {}", page.url)
    }

    pub(crate) async fn post_form(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        self.send(Method::POST, url, Some(Bytes::from(body)), headers)
            .await
    }

    pub(crate) async fn post_json(&mut self, url: &str, body: &serde_json::Value) -> Page {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(
            Method::POST,
            url,
            Some(Bytes::from(body.to_string())),
            headers,
        )
        .await
    }

    /// Sends one request with this browser's cookies and the headers a browser adds.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        url: &str,
        body: Option<Bytes>,
        extra: HeaderMap,
    ) -> Page {
        self.attempt(method, url, body, extra)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// The same, for a gateway that may be gone.
    pub(crate) async fn attempt(
        &mut self,
        method: Method,
        url: &str,
        body: Option<Bytes>,
        extra: HeaderMap,
    ) -> Result<Page, Broken> {
        let url = Url::parse(url).unwrap();
        let authority = url.authority().to_owned();
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(HOST, &authority);
        if self.scripted {
            request = request
                .header("sec-fetch-mode", "cors")
                .header("sec-fetch-dest", "empty");
        } else {
            request = request
                .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", "document");
        }
        if method != Method::GET && method != Method::HEAD {
            request = request
                .header(ORIGIN, format!("{}://{authority}", url.scheme()))
                .header("sec-fetch-site", "same-origin");
        }
        if let Some(agent) = self.agent {
            request = request.header(USER_AGENT, agent);
        }
        if let Some(languages) = self.languages {
            request = request.header(ACCEPT_LANGUAGE, languages);
        }
        if let Some(jar) = self.cookie_header(&authority) {
            request = request.header(COOKIE, jar);
        }
        let mut request = request.body(Full::new(body.unwrap_or_default())).unwrap();
        for (name, value) in &extra {
            request.headers_mut().insert(name, value.clone());
        }
        let response = self.exchange(&url, request).await?;
        self.keep_cookies(&authority, response.headers());
        if let Some(offer) = response.headers().get("secure-session-registration") {
            self.offer = Some(offer.to_str().unwrap().to_owned());
        }
        let (parts, body) = response.into_parts();
        Ok(Page {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
            url,
        })
    }

    /// What this browser puts into `Cookie` at `authority`.
    pub(crate) fn cookie_header(&self, authority: &str) -> Option<String> {
        let jar: Vec<String> = self
            .cookies
            .iter()
            .filter(|((host, _), _)| *host == authority)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        (!jar.is_empty()).then(|| jar.join("; "))
    }

    /// A TLS connection to the gateway, for what a browser's pages cannot do.
    pub(crate) async fn connect(&self, host: &str) -> Result<TlsStream<TcpStream>, Broken> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(host.to_owned())?;
        let connector = tokio_rustls::TlsConnector::from(self.tls.clone());
        Ok(connector.connect(name, stream).await?)
    }

    async fn exchange(
        &self,
        url: &Url,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>, Broken> {
        if url.scheme() == "https" {
            one_request(self.connect(url.host_str().unwrap()).await?, request).await
        } else {
            let address = format!(
                "{}:{}",
                url.host_str().unwrap(),
                url.port_or_known_default().unwrap()
            );
            one_request(TcpStream::connect(address).await?, request).await
        }
    }

    fn keep_cookies(&mut self, authority: &str, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE) {
            let text = value.to_str().unwrap().trim_start();
            let cookie = cookie::Cookie::parse(text).unwrap();
            let key = (authority.to_owned(), cookie.name().to_owned());
            if cookie
                .max_age()
                .is_some_and(|age| age.is_zero() || age.is_negative())
                || cookie.value().is_empty()
            {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, cookie.value().to_owned());
            }
        }
    }
}

async fn one_request<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, Broken>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
