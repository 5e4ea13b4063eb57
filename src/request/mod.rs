//! What arrived, in the one form that everything after it decides on.
//!
//! *Never*: a second spelling. The [`Target`] that policy sees is the one the EMR receives.

pub mod address;
pub mod allowance;
pub mod answer;
pub mod body;
pub mod browser;
pub mod certificate;
pub mod cover;
pub mod credentials;
pub mod demand;
pub mod device;
pub mod edition;
pub mod enquiry;
pub mod event;
pub mod facts;
pub mod handled;
pub mod held;
pub mod hygiene;
pub mod notice;
pub mod offer;
pub mod onward;
pub mod principal;
pub mod reach;
pub mod received;
mod refused;
pub mod situation;
pub mod statement;
pub mod target;
pub mod watermark;
mod way_back;
pub mod workplace;

pub use address::{ClientAddr, PeerAddr};
pub use allowance::Allowance;
pub use answer::AnswerBody;
pub use body::{Body, BodyError};
pub use certificate::ClientCertificate;
pub use cover::Cover;
pub use demand::{Demand, Factor};
pub use device::Device;
pub use edition::{BundleMark, Edition};
pub use enquiry::Enquiry;
pub use event::Event;
pub use facts::{Action, Facts, PatientRef};
pub use handled::Handled;
pub use notice::Notice;
pub use offer::{Offer, OfferedWard};
pub use onward::Onward;
pub use principal::{Principal, Role};
pub use reach::Reach;
pub use received::{Received, RequestId};
pub use refused::{Refused, Throttle};
pub use situation::Situation;
pub use target::Target;
pub use watermark::Watermark;
pub use workplace::Workplace;
