//! A value that must never be shown: redacted when debugged, wiped when dropped.
//!
//! *Never*: implements `Display`, `Serialize`, `Clone` or `Deref`.

use std::fmt;

use zeroize::Zeroize;

/// A secret value with one greppable way to read it.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Reads the value; every use of a secret is a call of this function.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
