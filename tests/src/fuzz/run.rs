//! Feeds a target its corpus, and then damaged copies of it, for a given time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Target;
use super::mutate::mutate;
use crate::{Failure, Outcome, Random};

/// One input may take so long, in an unoptimised build on a crowded machine. Honest inputs take microseconds.
const SLOW: Duration = Duration::from_secs(5);

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Wall-clock time for the damaged inputs.
    pub time: Duration,
}

/// Runs a target: first its corpus, then damaged copies. Returns how many inputs it was fed.
pub fn run(target: &Target, random: &mut Random, effort: Effort) -> Outcome<u64> {
    let corpus = corpus(target)?;
    for input in &corpus {
        feed(target, input)?;
    }
    let deadline = Instant::now() + effort.time;
    let mut fed = corpus.len() as u64;
    while Instant::now() < deadline {
        let mut input = pick(random, &corpus).to_vec();
        let other = pick(random, &corpus);
        mutate(random, &mut input, other);
        feed(target, &input)?;
        fed += 1;
    }
    Ok(fed)
}

/// The seeds made by the target, and the files kept in `tests/fuzz/corpus/<name>`: the interesting and the once fatal.
fn corpus(target: &Target) -> Outcome<Vec<Vec<u8>>> {
    let mut corpus = (target.seeds)();
    corpus.push(Vec::new());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Ok(corpus) };
    for entry in entries {
        corpus.push(fs::read(entry?.path())?);
    }
    Ok(corpus)
}

fn pick<'a>(random: &mut Random, corpus: &'a [Vec<u8>]) -> &'a [u8] {
    corpus.get(random.below(corpus.len())).map_or(&[], Vec::as_slice)
}

fn feed(target: &Target, input: &[u8]) -> Outcome {
    let began = Instant::now();
    let fed = catch_unwind(AssertUnwindSafe(|| (target.feed)(input)));
    if fed.is_ok() && began.elapsed() < SLOW {
        return Ok(());
    }
    let what = if fed.is_err() { "panicked" } else { "hung" };
    let kept = keep(target, input)?;
    Err(Failure::new(format!(
        "{} {what} on {} bytes, kept as {}. Move the file into tests/fuzz/corpus/{} once it is mended.",
        target.name,
        input.len(),
        kept.display(),
        target.name
    )))
}

/// Saves a fatal input where the next build does not remove it.
fn keep(target: &Target, input: &[u8]) -> Outcome<PathBuf> {
    let folder = std::env::temp_dir().join("qpq-fuzz");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{}", target.name, std::process::id()));
    fs::write(&path, input)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_panics_is_caught_with_its_input() {
        let seeds = || vec![b"fine".to_vec()];
        let feed: fn(&[u8]) = |bytes| assert!(bytes.starts_with(b"fine") || bytes.is_empty(), "damaged");
        let target = Target { name: "self-test", feed, seeds };
        let effort = Effort { time: Duration::from_secs(20) };
        let told = run(&target, &mut Random::seeded(1), effort).expect_err("damage must be found").to_string();
        assert!(told.contains("self-test panicked"), "{told}");
    }
}
