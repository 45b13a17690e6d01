//! Committed Cap'n Proto code belongs to its committed schema.
//!
//! Nobody needs the `capnp` compiler to build: its output for a schema, the code generator request, is committed in
//! `generated/`, and the code in `src/` is made from that. The first line of `generated/NAME.sha256` is the digest of
//! the `NAME.capnp` that the request was made from.

#![allow(clippy::print_stderr, reason = "says which half was skipped")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use capnpc::codegen::CodeGenerationCommand;
use sha2::{Digest, Sha256};

/// A schema `NAME.capnp` and what follows from it.
pub(crate) struct Schema(pub(crate) &'static str);

impl Schema {
    /// Fails when something of it is stale; makes all of it anew first when `QPQ_REGENERATE` is set.
    pub(crate) fn check(&self) {
        if std::env::var_os("QPQ_REGENERATE").is_some() {
            self.regenerate();
        }
        let (name, mend) = (self.0, self.mend());
        let noted = fs::read_to_string(self.digest_file()).unwrap();
        assert_eq!(noted.trim(), self.digest(), "{name}.capnp was edited after the code was generated: {mend}");

        let code = fs::read_to_string(self.code_file()).unwrap();
        let expected = self.generate(&fs::read(self.request_file()).unwrap());
        assert!(code == expected, "src/{name}_capnp.rs is not what capnpc makes of generated/{name}.request: {mend}");

        match self.compile() {
            Some(request) => assert!(
                without_compiler_version(&self.generate(&request)) == without_compiler_version(&code),
                "src/{name}_capnp.rs is not what the installed capnp makes of {name}.capnp: {mend}"
            ),
            None => eprintln!("skipped the comparison with a fresh compilation: `capnp` is not installed"),
        }
    }

    fn mend(&self) -> String {
        let test = format!("{}_capnp_is_fresh", self.0);
        format!("run `QPQ_REGENERATE=1 cargo test -p qpq-schemas --test {test}` on a machine that has `capnp`")
    }

    fn request_file(&self) -> PathBuf {
        folder().join(format!("generated/{}.request", self.0))
    }

    fn code_file(&self) -> PathBuf {
        folder().join(format!("src/{}_capnp.rs", self.0))
    }

    fn digest_file(&self) -> PathBuf {
        folder().join(format!("generated/{}.sha256", self.0))
    }

    fn digest(&self) -> String {
        let text = fs::read(folder().join(format!("{}.capnp", self.0))).unwrap();
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What `capnpc` makes of a code generator request.
    fn generate(&self, request: &[u8]) -> String {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-capnp-{}", self.0, std::process::id()));
        fs::create_dir_all(&out).unwrap();
        CodeGenerationCommand::new().output_directory(&out).run(request).unwrap();
        let code = fs::read_to_string(out.join(format!("{}_capnp.rs", self.0))).unwrap();
        fs::remove_dir_all(&out).unwrap();
        code
    }

    /// Asks the `capnp` compiler for the request; `None` when it is not installed, or without the files that belong to it.
    fn compile(&self) -> Option<Vec<u8>> {
        let file = format!("{}.capnp", self.0);
        let output = Command::new("capnp").args(["compile", "-o-", &file]).current_dir(folder()).output().ok()?;
        let told = String::from_utf8_lossy(&output.stderr);
        if told.contains("'/capnp/stream.capnp' is not found") {
            return None;
        }
        assert!(output.status.success(), "capnp refused {file}: {told}");
        Some(output.stdout)
    }

    fn regenerate(&self) {
        let request = self
            .compile()
            .expect("QPQ_REGENERATE needs the `capnp` compiler (Debian packages `capnproto`, `libcapnp-dev`)");
        fs::create_dir_all(folder().join("generated")).unwrap();
        fs::write(self.code_file(), self.generate(&request)).unwrap();
        fs::write(self.request_file(), request).unwrap();
        fs::write(self.digest_file(), format!("{}\n", self.digest())).unwrap();
    }
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The generated code without the line that names the compiler's version.
fn without_compiler_version(code: &str) -> String {
    code.lines().filter(|line| !line.starts_with("// capnp binary version")).collect::<Vec<_>>().join("\n")
}
