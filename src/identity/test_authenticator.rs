//! A passkey in software, for unit tests: what an authenticator and the browser before it send.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

/// A passkey.
pub(super) struct SoftPasskey {
    pair: EcdsaKeyPair,
    id: Vec<u8>,
    handle: Vec<u8>,
    rp_id: String,
    /// How often it was used, as it says.
    pub(super) counter: u32,
    /// Whether it says that it verified the user.
    pub(super) verifies: bool,
    /// Where the browser says that it is.
    pub(super) origin: String,
}

impl SoftPasskey {
    /// Does what `navigator.credentials.create` asks for, in a browser at `origin`.
    pub(super) fn create(options: &str, origin: &str) -> (Self, Value) {
        let options: Value = serde_json::from_str(options).unwrap();
        let options = &options["publicKey"];
        assert_eq!(options["attestation"], "none");
        let selection = &options["authenticatorSelection"];
        assert_eq!(selection["userVerification"], "required");
        let mut id = vec![0_u8; 32];
        aws_lc_rs::rand::fill(&mut id).unwrap();
        let passkey = Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id,
            handle: decode(&options["user"]["id"]),
            rp_id: options["rp"]["id"].as_str().unwrap().to_owned(),
            counter: 0,
            verifies: true,
            origin: origin.to_owned(),
        };
        let client = passkey.client_data("webauthn.create", &options["challenge"]);
        let mut data = passkey.authenticator_data(ATTESTED);
        data.extend([0_u8; 16]);
        data.extend(u16::try_from(passkey.id.len()).unwrap().to_be_bytes());
        data.extend(&passkey.id);
        data.extend(passkey.cose_key());
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = vec![0xa3];
        object.extend([&[0x63][..], b"fmt", &[0x64], b"none"].concat());
        object.extend([&[0x67][..], b"attStmt", &[0xa0]].concat());
        object.extend(
            [
                &[0x68][..],
                b"authData",
                &[0x58, u8::try_from(data.len()).unwrap()],
            ]
            .concat(),
        );
        object.extend(&data);
        let answer = json!({
            "id": encode(&passkey.id), "rawId": encode(&passkey.id), "type": "public-key",
            "extensions": {},
            "response": { "clientDataJSON": encode(&client), "attestationObject": encode(&object) },
        });
        (passkey, answer)
    }

    /// Does what `navigator.credentials.get` asks for.
    pub(super) fn get(&mut self, options: &str) -> Value {
        let options: Value = serde_json::from_str(options).unwrap();
        let options = &options["publicKey"];
        assert_eq!(options["userVerification"], "required");
        assert_eq!(options["rpId"], self.rp_id);
        let allowed = options["allowCredentials"].as_array().unwrap();
        assert!(allowed.iter().any(|one| decode(&one["id"]) == self.id));
        self.counter = self.counter.saturating_add(1);
        self.assert(&options["challenge"])
    }

    /// Signs a challenge, whoever asks.
    pub(super) fn assert(&self, challenge: &Value) -> Value {
        let client = self.client_data("webauthn.get", challenge);
        let data = self.authenticator_data(0);
        let mut signed = data.clone();
        signed.extend(digest(&SHA256, &client).as_ref());
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": encode(&self.id), "rawId": encode(&self.id), "type": "public-key", "extensions": {},
            "response": {
                "clientDataJSON": encode(&client), "authenticatorData": encode(&data),
                "signature": encode(signature.as_ref()), "userHandle": encode(&self.handle),
            },
        })
    }

    pub(super) fn handle(&self) -> &[u8] {
        &self.handle
    }

    fn client_data(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let client = json!({
            "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false,
        });
        client.to_string().into_bytes()
    }

    fn authenticator_data(&self, more: u8) -> Vec<u8> {
        let mut data = digest(&SHA256, self.rp_id.as_bytes()).as_ref().to_vec();
        let verified = if self.verifies { USER_VERIFIED } else { 0 };
        data.push(USER_PRESENT | verified | more);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    fn cose_key(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        key.extend(x);
        key.extend([0x22, 0x58, 0x20]);
        key.extend(y);
        key
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}
