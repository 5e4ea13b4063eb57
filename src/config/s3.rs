//! A bucket of an S3-compatible store.

use std::path::PathBuf;

use crate::secret::Secret;

/// A bucket. `backup.target.s3`, and wherever else a bucket is named
#[derive(Debug, Clone)]
pub struct S3Target {
    /// The store's address, without the bucket.
    pub endpoint: url::Url,
    /// The bucket, addressed by path.
    pub bucket: String,
    /// The region that requests are signed for. Default `us-east-1`.
    pub region: String,
    /// What every name begins with: nothing, or a path that ends in `/`.
    pub prefix: String,
    /// The account.
    pub access_key_id: String,
    /// Its secret, read from the named file.
    pub secret_access_key: Secret<String>,
    /// Private CA of the store, PEM; else the system's roots.
    pub ca: Option<PathBuf>,
}
