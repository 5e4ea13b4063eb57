//! The real binary, as operators run it and as power failures end it.

mod commands;
mod crash;
mod demo;
mod handover;
mod service;
mod stop;
mod tamper;
