//! A browser that knows Device Bound Session Credentials: it registers a key, and proves it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::{Browser, House, Page};

/// The cookie that proves the device.
pub(crate) const COOKIE: &str = "__Host-chartgate-device";

/// The key of a device, for one session.
pub(crate) struct Device {
    key: EcdsaKeyPair,
    /// What the gateway calls the session.
    pub(crate) session: String,
    refresh: String,
}

impl Device {
    /// Takes the offer that a browser has, as the browser would, without the cookies that it would leave out.
    pub(crate) async fn register(house: &House, browser: &mut Browser) -> Self {
        let offer = browser.offer.take().unwrap();
        let (path, challenge) = (parameter(&offer, "path"), parameter(&offer, "challenge"));
        assert!(offer.starts_with("(ES256 RS256);"), "{offer}");
        let mut device = Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            session: String::new(),
            refresh: String::new(),
        };
        let (x, y) = device.key.public_key().as_ref()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) });
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": jwk });
        let token = device.sign(&header, &challenge);
        let mut bare = without_cookies(browser);
        let page = ask(
            &mut bare,
            &house.url(&path),
            &[("secure-session-response", &token)],
        )
        .await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        browser.cookies.extend(bare.cookies);
        let told = page.json();
        assert_eq!(told["credentials"][0]["name"], COOKIE);
        told["session_identifier"]
            .as_str()
            .unwrap()
            .clone_into(&mut device.session);
        told["refresh_url"]
            .as_str()
            .unwrap()
            .clone_into(&mut device.refresh);
        device
    }

    /// What proves the key in answer to a challenge.
    pub(crate) fn proof(&self, challenge: &str) -> String {
        self.sign(&json!({ "alg": "ES256", "typ": "dbsc+jwt" }), challenge)
    }

    /// Asks for a cookie, with a proof if there is one.
    pub(crate) async fn ask(
        &self,
        house: &House,
        browser: &mut Browser,
        proof: Option<&str>,
    ) -> Page {
        let session = format!("\"{}\"", self.session);
        let mut fields = vec![("sec-secure-session-id", session.as_str())];
        fields.extend(proof.map(|proof| ("secure-session-response", proof)));
        let mut bare = without_cookies(browser);
        let page = ask(&mut bare, &house.url(&self.refresh), &fields).await;
        browser.cookies.extend(bare.cookies);
        page
    }

    /// The challenge that a refresh without a proof is answered with.
    pub(crate) async fn challenged(&self, house: &House, browser: &mut Browser) -> String {
        let page = self.ask(house, browser, None).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        let field = page.header("secure-session-challenge").unwrap();
        assert_eq!(parameter(field, "id"), self.session);
        field.split('"').nth(1).unwrap().to_owned()
    }

    /// Gets the browser another cookie.
    pub(crate) async fn refresh(&self, house: &House, browser: &mut Browser) {
        let challenge = self.challenged(house, browser).await;
        let proof = self.proof(&challenge);
        let page = self.ask(house, browser, Some(&proof)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    }

    fn sign(&self, header: &Value, challenge: &str) -> String {
        let payload = json!({ "jti": challenge });
        let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", text(header), text(&payload));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }
}

async fn ask(browser: &mut Browser, url: &str, fields: &[(&'static str, &str)]) -> Page {
    let mut extra = HeaderMap::new();
    for (name, value) in fields {
        extra.insert(*name, value.parse().unwrap());
    }
    extra.insert("sec-fetch-mode", "no-cors".parse().unwrap());
    browser.send(Method::POST, url, None, extra).await
}

fn without_cookies(browser: &Browser) -> Browser {
    let mut bare = browser.clone();
    bare.cookies.clear();
    bare.scripted = true;
    bare
}

/// The value of a parameter that is a string.
fn parameter(field: &str, name: &str) -> String {
    let start = format!(";{name}=\"");
    let rest = field.split_once(&start).unwrap().1;
    rest.split_once('"').unwrap().0.to_owned()
}
