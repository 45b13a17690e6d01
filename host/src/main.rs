//! The `qpq` binary.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    qpq_host::cli::main()
}
