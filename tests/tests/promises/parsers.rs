//! No bytes from outside crash, hang or fool a parser.

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
        ensure!(fed > 100, "{}: only {fed} inputs in all that time", target.name);
    }
    Ok(())
}

#[test]
fn every_target_has_wellformed_seeds() -> Outcome {
    for target in fuzz::targets() {
        ensure!(!(target.seeds)().is_empty(), "{} has no seeds", target.name);
    }
    Ok(())
}
