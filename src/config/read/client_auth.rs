//! How the gateway proves to a provider that it is its client.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use toml::Spanned;
use toml::de::DeValue;

use super::{identity, optional_file};
use crate::config::Certificate;
use crate::config::chain;
use crate::config::client_key::ClientKey;
use crate::config::issuer::{AssertionAudience, ClientAuth, Rotating};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::{Fault, Value, one_of};

/// The methods by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    SecretBasic,
    SecretPost,
    PrivateKeyJwt,
    Tls,
}

const METHODS: [(&str, Method); 4] = [
    ("client_secret_basic", Method::SecretBasic),
    ("client_secret_post", Method::SecretPost),
    ("private_key_jwt", Method::PrivateKeyJwt),
    ("tls_client_auth", Method::Tls),
];

impl Value for Method {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &METHODS)
    }
}

impl Value for AssertionAudience {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [
            ("issuer", Self::Issuer),
            ("token_endpoint", Self::TokenEndpoint),
        ];
        one_of(value, faults, &words)
    }
}

/// The algorithm of an RSA key, which fits several.
#[derive(Debug, Clone, Copy)]
struct RsaAlgorithm(Algorithm);

impl Value for RsaAlgorithm {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let words = [
            ("RS256", Self(Algorithm::RS256)),
            ("PS256", Self(Algorithm::PS256)),
        ];
        one_of(value, faults, &words)
    }
}

const SECRETS: [&str; 2] = ["client_secret_file", "previous_client_secret_file"];
const KEY: &str = "client_key_file";
const ASSERTIONS: [&str; 5] = [
    "client_key_id",
    "client_key_algorithm",
    "previous_client_key_file",
    "previous_client_key_id",
    "client_assertion_audience",
];
const CERTIFICATE: &str = "client_certificate_file";

/// `client_auth` and what belongs to the method.
pub(super) fn client_auth(section: &mut Section<'_>) -> Option<ClientAuth> {
    let method = section.or("client_auth", Method::SecretBasic);
    match method {
        Method::SecretBasic | Method::SecretPost => {
            unused(section, method, &ASSERTIONS);
            unused(section, method, &[KEY, CERTIFICATE]);
            let current = identity::secret(section, "client_secret_file");
            let previous = identity::optional_secret(section, "previous_client_secret_file");
            let secrets = Rotating {
                current: current?,
                previous,
            };
            Some(if method == Method::SecretBasic {
                ClientAuth::SecretBasic(secrets)
            } else {
                ClientAuth::SecretPost(secrets)
            })
        }
        Method::PrivateKeyJwt => {
            unused(section, method, &SECRETS);
            private_key_jwt(section)
        }
        Method::Tls => {
            unused(section, method, &SECRETS);
            unused(section, method, &ASSERTIONS);
            let chain = super::file(
                section,
                CERTIFICATE,
                "client_certificate_file = \"certs/client.pem\"",
            );
            let key = super::secret_file(section, KEY, "client_key_file = \"certs/client.key\"");
            let pair = Certificate {
                chain: chain?,
                key: key?,
            };
            if let Err(error) = chain::matched(&pair) {
                let remedy = "name a PEM chain, leaf first, and the PEM private key of that leaf";
                section.error(CERTIFICATE, says(error.to_string(), remedy));
                return None;
            }
            Some(ClientAuth::Tls(pair))
        }
    }
}

fn private_key_jwt(section: &mut Section<'_>) -> Option<ClientAuth> {
    let id = section.optional("client_key_id");
    let previous_id = section.optional("previous_client_key_id");
    let rsa = section.or("client_key_algorithm", RsaAlgorithm(Algorithm::RS256));
    let audience = section.or("client_assertion_audience", AssertionAudience::Issuer);
    let certificate = optional_file(section, CERTIFICATE);
    let path = super::path(section, KEY, "client_key_file = \"keys/client.pem\"");
    let previous = optional_path(section, "previous_client_key_file");
    let current = path.and_then(|path| key(section, KEY, (path, id), rsa));
    let current = match (current, certificate) {
        (Some(current), Some(chain)) => match current.certified(&chain) {
            Ok(key) => Some(key),
            Err(said) => {
                section.error(CERTIFICATE, said);
                None
            }
        },
        (current, None) => current,
        (None, Some(_)) => None,
    };
    let previous = match previous {
        Some(path) => Some(key(
            section,
            "previous_client_key_file",
            (path, previous_id),
            rsa,
        )?),
        None => None,
    };
    let current = current?;
    if previous
        .as_ref()
        .is_some_and(|old| old.id() == current.id())
    {
        let message = "the two client keys have one id, so the provider cannot tell them apart";
        section.error(
            "previous_client_key_file",
            says(message, "leave the ids out: they are then thumbprints"),
        );
    }
    Some(ClientAuth::PrivateKeyJwt {
        keys: Box::new(Rotating { current, previous }),
        audience,
    })
}

fn key(
    section: &Section<'_>,
    name: &str,
    (path, id): (PathBuf, Option<String>),
    RsaAlgorithm(rsa): RsaAlgorithm,
) -> Option<ClientKey> {
    match ClientKey::read(&path, id, rsa) {
        Ok(key) => {
            section.document().names_file(section.key(name));
            Some(key)
        }
        Err(said) => {
            section.error(name, said);
            None
        }
    }
}

/// Keys that another method of client authentication would read: here nothing does.
fn unused(section: &mut Section<'_>, method: Method, keys: &[&'static str]) {
    let name = METHODS
        .iter()
        .find(|(_, known)| *known == method)
        .map_or("", |(name, _)| *name);
    for key in keys {
        if section.optional::<String>(key).is_some() {
            let message = format!("`{key}` has no meaning with `client_auth = \"{name}\"`");
            section.error(
                key,
                says(message, "remove it, or choose another `client_auth`"),
            );
        }
    }
}

fn optional_path(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let text: String = section.optional(key)?;
    Some(section.document().source().resolve(&text))
}
