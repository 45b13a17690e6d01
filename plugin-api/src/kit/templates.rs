//! What `qpq plugin new` writes: real crates and sources, which this repository builds and tests under the name `example`, and
//! the SDK's own sources, so that a plugin builds anywhere with nothing but its public dependencies.

/// A file of a new plugin.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Where it belongs, from the plugin's folder on.
    pub path: &'static str,
    text: &'static str,
    /// It has the name `example` in it.
    named: bool,
}

impl File {
    /// The text for a plugin of that name: lower-case letters, digits and '-'.
    pub fn named(&self, name: &str) -> String {
        if !self.named {
            return self.text.to_owned();
        }
        // Rust's and C's own names have no '-'.
        let joined = name.replace('-', "_");
        self.text
            .replace("path = \"../..\"", "path = \"sdk\"")
            .replace("transport_example", &format!("transport_{joined}"))
            .replace("routing_example", &format!("routing_{joined}"))
            .replace("example", name)
    }
}

macro_rules! files {
    ($folder:literal: $($path:literal from $source:literal),* $(,)?) => {
        vec![$(File { path: $path, text: include_str!(concat!("../../templates/", $folder, "/", $source)), named: true }),*]
    };
}

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        &[$(File { path: concat!("sdk/src/", $path), text: include_str!(concat!("../", $path)), named: false }),*]
    };
}

/// A transport in Rust.
pub fn rust_transport() -> Vec<File> {
    with_sdk(files! { "rust-transport":
        "Cargo.toml" from "Cargo.toml",
        "README.md" from "README.md",
        ".gitignore" from "gitignore",
        "src/config.rs" from "src/config.rs",
        "src/config.schema.json" from "src/config.schema.json",
        "src/lib.rs" from "src/lib.rs",
        "src/link.rs" from "src/link.rs",
        "src/plugin.rs" from "src/plugin.rs",
        "src/shared.rs" from "src/shared.rs",
        "src/wire.rs" from "src/wire.rs",
    })
}

/// A routing protocol in Rust.
pub fn rust_routing() -> Vec<File> {
    with_sdk(files! { "rust-routing":
        "Cargo.toml" from "Cargo.toml",
        "README.md" from "README.md",
        ".gitignore" from "gitignore",
        "src/lib.rs" from "src/lib.rs",
    })
}

/// A transport in C.
pub fn c_transport() -> Vec<File> {
    let mut files = files! { "c-transport":
        "Makefile" from "Makefile",
        "README.md" from "README.md",
        ".gitignore" from "gitignore",
        "address.c" from "address.c",
        "transport.h" from "transport.h",
        "plugin.c" from "plugin.c",
        "work.c" from "work.c",
    };
    files.push(File { path: "qpq_plugin.h", text: include_str!("../../include/qpq_plugin.h"), named: false });
    files
}

fn with_sdk(mut files: Vec<File>) -> Vec<File> {
    files.push(File { path: "sdk/Cargo.toml", text: include_str!("../../templates/sdk/Cargo.toml"), named: false });
    files.push(File { path: "sdk/README.md", text: include_str!("../../README.md"), named: false });
    files.extend(SDK);
    files
}

/// The SDK, without this kit and without tests.
const SDK: &[File] = sources! {
    "abi.rs",
    "abi/basic.rs",
    "abi/discovery.rs",
    "abi/host.rs",
    "abi/identity.rs",
    "abi/plugin.rs",
    "abi/routing.rs",
    "abi/status.rs",
    "abi/store.rs",
    "abi/transport.rs",
    "lib.rs",
    "sdk.rs",
    "sdk/discovery.rs",
    "sdk/error.rs",
    "sdk/export.rs",
    "sdk/frames.rs",
    "sdk/glue.rs",
    "sdk/guard.rs",
    "sdk/host.rs",
    "sdk/identity.rs",
    "sdk/op.rs",
    "sdk/outbox.rs",
    "sdk/plugin.rs",
    "sdk/queue.rs",
    "sdk/routing.rs",
    "sdk/store.rs",
    "sdk/stream.rs",
    "sdk/task.rs",
    "sdk/tracing.rs",
    "sdk/transport.rs",
    "testing.rs",
    "testing/host.rs",
    "testing/node.rs",
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, into: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, into);
            } else {
                into.insert(path);
            }
        }
    }

    #[test]
    fn a_new_plugin_gets_the_whole_sdk() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut all = BTreeSet::new();
        sources(&root, &mut all);
        let text = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let left_out = |path: &String| path.starts_with("kit") || path.contains("tests");
        let wanted: BTreeSet<String> = all.iter().map(text).filter(|path| !left_out(path)).collect();
        let given = SDK.iter().map(|file| file.path.strip_prefix("sdk/src/").unwrap().to_owned()).collect();
        assert_eq!(wanted, given);
    }

    #[test]
    fn the_sdks_manifest_has_the_dependencies_of_the_real_one() {
        let dependencies = |text: &str| -> BTreeSet<String> {
            let section = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
            let names = section.lines().filter_map(|line| line.split([' ', '.', '=']).next());
            names.filter(|name| !name.is_empty() && *name != "libloading").map(str::to_owned).collect()
        };
        let real = include_str!("../../Cargo.toml");
        assert_eq!(dependencies(include_str!("../../templates/sdk/Cargo.toml")), dependencies(real));
    }

    #[test]
    fn nothing_keeps_the_name_of_the_example() {
        for files in [rust_transport(), rust_routing(), c_transport()] {
            for file in files.iter().filter(|file| file.named) {
                assert!(!file.named("serial-2").contains("example"), "{}", file.path);
            }
        }
        let cargo = rust_transport()[0].named("serial-2");
        assert!(cargo.contains("name = \"transport-serial-2\"") && cargo.contains("name = \"qpq_transport_serial_2\""));
    }
}
