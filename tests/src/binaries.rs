//! Where the binaries under test lie: beside the test itself, in cargo's target folder.

use std::path::{Path, PathBuf};

use crate::{Failure, Outcome};

/// Names another folder to take `qpq` and the plugins from, such as `target/release`.
pub const BINARIES_ENV: &str = "QPQ_TEST_BIN_DIR";

/// The folder with `qpq` and the plugins: [`BINARIES_ENV`], or the profile folder of the running program.
pub fn dir() -> Outcome<PathBuf> {
    if let Some(dir) = std::env::var_os(BINARIES_ENV) {
        return Ok(dir.into());
    }
    let exe = std::env::current_exe()?;
    // Tests and benches lie in <profile>/deps, the demo in <profile>.
    let dir = exe.parent().ok_or_else(|| Failure::new("the running program has no folder"))?;
    let inside_deps = dir.file_name().is_some_and(|name| name == "deps");
    Ok(if inside_deps { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}

/// The `qpq` binary.
pub fn qpq() -> Outcome<PathBuf> {
    existing("qpq")
}

/// The `qpq-relay` binary.
pub fn relay() -> Outcome<PathBuf> {
    existing("qpq-relay")
}

/// The shared library of a plugin, such as `transport-quic`.
pub fn plugin(name: &str) -> Outcome<PathBuf> {
    let stem = format!("qpq_{}", name.replace('-', "_"));
    existing(&format!("{}{stem}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
}

/// The folder with the bundled bots.
pub fn bundled_scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

fn existing(file: &str) -> Outcome<PathBuf> {
    let path = dir()?.join(file);
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::new(format!(
        "{} is missing. Run `cargo build --workspace` first (`make test` does), or name another folder in {BINARIES_ENV}.",
        path.display()
    )))
}
