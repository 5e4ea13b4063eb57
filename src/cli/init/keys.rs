//! The keys of trail and store, and the recovery code on its way to paper.

use crate::audit::log::{MasterKey, RecoveryCode, SigningKey};
use crate::cli::console::Failure;

use super::place::Place;

/// Writes the keys that do not exist; the code, and which of them it opens.
pub(super) fn write(
    place: &mut Place<'_, '_>,
    host: &str,
) -> Result<Option<(RecoveryCode, String)>, Failure> {
    place.directory("keys")?;
    // One sheet of paper opens every recovery file of this directory.
    let code = RecoveryCode::generate().map_err(Failure::of)?;
    let mut opens = Vec::new();
    for name in ["master", "store", "backup"] {
        if recoverable(place, name, &code)? {
            opens.push(format!("keys/{name}.key"));
        }
    }
    if !place.has("keys/signing.key")? && !place.has("keys/signing.pub")? {
        let name = format!("{}/trail", host.to_ascii_lowercase());
        let key = SigningKey::generate(&name).map_err(Failure::of)?;
        key.write(
            &place.path("keys/signing.key"),
            &place.path("keys/signing.pub"),
        )
        .map_err(Failure::of)?;
        place.wrote("keys/signing.key")?;
        place.wrote("keys/signing.pub")?;
    }
    Ok((!opens.is_empty()).then(|| (code, opens.join(", "))))
}

/// Writes a key and its recovery file, if there is neither; says whether it did.
fn recoverable(
    place: &mut Place<'_, '_>,
    name: &str,
    code: &RecoveryCode,
) -> Result<bool, Failure> {
    let (file, wrap) = (format!("keys/{name}.key"), format!("keys/{name}.recovery"));
    if place.has(&file)? || place.has(&wrap)? {
        return Ok(false);
    }
    let key = MasterKey::generate().map_err(Failure::of)?;
    // The wrap comes first: a key without a way back is worse than a way back without a key.
    key.write_recovery_under(&place.path(&wrap), code)
        .map_err(Failure::of)?;
    place.wrote(&wrap)?;
    key.write(place.path(&file)).map_err(Failure::of)?;
    place.wrote(&file)?;
    Ok(true)
}

/// What to do with the code.
pub(super) fn instructions(code: &str, opens: &str) -> String {
    format!(
        "
Recovery code of {opens}. It is shown once and kept nowhere:

    {code}

Write it on paper and lock it away, apart from this machine. If one of these keys is ever lost, this code
and its .recovery file in keys/ bring it back (`chartgate keys recover`). Without them the trail, and every backup,
can no longer be read. Keep copies of keys/*.recovery apart from this machine; alone they open nothing. Give
keys/signing.pub to whoever is to verify the trail."
    )
}
