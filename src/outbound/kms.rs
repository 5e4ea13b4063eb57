//! A key management service that speaks the AWS KMS API: it seals and opens a few bytes under a key that never leaves it.
//!
//! *Never*: a key in clear to another machine; a request without signature.
//! *On failure*: [`KmsError`] with the service's own name for it; nothing is retried here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::sigv4::{self, Signed, Signer};
use super::{HttpClient, HttpError};
use crate::clock::SharedClock;
use crate::config::keys::Kms;
use crate::secret::Secret;

/// Why the service did not do it.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// The way there.
    #[error("the key management service: {0}")]
    Http(#[from] HttpError),
    /// It refused.
    #[error("the key management service refused: {kind}: {message}")]
    Refused {
        /// Its name for the reason: `AccessDeniedException`.
        kind: String,
        /// What it says.
        message: String,
    },
    /// Something else than an answer.
    #[error("the key management service answered something that is no answer: {0}")]
    Strange(String),
}

/// What was sealed, and by which key.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The key's ARN.
    pub key: String,
    /// What the service opens again.
    pub blob: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    plaintext: Zeroizing<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    __type: String,
    #[serde(alias = "Message")]
    message: String,
}

/// The longest reason that is passed on.
const REASON: usize = 300;

/// Seals up to 4 KiB under the configured key, bound to `context`.
///
/// # Errors
/// [`KmsError`].
pub async fn seal(
    kms: &Kms,
    clock: &SharedClock,
    context: &Value,
    plain: &[u8],
) -> Result<Sealed, KmsError> {
    let plain = Zeroizing::new(BASE64.encode(plain));
    let body = json!({ "KeyId": kms.key_id, "Plaintext": *plain, "EncryptionContext": context });
    let answer: Encrypted = call(kms, clock, "TrentService.Encrypt", &body).await?;
    Ok(Sealed {
        key: answer.key_id,
        blob: decode(&answer.ciphertext_blob)?,
    })
}

/// Opens what was sealed under `key` and bound to the same `context`.
///
/// # Errors
/// [`KmsError`].
pub async fn open(
    kms: &Kms,
    clock: &SharedClock,
    context: &Value,
    key: &str,
    blob: &[u8],
) -> Result<Secret<Vec<u8>>, KmsError> {
    // SECURITY: the key is named, so that a blob that somebody sealed under a key of their own is not opened.
    let body = json!({
        "KeyId": key,
        "CiphertextBlob": BASE64.encode(blob),
        "EncryptionContext": context,
    });
    let answer: Decrypted = call(kms, clock, "TrentService.Decrypt", &body).await?;
    Ok(Secret::new(decode(&answer.plaintext)?))
}

fn decode(text: &str) -> Result<Vec<u8>, KmsError> {
    BASE64
        .decode(text)
        .map_err(|error| KmsError::Strange(error.to_string()))
}

async fn call<T: serde::de::DeserializeOwned>(
    kms: &Kms,
    clock: &SharedClock,
    target: &str,
    body: &Value,
) -> Result<T, KmsError> {
    let strange = |error: &dyn std::error::Error| KmsError::Strange(error.to_string());
    let body = serde_json::to_vec(body).map_err(|error| strange(&error))?;
    let payload = sigv4::sha256(&body);
    let stamp = clock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let headers = [
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("host", kms.endpoint.authority().to_owned()),
        ("x-amz-date", stamp.clone()),
        ("x-amz-target", target.to_owned()),
    ];
    let authorization = sigv4::authorization(
        &Signer {
            access_key_id: &kms.access_key_id,
            secret_access_key: &kms.secret_access_key,
            region: &kms.region,
            service: "kms",
        },
        &Signed {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            payload: &payload,
            stamp: &stamp,
        },
    );
    let mut request = Request::post(kms.endpoint.as_str()).header("authorization", authorization);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(|error| strange(&error))?;
    let answer = HttpClient::new(kms.ca.as_deref())?.send(request).await?;
    if answer.status().is_success() {
        return serde_json::from_slice(answer.body()).map_err(|error| strange(&error));
    }
    let refusal = refusal(answer.body());
    if refusal.__type.is_empty() {
        return Err(KmsError::Strange(format!("status {}", answer.status())));
    }
    // `com.amazonaws.kms#NotFoundException` from some services.
    let kind = refusal.__type.rsplit('#').next().unwrap_or_default();
    Err(KmsError::Refused {
        kind: kind.chars().take(REASON).collect(),
        message: refusal.message.chars().take(REASON).collect(),
    })
}

/// What the service says: JSON, or XML where something in front of it refused.
fn refusal(body: &[u8]) -> Refusal {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(body)
        && !refusal.__type.is_empty()
    {
        return refusal;
    }
    let text = String::from_utf8_lossy(body);
    let between = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    Refusal {
        __type: between("Code").unwrap_or_default(),
        message: between("Message").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_in_json_and_in_xml() {
        for (body, kind, message) in [
            (
                r#"{"__type":"AccessDeniedException","Message":"no"}"#,
                "AccessDeniedException",
                "no",
            ),
            (
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
                "AccessDenied",
                "no",
            ),
            ("<html>", "", ""),
            ("", "", ""),
        ] {
            let read = refusal(body.as_bytes());
            assert_eq!((&*read.__type, &*read.message), (kind, message), "{body}");
        }
    }
}
