//! The keys of trail and store, and the recovery code on its way to paper.

use crate::audit::log::{MasterKey, RecoveryCode, SigningKey};
use crate::cli::console::Failure;

use super::place::Place;

/// Writes the keys that do not exist; the code, if the master key is new.
pub(super) fn write(
    place: &mut Place<'_, '_>,
    host: &str,
) -> Result<Option<RecoveryCode>, Failure> {
    place.directory("keys")?;
    let mut code = None;
    if !place.has("keys/master.key")? && !place.has("keys/master.recovery")? {
        let key = MasterKey::generate().map_err(Failure::of)?;
        // The wrap comes first: a key without a way back is worse than a way back without a key.
        code = Some(
            key.write_recovery(&place.path("keys/master.recovery"))
                .map_err(Failure::of)?,
        );
        place.wrote("keys/master.recovery")?;
        key.write(&place.path("keys/master.key"))
            .map_err(Failure::of)?;
        place.wrote("keys/master.key")?;
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
    if !place.has("keys/store.key")? {
        let key = MasterKey::generate().map_err(Failure::of)?;
        key.write(&place.path("keys/store.key"))
            .map_err(Failure::of)?;
        place.wrote("keys/store.key")?;
    }
    Ok(code)
}

/// What to do with the code.
pub(super) fn instructions(code: &str) -> String {
    format!(
        "
Recovery code of the trail's master key. It is shown once and kept nowhere:

    {code}

Write it on paper and lock it away, apart from this machine. If keys/master.key is ever lost, this code and
keys/master.recovery bring it back (`chartgate keys recover`). Without them the trail can no longer be read.
Keep a copy of keys/master.recovery with your backups; alone it opens nothing. Give keys/signing.pub to whoever
is to verify the trail."
    )
}
