//! API clients on the full path: which credential works where, what the EMR is told, and what goes on record.

mod certificates;
mod clients;
mod endpoint;
mod matrix;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chartgate::admin::protocol::AdminRequest;
use chartgate::config::Config;
use chartgate::config::api::{Api, ApiClaims, ApiKind, IntrospectionApi, JwtApi, Reach};
use chartgate::operate::tokens;
use chartgate::secret::Secret;
use serde_json::{Value, json};

use crate::harness::wire::Answer;
use crate::harness::{House, without_limits};

const AUDIENCE: &str = "https://emr.riverside.example";

/// A clinic that accepts tokens of its own provider (`interfaces`) and of an introspection endpoint (`asked`).
async fn clinic(
    endpoint: Option<url::Url>,
    change: impl FnOnce(&mut Config) + Send + 'static,
) -> House {
    House::open_with(move |config| {
        without_limits(config);
        let jwt = JwtApi {
            issuer: config.identity.issuers[0].url.clone(),
            jwks: None,
            algorithms: vec!["ES256".to_owned()],
            accept_plain_typ: false,
            max_age: Duration::from_hours(1),
        };
        config
            .identity
            .api
            .push(api("interfaces", ApiKind::Jwt(jwt)));
        if let Some(endpoint) = endpoint {
            let asked = IntrospectionApi {
                endpoint,
                issuer: None,
                client_id: "chartgate".to_owned(),
                client_secret: Secret::new("s3cret".to_owned()),
                cache_ttl: Duration::from_secs(10),
                cache_entries: 1000,
                timeout: Duration::from_secs(3),
            };
            config
                .identity
                .api
                .push(api("asked", ApiKind::Introspection(asked)));
        }
        grant_interfaces(config);
        change(config);
    })
    .await
}

fn api(name: &str, kind: ApiKind) -> Api {
    Api {
        name: name.to_owned(),
        kind,
        audience: AUDIENCE.to_owned(),
        ca: None,
        reach: Reach {
            hosts: vec!["localhost".to_owned()],
            paths: vec!["/api".to_owned(), "/echo".to_owned(), "/ws".to_owned()],
        },
        scopes: BTreeMap::from([("interfaces".to_owned(), "interface-engine".to_owned())]),
        clients: BTreeSet::new(),
        accounts: BTreeMap::from([("mirth".to_owned(), "interface".to_owned())]),
        claims: ApiClaims {
            client: "/client_id".to_owned(),
            scope: "/scope".to_owned(),
            id: "/jti".to_owned(),
        },
        require_bound: false,
        max_token_bytes: 8192,
    }
}

/// The shipped bundle grants programs nothing; here the value `interface-engine` gives the role of that name.
fn grant_interfaces(config: &Config) {
    let roles = config.policy.directory.join("roles.toml");
    let mut text = std::fs::read_to_string(&roles).unwrap();
    for issuer in ["interfaces", "asked", "certificates"] {
        let grant = format!(
            "\n[[grant]]\nrole = \"interface-engine\"\nclaim = \"interface-engine\"\nissuer = \"{issuer}\"\n"
        );
        text.push_str(&grant);
    }
    std::fs::write(roles, text).unwrap();
}

fn now() -> i64 {
    chartgate::clock::SystemClock::shared().now().as_second()
}

fn claims(house: &House) -> Value {
    json!({
        "iss": house.clinic.facts().issuer, "aud": AUDIENCE, "sub": "mirth", "client_id": "mirth",
        "iat": now(), "exp": now() + 300, "jti": "token-of-this-test", "scope": "interfaces",
    })
}

fn token(house: &House, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(house);
    change(&mut claims);
    house.clinic.issuer().sign("at+jwt", &claims).unwrap()
}

async fn get(house: &House, target: &str, fields: &str) -> Answer {
    let line = format!("GET {target} HTTP/1.1");
    house.raw(line.as_bytes(), fields).await.unwrap()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn operator(house: &House, ask: tokens::Ask) -> Vec<Value> {
    house.ask(AdminRequest::Token(ask)).await.unwrap()
}
