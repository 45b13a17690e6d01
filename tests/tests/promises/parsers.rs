//! No bytes from outside crash, hang or fool a parser.

use std::fs;
use std::path::Path;
use std::time::Duration;

use qpq_tests::{Outcome, Random, ensure, fuzz, skip};

/// How long each target runs.
fn effort() -> fuzz::Effort {
    let time = if skip::soak() { Duration::from_secs(15 * 60) } else { Duration::from_secs(2) };
    fuzz::Effort { time }
}

#[test]
fn no_bytes_from_outside_crash_or_fool_a_parser() -> Outcome {
    let mut random = Random::announced("no_bytes_from_outside");
    for target in fuzz::targets() {
        let fed = fuzz::run(target, &mut random, effort())?;
        ensure!(fed > 20, "{}: only {fed} inputs in all that time", target.name);
    }
    Ok(())
}

/// With `QPQ_WRITE_CORPUS=1` it also writes the seeds for cargo-fuzz to start from.
#[test]
fn every_target_has_wellformed_seeds_and_a_cargo_fuzz_twin() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
    for target in fuzz::targets() {
        let seeds = (target.seeds)();
        ensure!(!seeds.is_empty(), "{} has no seeds", target.name);
        let twin = format!("fuzz_targets/{}.rs", target.name);
        ensure!(manifest.contains(&twin) && folder.join(&twin).exists(), "tests/fuzz/{twin} is missing");
        if std::env::var_os("QPQ_WRITE_CORPUS").is_some() {
            let corpus = folder.join("corpus").join(target.name);
            fs::create_dir_all(&corpus)?;
            for (number, seed) in seeds.iter().enumerate() {
                fs::write(corpus.join(format!("seed-{number}")), seed)?;
            }
        }
    }
    Ok(())
}
