//! The test vectors in `schemas/vectors/` say what this crate does, and another implementation agrees.
//!
//! `QPQ_REGENERATE_VECTORS=1 cargo test -p qpq-schemas --test vectors` writes them anew; look at the difference before you commit it.

mod channel;
mod emergency;
mod envelope;
mod link;
mod packet;
mod parcel;
mod record;
mod sealing;
mod signature;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Compares a file with what this crate makes, or writes it when asked to.
fn assert_fresh(file: &str, made: &Value) {
    let path = folder().join(file);
    if std::env::var_os("QPQ_REGENERATE_VECTORS").is_some() {
        std::fs::write(&path, format!("{made:#}\n")).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let kept: Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(
        kept == *made,
        "{} is stale: a wire format has changed. If that was meant, run \
         QPQ_REGENERATE_VECTORS=1 cargo test -p qpq-schemas --test vectors",
        path.display()
    );
}

#[test]
fn envelope_vectors_are_fresh() {
    assert_fresh("envelope.json", &envelope::vectors());
}

#[test]
fn signature_vectors_are_fresh() {
    assert_fresh("signature.json", &signature::vectors());
}

#[test]
fn channel_vectors_are_fresh() {
    assert_fresh("channel.json", &channel::vectors());
}

#[test]
fn sealing_vectors_are_fresh() {
    assert_fresh("sealing.json", &sealing::vectors());
}

#[test]
fn record_vectors_are_fresh() {
    assert_fresh("record.json", &record::vectors());
}

#[test]
fn link_vectors_are_fresh() {
    assert_fresh("link.json", &link::vectors());
}

#[test]
fn parcel_vectors_are_fresh() {
    assert_fresh("parcel.json", &parcel::vectors());
}

#[test]
fn emergency_vectors_are_fresh() {
    assert_fresh("emergency.json", &emergency::vectors());
}

#[test]
fn packet_vectors_are_fresh() {
    assert_fresh("packet.json", &packet::vectors());
}

/// The reader in Python shares no code with this crate and no library either.
#[test]
fn an_independent_reader_in_python_agrees_with_every_vector() {
    if std::env::var_os("QPQ_REGENERATE_VECTORS").is_some() {
        return;
    }
    let Ok(output) = Command::new("python3").arg("-B").arg(folder().join("check.py")).output() else {
        let skipped = "SKIPPED an_independent_reader_in_python_agrees_with_every_vector: python3 is not installed";
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
        return;
    };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "check.py disagrees:\n{}", String::from_utf8_lossy(&said));
}
