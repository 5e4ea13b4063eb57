//! `[keys]`: what seals the key files of trail, store and backups.

use std::sync::Arc;

use super::identity::secret;
use super::optional_file;
use crate::config::keys::{KeyHome, Kms};
use crate::config::section::Section;
use crate::config::source::says;

/// What seals key files; nothing, where they lie in clear.
pub(super) fn keys(root: &mut Section<'_>) -> Option<Arc<KeyHome>> {
    let mut section = root.optional_table("keys")?;
    let kms = section.optional_table("kms");
    let token = section.optional_table("pkcs11");
    if kms.is_some() == token.is_some() {
        let message = "`[keys]` has to name what seals the key files, and one of them";
        let remedy =
            "write `[keys.kms]` or `[keys.pkcs11]`; leave `[keys]` out for key files in clear";
        section.error("kms", says(message, remedy));
    }
    let home = match (kms, token) {
        (Some(kms), None) => self::kms(kms).map(KeyHome::Kms),
        (None, Some(token)) => self::token(token),
        (None, None) | (Some(_), Some(_)) => None,
    };
    section.done();
    home.map(Arc::new)
}

fn kms(mut section: Section<'_>) -> Option<Kms> {
    let endpoint: Option<url::Url> = section.required(
        "endpoint",
        "endpoint = \"https://kms.eu-central-1.amazonaws.com\"",
    );
    if endpoint.as_ref().is_some_and(|url| {
        url.scheme() != "https" && !(url.scheme() == "http" && super::emr::is_loopback(url))
    }) {
        let message = "the key would cross the network in clear";
        section.error(
            "endpoint",
            says(message, "use https; http is accepted on loopback only"),
        );
    }
    let region: String = section.or("region", "us-east-1".to_owned());
    let key_id: Option<String> = section.required("key_id", "key_id = \"alias/chartgate\"");
    let access_key_id: Option<String> =
        section.required("access_key_id", "access_key_id = \"chartgate\"");
    let secret = secret(&mut section, "secret_access_key_file");
    let ca = optional_file(&mut section, "ca");
    section.done();
    Some(Kms {
        endpoint: endpoint?,
        region,
        key_id: key_id?,
        access_key_id: access_key_id?,
        secret_access_key: secret?,
        ca,
    })
}

#[cfg(feature = "pkcs11")]
fn token(mut section: Section<'_>) -> Option<KeyHome> {
    let module = super::file(
        &mut section,
        "module",
        "module = \"/usr/lib/softhsm/libsofthsm2.so\"",
    );
    let token: Option<String> = section.required("token", "token = \"chartgate\"");
    let key: Option<String> = section.required("key", "key = \"chartgate-keys\"");
    let pin = secret(&mut section, "pin_file");
    section.done();
    Some(KeyHome::Token(crate::config::keys::Token {
        module: module?,
        token: token?,
        key: key?,
        pin: pin?,
    }))
}

#[cfg(not(feature = "pkcs11"))]
#[expect(clippy::needless_pass_by_value, reason = "called as with the feature")]
fn token(section: Section<'_>) -> Option<KeyHome> {
    let message = "this build speaks no PKCS #11";
    let remedy = "build it with `cargo install --features pkcs11`, or use `[keys.kms]`";
    section.error("module", says(message, remedy));
    None
}

#[cfg(test)]
mod tests {
    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    const KMS: &str = "[keys.kms]\nendpoint = \"https://kms.hospital.example\"\nregion = \"eu-central-1\"\nkey_id = \"alias/chartgate\"\naccess_key_id = \"chartgate\"\nsecret_access_key_file = \"secrets/kms\"\n";

    #[test]
    fn every_key_file_is_sealed_by_what_is_named() {
        let fixture = Fixture::new();
        fixture.write("secrets/kms", "s3cret\n");
        let config = fixture.read(TEMPLATE).config.unwrap();
        assert!(config.audit.master_key.home().is_none());
        let reading = fixture.read(&format!("{TEMPLATE}\n{KMS}"));
        assert!(reading.problems.is_empty(), "{}", reading.problems);
        let config = reading.config.unwrap();
        for file in [
            &config.audit.master_key,
            &config.store.key,
            &config.backup.unwrap().key,
        ] {
            assert!(file.home().is_some());
        }
    }

    #[test]
    fn keys_are_not_sent_in_clear_and_have_one_home() {
        let fixture = Fixture::new();
        fixture.write("secrets/kms", "s3cret\n");
        for (text, key) in [
            (KMS.replace("https", "http"), "keys.kms.endpoint"),
            (KMS.replace("key_id = \"a", "key = \"a"), "keys.kms.key_id"),
            ("[keys]\n".to_owned(), "keys.kms"),
        ] {
            let problems = fixture.read(&format!("{TEMPLATE}\n{text}")).problems;
            assert!(
                problems.iter().any(|problem| problem.key == key),
                "{problems}"
            );
        }
        let both = format!("{TEMPLATE}\n{KMS}[keys.pkcs11]\nmodule = \"x\"\n");
        let problems = fixture.read(&both).problems;
        assert_eq!(sole(&problems).key, "keys.kms", "{problems}");
    }
}
