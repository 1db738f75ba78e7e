//! The `cratos` program: parse the command line, run one command, turn its result into an exit code
//! (0 done, 1 failed, 2 usage or configuration).

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // rustls has no default provider in this build; ring is the only crypto library in the tree. Err: already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cratos::cli::run(cratos::cli::Cli::parse())
}
