//! No bytes from outside crash, hang or fool a parser. A program of its own, so that it has the machine for itself.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use qpq_tests::{Failure, Outcome, Random, ensure, fuzz, skip};

/// How long each target runs.
fn effort() -> fuzz::Effort {
    fuzz::Effort { time: Duration::from_secs(skip::rounds(30, 15 * 60) as u64) }
}

/// Targets that run at the same time, for each core: two, because some of them wait for a disk or a clock.
const AT_A_TIME: usize = 2;

/// Each worker takes the next target until none is left.
#[test]
fn no_bytes_from_outside_crash_or_fool_a_parser() -> Outcome {
    let mut random = Random::announced("no_bytes_from_outside");
    let seed = random.next_u64();
    let wanted = std::env::var("QPQ_TARGETS").ok();
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == name));
    let targets: Vec<_> = fuzz::targets().filter(|target| is_wanted(target.name)).collect();
    ensure!(!targets.is_empty(), "no target has a name of {wanted:?}");
    let next = AtomicUsize::new(0);
    let work = || -> Outcome<Vec<(&str, u64)>> {
        let mut fed = Vec::new();
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Its own stream of numbers, so that a seed replays it whatever the others do.
            let own = target.name.bytes().fold(seed, |seed, byte| seed.rotate_left(5) ^ u64::from(byte));
            fed.push((target.name, fuzz::run(target, &mut Random::seeded(own), effort())?));
        }
        Ok(fed)
    };
    let workers = AT_A_TIME * std::thread::available_parallelism().map_or(1, usize::from);
    let done: Vec<Outcome<Vec<(&str, u64)>>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        started
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(Failure::new("a worker panicked"))))
            .collect()
    });
    let mut all = Vec::new();
    for fed in done {
        all.extend(fed?);
    }
    ensure!(all.len() == targets.len(), "{} of {} targets ran", all.len(), targets.len());
    all.sort_unstable();
    let told = format!("inputs: {all:?}\n");
    _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
    for (name, fed) in all {
        ensure!(fed > 20, "{name}: only {fed} inputs in all that time");
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
