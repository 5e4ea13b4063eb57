//! The real binary, as operators run it and as power failures end it.

mod authors;
mod backup;
mod commands;
mod crash;
mod demo;
mod forge;
mod handover;
mod operators;
mod posture;
mod segmentation;
mod service;
mod shredded;
mod stop;
mod tamper;
