//! The command line of Chartgate.

use std::process::ExitCode;

fn main() -> ExitCode {
    chartgate::cli::main()
}
