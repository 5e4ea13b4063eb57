//! A key of a PKCS #11 token (OASIS PKCS #11 v2.40 and later): it seals and opens 32 bytes with AES-256-GCM.
//!
//! *Never*: a key off the token; a session that outlasts one sealing or opening.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::audit::log::crypt;
use crate::config::keys::Token;
use crate::secret::Secret;

const AAD: &[u8] = b"chartgate/sealed-key-file/pkcs11/v1\0";
const NONCE: usize = 12;
const TAG_BITS: u64 = 128;

/// Which key of which token, for the key file.
pub(super) fn name(token: &Token) -> String {
    format!("{}/{}", token.token, token.key)
}

/// Seals; nonce, ciphertext and tag.
pub(super) fn seal(token: &Token, plain: &[u8; 32]) -> Result<Vec<u8>, String> {
    let mut nonce = crypt::random::<NONCE>().map_err(|error| error.to_string())?;
    let mut sealed = nonce.to_vec();
    let (session, key) = at(token, &token.key)?;
    let mechanism = GcmParams::new(&mut nonce, AAD, TAG_BITS.into()).map_err(told)?;
    let body = session.encrypt(&Mechanism::AesGcm(mechanism), key, plain);
    sealed.extend(body.map_err(told)?);
    Ok(sealed)
}

/// Opens what [`seal`] made under the key of this name.
pub(super) fn open(token: &Token, name: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, String> {
    let key = name.strip_prefix(token.token.as_str());
    let key = key.and_then(|rest| rest.strip_prefix('/')).ok_or_else(|| {
        format!(
            "the file was sealed at `{name}`, and the token that is configured is `{}`",
            token.token
        )
    })?;
    let short = || "what was sealed is too short".to_owned();
    let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or_else(short)?;
    let mut nonce = *nonce;
    let (session, key) = at(token, key)?;
    let mechanism = GcmParams::new(&mut nonce, AAD, TAG_BITS.into()).map_err(told)?;
    let plain = session.decrypt(&Mechanism::AesGcm(mechanism), key, body);
    plain.map(Secret::new).map_err(told)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn told(error: Error) -> String {
    error.to_string()
}

/// A session at the token, signed in, and the key of this label.
fn at(token: &Token, label: &str) -> Result<(Session, ObjectHandle), String> {
    let library = Pkcs11::new(&token.module).map_err(told)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Of an earlier key file of this process.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(told(error)),
    }
    let slots = library.get_slots_with_initialized_token().map_err(told)?;
    let slot = slots.into_iter().find(|slot| {
        library
            .get_token_info(*slot)
            .is_ok_and(|info| info.label() == token.token)
    });
    let slot = slot.ok_or_else(|| format!("there is no token `{}`", token.token))?;
    let session = library.open_ro_session(slot).map_err(told)?;
    let pin = AuthPin::new(token.pin.expose().as_str().into());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => return Err(told(error)),
    }
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&template).map_err(told)?;
    match found.as_slice() {
        [key] => Ok((session, *key)),
        [] => Err(format!("there is no AES key `{label}` on it")),
        _ => Err(format!("there is more than one AES key `{label}` on it")),
    }
}
