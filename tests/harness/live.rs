//! Connections that stay open: what a signed-in browser sends by hand, and its WebSocket.

use futures_util::StreamExt;
use http::Request;
use http::request::Builder;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::{Browser, House};

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A `GET` of this browser, from a page of `origin`.
pub(crate) fn request(house: &House, browser: &Browser, (uri, origin): (&str, &str)) -> Builder {
    let authority = house.authority();
    Request::get(uri)
        .header("host", &authority)
        .header("origin", origin)
        .header("cookie", browser.cookie_header(&authority).unwrap())
}

/// The upgrade to the EMR's WebSocket, from a page of `origin`.
pub(crate) fn upgrade(house: &House, browser: &Browser, origin: &str) -> Request<()> {
    let uri = format!("wss://{}/ws/notifications", house.authority());
    request(house, browser, (&uri, origin))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header(
            "sec-websocket-key",
            tokio_tungstenite::tungstenite::handshake::client::generate_key(),
        )
        .body(())
        .unwrap()
}

/// The EMR's WebSocket, open: it has greeted.
pub(crate) async fn socket(house: &House, browser: &Browser) -> Socket {
    let upgrade = upgrade(house, browser, &house.url(""));
    let stream = browser.connect("localhost").await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(upgrade, stream)
        .await
        .unwrap();
    let hello = socket.next().await.unwrap().unwrap();
    assert!(hello.is_text(), "{hello:?}");
    socket
}
