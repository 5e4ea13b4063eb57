//! AWS Signature Version 4, as far as an object store needs it.

use aws_lc_rs::{digest, hmac};

use crate::config::S3Target;

/// What is signed of a request.
#[derive(Debug)]
pub(super) struct Signed<'r> {
    /// The method.
    pub(super) method: &'r str,
    /// The path, percent-encoded as it is sent.
    pub(super) path: &'r str,
    /// The query, encoded, its parameters in order.
    pub(super) query: &'r str,
    /// Header names in lower case with values, in order; `host` and `x-amz-date` among them.
    pub(super) headers: &'r [(&'r str, String)],
    /// SHA-256 of the body, hex.
    pub(super) payload: &'r str,
    /// `20261125T091500Z`.
    pub(super) stamp: &'r str,
}

/// The value of the `Authorization` header.
pub(super) fn authorization(account: &S3Target, signed: &Signed<'_>) -> String {
    let day = signed.stamp.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{}/s3/aws4_request", account.region);
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
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", account.secret_access_key.expose()));
    let mut key = sign(secret.as_bytes(), day);
    for part in [account.region.as_str(), "s3", "aws4_request"] {
        key = sign(key.as_ref(), part);
    }
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
        account.access_key_id,
        hex::encode(sign(key.as_ref(), &text).as_ref())
    )
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// SHA-256, hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of the examples in Amazon's S3 API reference, "Signature Calculations for the Authorization Header".
    fn account() -> S3Target {
        S3Target {
            endpoint: "https://s3.amazonaws.com".parse().unwrap(),
            bucket: "examplebucket".to_owned(),
            region: "us-east-1".to_owned(),
            prefix: String::new(),
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned().into(),
            ca: None,
        }
    }

    fn signature(
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        payload: &str,
    ) -> String {
        let headers: Vec<(&str, String)> =
            headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let value = authorization(
            &account(),
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
