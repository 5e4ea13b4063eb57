//! What the request means clinically: EMR profiles turn routes into actions on patients.

pub mod map;
pub mod profile;
