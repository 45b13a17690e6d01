//! The committed Cap'n Proto code belongs to the committed schema.
//!
//! Nobody needs the `capnp` compiler to build: its output for `node.capnp`, the code generator request, is
//! committed in `generated/`, and `src/node_capnp.rs` is made from that. The first line of `generated/node.sha256`
//! is the digest of the `node.capnp` that the request was made from.
//!
//! After a change of `node.capnp`, with `capnp` on the path:
//! `QPQ_REGENERATE=1 cargo test -p qpq-schemas --test node_capnp_is_fresh`

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "says which half was skipped")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use capnpc::codegen::CodeGenerationCommand;
use sha2::{Digest, Sha256};

const MEND: &str =
    "run `QPQ_REGENERATE=1 cargo test -p qpq-schemas --test node_capnp_is_fresh` on a machine that has `capnp`";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn request_file() -> PathBuf {
    folder().join("generated/node.request")
}

fn code_file() -> PathBuf {
    folder().join("src/node_capnp.rs")
}

fn digest_file() -> PathBuf {
    folder().join("generated/node.sha256")
}

fn digest_of_schema() -> String {
    let text = fs::read(folder().join("node.capnp")).unwrap();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `capnpc` makes of a code generator request.
fn generate(request: &[u8]) -> String {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("node-capnp-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    CodeGenerationCommand::new().output_directory(&out).run(request).unwrap();
    let code = fs::read_to_string(out.join("node_capnp.rs")).unwrap();
    fs::remove_dir_all(&out).unwrap();
    code
}

/// Asks the `capnp` compiler for the request; `None` when it is not installed.
fn compile_schema() -> Option<Vec<u8>> {
    let output = Command::new("capnp").args(["compile", "-o-", "node.capnp"]).current_dir(folder()).output().ok()?;
    assert!(output.status.success(), "capnp refused node.capnp: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// The generated code without the line that names the compiler's version.
fn without_compiler_version(code: &str) -> String {
    code.lines().filter(|line| !line.starts_with("// capnp binary version")).collect::<Vec<_>>().join("\n")
}

fn regenerate() {
    let request = compile_schema().expect("QPQ_REGENERATE needs the `capnp` compiler (Debian package `capnproto`)");
    fs::create_dir_all(folder().join("generated")).unwrap();
    fs::write(code_file(), generate(&request)).unwrap();
    fs::write(request_file(), request).unwrap();
    fs::write(digest_file(), format!("{}\n", digest_of_schema())).unwrap();
}

#[test]
fn the_generated_code_belongs_to_the_schema() {
    if std::env::var_os("QPQ_REGENERATE").is_some() {
        regenerate();
    }
    let noted = fs::read_to_string(digest_file()).unwrap();
    assert_eq!(noted.trim(), digest_of_schema(), "node.capnp was edited after the code was generated: {MEND}");

    let code = fs::read_to_string(code_file()).unwrap();
    let expected = generate(&fs::read(request_file()).unwrap());
    assert!(code == expected, "src/node_capnp.rs is not what capnpc makes of generated/node.request: {MEND}");

    match compile_schema() {
        Some(request) => assert!(
            without_compiler_version(&generate(&request)) == without_compiler_version(&code),
            "src/node_capnp.rs is not what the installed capnp makes of node.capnp: {MEND}"
        ),
        None => eprintln!("skipped the comparison with a fresh compilation: `capnp` is not installed"),
    }
}
