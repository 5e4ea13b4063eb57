//! Who acts, and how strongly that is proven.

pub mod identify;
pub mod session;
