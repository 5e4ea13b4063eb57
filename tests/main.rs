//! Drives the full request path: the sample clinic in this process, and the real binary.
#![expect(
    clippy::large_futures,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and its helpers need no manual"
)]

mod advisories;
mod answers;
mod api;
mod appeared;
mod architecture;
mod archive;
mod binary;
mod break_glass;
mod care;
mod casualty;
mod contain;
mod day;
mod device_key;
mod emergency;
mod harness;
mod hygiene;
mod inspection;
mod interleaved;
mod languages;
mod lock;
mod monitoring;
mod obligations;
mod pains;
mod path;
mod policy;
mod policy_change;
mod properties;
mod provisioning;
mod refusals;
mod second_factor;
mod step_up;
mod trail_faults;
mod training;
mod wire;
mod workstations;
