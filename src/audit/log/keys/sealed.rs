//! Key files that are sealed: the keys under a random one, and that under a key that a service or a token keeps.
//!
//! What is on the disk opens nothing without the service or the token. Whoever runs it sees each opening, and can
//! end them all.
//!
//! ```text
//! chartgate-sealed-key-v1
//! kms arn:aws:kms:eu-central-1:111122223333:key/…      what sealed it, and under which key
//! base64                                               the random key, sealed there
//! base64                                               the key file in clear, sealed under the random key (AES-256-GCM)
//! ```

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use zeroize::Zeroizing;

use super::KeyError;
use crate::audit::log::crypt;
use crate::clock::SystemClock;
use crate::config::keys::{KeyFile, KeyHome, Kms};
use crate::outbound::kms::{self, KmsError};
use crate::secret::Secret;

const HEADER: &str = "chartgate-sealed-key-v1";
const DOMAIN: &[u8] = b"chartgate/sealed-key-file/v1\0";
const KMS: &str = "kms";
const TOKEN: &str = "pkcs11";

/// Whether this is a sealed key file.
pub(super) fn is_sealed(text: &str) -> bool {
    text.lines().next() == Some(HEADER)
}

/// What the file is to hold: the text, or the text sealed.
pub(super) fn text(
    file: &KeyFile,
    clear: Zeroizing<String>,
) -> Result<Zeroizing<String>, KeyError> {
    let Some(home) = file.home() else {
        return Ok(clear);
    };
    let failed = |source| KeyError::Crypt {
        what: "sealing a key file",
        source,
    };
    let inner = Secret::new(crypt::random::<32>().map_err(failed)?);
    let (by, wrapped) = wrap(home, file, inner.expose())?;
    let aad = [DOMAIN, by.as_bytes()].concat();
    let sealed = crypt::seal(inner.expose(), &aad, clear.as_bytes()).map_err(failed)?;
    Ok(Zeroizing::new(format!(
        "{HEADER}\n{by}\n{}\n{}\n",
        BASE64.encode(wrapped),
        BASE64.encode(sealed)
    )))
}

/// The text in clear.
pub(super) fn opened(
    file: &KeyFile,
    text: Zeroizing<String>,
) -> Result<Zeroizing<String>, KeyError> {
    if !is_sealed(&text) {
        return Ok(text);
    }
    let malformed = || KeyError::Malformed {
        path: file.to_path_buf(),
        expected: HEADER,
    };
    let mut lines = text.lines().skip(1);
    let (Some(by), Some(wrapped), Some(sealed), None) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(malformed());
    };
    let (kind, key) = by.split_once(' ').ok_or_else(malformed)?;
    let wrapped = BASE64.decode(wrapped).ok().ok_or_else(malformed)?;
    let sealed = BASE64.decode(sealed).ok().ok_or_else(malformed)?;
    let inner = unwrap(file, (kind, key), &wrapped)?;
    let inner = <&[u8; 32]>::try_from(inner.expose().as_slice());
    let aad = [DOMAIN, by.as_bytes()].concat();
    let clear =
        crypt::open(inner.ok().ok_or_else(malformed)?, &aad, &sealed).map_err(|source| {
            KeyError::Crypt {
                what: "opening a sealed key file",
                source,
            }
        })?;
    let clear = std::str::from_utf8(clear.expose())
        .ok()
        .ok_or_else(malformed)?;
    Ok(Zeroizing::new(clear.to_owned()))
}

fn wrap(home: &KeyHome, path: &Path, inner: &[u8; 32]) -> Result<(String, Vec<u8>), KeyError> {
    match home {
        KeyHome::Kms(kms) => {
            let sealed = asked(path, || seal_at(kms, inner))?;
            Ok((format!("{KMS} {}", sealed.key), sealed.blob))
        }
        #[cfg(feature = "pkcs11")]
        KeyHome::Token(token) => {
            let name = super::token::name(token);
            let wrapped = super::token::seal(token, inner);
            let wrapped = wrapped.map_err(|problem| KeyError::Token {
                path: path.to_owned(),
                problem,
            })?;
            Ok((format!("{TOKEN} {name}"), wrapped))
        }
    }
}

fn unwrap(
    file: &KeyFile,
    (kind, key): (&str, &str),
    wrapped: &[u8],
) -> Result<Secret<Vec<u8>>, KeyError> {
    match (file.home(), kind) {
        (Some(KeyHome::Kms(kms)), KMS) => asked(file, || open_at(kms, key, wrapped)),
        #[cfg(feature = "pkcs11")]
        (Some(KeyHome::Token(token)), TOKEN) => {
            super::token::open(token, key, wrapped).map_err(|problem| KeyError::Token {
                path: file.to_path_buf(),
                problem,
            })
        }
        (_, KMS) => Err(homeless(file, kind, KMS)),
        (_, TOKEN) => Err(homeless(file, kind, TOKEN)),
        (_, _) => Err(KeyError::Malformed {
            path: file.to_path_buf(),
            expected: HEADER,
        }),
    }
}

fn homeless(file: &KeyFile, kind: &str, section: &'static str) -> KeyError {
    KeyError::Homeless {
        path: file.to_path_buf(),
        by: kind.to_owned(),
        section,
    }
}

/// What the ciphertext is bound to, and what the service's own log shows.
fn context() -> serde_json::Value {
    json!({ "application": "chartgate", "purpose": "key-file" })
}

async fn seal_at(kms: &Kms, inner: &[u8; 32]) -> Result<kms::Sealed, KmsError> {
    kms::seal(kms, &SystemClock::shared(), &context(), inner).await
}

