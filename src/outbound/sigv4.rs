//! AWS Signature Version 4, as far as an object store or a key service needs it.

use aws_lc_rs::{digest, hmac};

use crate::secret::Secret;

/// Who signs, for which service.
#[derive(Debug)]
pub struct Signer<'s> {
    /// The account.
    pub access_key_id: &'s str,
    /// Its secret.
    pub secret_access_key: &'s Secret<String>,
    /// The region.
    pub region: &'s str,
    /// `s3` or `kms`.
    pub service: &'s str,
}

/// What is signed of a request.
#[derive(Debug)]
pub struct Signed<'r> {
    /// The method.
    pub method: &'r str,
    /// The path, percent-encoded as it is sent.
    pub path: &'r str,
    /// The query, encoded, its parameters in order.
    pub query: &'r str,
    /// Header names in lower case with values, in order; `host` and `x-amz-date` among them.
    pub headers: &'r [(&'r str, String)],
    /// SHA-256 of the body, hex.
    pub payload: &'r str,
    /// `20261125T091500Z`.
    pub stamp: &'r str,
}

/// The value of the `Authorization` header.
#[must_use]
pub fn authorization(signer: &Signer<'_>, signed: &Signed<'_>) -> String {
    let day = signed.stamp.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", signer.region, signer.service);
    let mut names = String::new();
    let mut headers = String::new();
    for (name, value) in signed.headers {
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
        headers.extend([name, ":", value.trim(), "\n"]);
    }
    let request = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        signed.method, signed.path, signed.query, signed.payload
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        signed.stamp,
        sha256(request.as_bytes())
    );
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", signer.secret_access_key.expose()));
    let mut key = sign(secret.as_bytes(), day);
    for part in [signer.region, signer.service, "aws4_request"] {
        key = sign(key.as_ref(), part);
    }
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
        signer.access_key_id,
        hex::encode(sign(key.as_ref(), &text).as_ref())
    )
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// SHA-256, hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        payload: &str,
    ) -> String {
        let headers: Vec<(&str, String)> =
            headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        // The account of the examples in Amazon's S3 API reference, "Signature Calculations for the Authorization Header".
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned().into();
        let value = authorization(
            &Signer {
                access_key_id: "AKIAIOSFODNN7EXAMPLE",
                secret_access_key: &secret,
                region: "us-east-1",
                service: "s3",
            },
            &Signed {
                method,
                path,
                query,
                headers: &headers,
                payload,
                stamp: "20130524T000000Z",
            },
        );
        value.rsplit_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn amazons_examples_are_reproduced() {
        let empty = sha256(b"");
        let host = ("host", "examplebucket.s3.amazonaws.com");
        let content = ("x-amz-content-sha256", empty.as_str());
        let date = ("x-amz-date", "20130524T000000Z");
        assert_eq!(
            signature(
                "GET",
                "/test.txt",
                "",
                &[host, ("range", "bytes=0-9"), content, date],
                &empty
            ),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature(
                "GET",
                "/",
                "max-keys=2&prefix=J",
                &[host, content, date],
                &empty
            ),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        let payload = sha256(b"Welcome to Amazon S3.");
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            host,
            ("x-amz-content-sha256", &payload),
            date,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert_eq!(
            signature("PUT", "/test%24file.text", "", &put, &payload),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }
}
