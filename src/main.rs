//! The command line of Chartgate.

use std::process::ExitCode;

/// The request path allocates in small pieces; glibc's allocator spends three times as many instructions on them
/// (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chartgate::cli::main()
}