async fn open_at(kms: &Kms, key: &str, wrapped: &[u8]) -> Result<Secret<Vec<u8>>, KmsError> {
    kms::open(kms, &SystemClock::shared(), &context(), key, wrapped).await
}

/// Waits for the service on a thread of its own: keys are read at start and by commands, inside a runtime and outside.
fn asked<T: Send, F: Future<Output = Result<T, KmsError>>>(
    path: &Path,
    ask: impl FnOnce() -> F + Send,
) -> Result<T, KeyError> {
    let failed = |source| KeyError::Kms {
        path: path.to_owned(),
        source,
    };
    let asked = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| KmsError::Strange(error.to_string()))?;
            runtime.block_on(ask())
        });
        thread.join()
    });
    asked
        .unwrap_or_else(|_| Err(KmsError::Strange("the asking was cut short".to_owned())))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::audit::log::MasterKey;

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1";

    /// What the service keeps: plain text and context by ciphertext, and whether it still opens.
    #[derive(Default)]
    struct Kept {
        blobs: BTreeMap<String, (String, Value)>,
        refuses: bool,
    }

    /// A key management service on loopback; it serves until the process ends.
    fn service() -> (Kms, Arc<Mutex<Kept>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let keeping = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                let (mut length, mut target) = (0, String::new());
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let line = line.trim_end().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    }
                    if let Some(value) = line.strip_prefix("x-amz-target: ") {
                        value.clone_into(&mut target);
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let asked: Value = serde_json::from_slice(&body).unwrap();
                let (status, answer) = answer(&target, &asked, &mut keeping.lock().unwrap());
                let answer = answer.to_string();
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}", answer.len()).unwrap();
            }
        });
        let kms = Kms {
            endpoint: endpoint.parse().unwrap(),
            region: "eu-central-1".to_owned(),
            key_id: "alias/chartgate".to_owned(),
            access_key_id: "chartgate".to_owned(),
            secret_access_key: "s3cret".to_owned().into(),
            ca: None,
        };
        (kms, kept)
    }

    fn answer(target: &str, asked: &Value, kept: &mut Kept) -> (u16, Value) {
        let refused = (
            400,
            json!({ "__type": "AccessDeniedException", "message": "not allowed" }),
        );
        let text = |name: &str| asked[name].as_str().unwrap().to_owned();
        let context = asked["EncryptionContext"].clone();
        if kept.refuses {
            return refused;
        }
        if target == "trentservice.encrypt" {
            assert_eq!(text("KeyId"), "alias/chartgate");
            let blob = BASE64.encode(format!("blob {}", kept.blobs.len()));
            kept.blobs
                .insert(blob.clone(), (text("Plaintext"), context));
            return (200, json!({ "CiphertextBlob": blob, "KeyId": ARN }));
        }
        match kept.blobs.get(&text("CiphertextBlob")) {
            Some((plain, bound)) if *bound == context && text("KeyId") == ARN => {
                (200, json!({ "Plaintext": plain, "KeyId": ARN }))
            }
            _ => refused,
        }
    }

    #[tokio::test]
    async fn a_sealed_key_file_opens_with_the_service_and_not_without() {
        let dir = tempfile::tempdir().unwrap();
        let (kms, kept) = service();
        let plain = KeyFile::from(dir.path().join("master.key"));
        let sealed = plain.clone().sealed_by(Some(Arc::new(KeyHome::Kms(kms))));
        let key = MasterKey::generate().unwrap();
        key.write(&plain).unwrap();
        let clear = std::fs::read_to_string(&*plain).unwrap();
        assert!(matches!(
            MasterKey::read(&sealed),
            Err(KeyError::InClear { .. })
        ));

        let read = MasterKey::read_to_protect(&sealed).unwrap();
        read.replace(&sealed).unwrap();
        let text = std::fs::read_to_string(&*plain).unwrap();
        assert!(
            text.starts_with(&format!("{HEADER}\nkms {ARN}\n")),
            "{text}"
        );
        assert!(!text.contains(clear.lines().nth(1).unwrap()));
        // In a runtime, as here, and on a thread without one.
        assert_eq!(MasterKey::read(&sealed).unwrap().id(), key.id());
        let elsewhere = sealed.clone();
        let id = std::thread::spawn(move || MasterKey::read(&elsewhere).unwrap().id());
        assert_eq!(id.join().unwrap(), key.id());

        let without = MasterKey::read(&plain).unwrap_err().to_string();
        assert!(without.contains("[keys.kms]"), "{without}");
        kept.lock().unwrap().refuses = true;
        let refused = MasterKey::read(&sealed).unwrap_err().to_string();
        assert!(
            refused.contains("AccessDeniedException: not allowed"),
            "{refused}"
        );
    }

    #[test]
    fn a_sealed_key_file_that_was_altered_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let (kms, _kept) = service();
        let file = KeyFile::from(dir.path().join("master.key"));
        let file = file.sealed_by(Some(Arc::new(KeyHome::Kms(kms))));
        MasterKey::generate().unwrap().write(&file).unwrap();
        let text = std::fs::read_to_string(&*file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let other = BASE64.encode([7; 92]);
        let altered = [
            text.replace("key/1", "key/2"),
            text.replace(lines[3], &other),
            text.replace(lines[3], ""),
            format!("{text}more\n"),
            text.replace("kms ", "paper "),
        ];
        for text in altered {
            std::fs::write(&*file, &text).unwrap();
            assert!(MasterKey::read(&file).is_err(), "{text}");
        }
    }
}
