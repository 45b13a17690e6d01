//! What the simulator shows of real cores with real routing plugins.

use std::process::Command;

use qpq_tests::sim::chaos::{Chaos, Size};
use qpq_tests::sim::scenario::{Report, Scenario};
use qpq_tests::sim::{Options, Shape};
use qpq_tests::{Failure, Outcome, ensure, skip};
use serde_json::{Value, json};

/// Replays one seed of [`nothing_acknowledged_is_lost_or_doubled_whatever_happens`].
const SEED_ENV: &str = "QPQ_SIM_SEED";

/// Seeds in `make test`, and in `make soak`.
const SEEDS: [usize; 2] = [200, 20_000];

/// The fields that a case's JSON has at least.
const FIELDS: [&str; 12] = [
    "delivery_ratio",
    "loops",
    "stretch_mean",
    "stretch_max",
    "cold_start_s",
    "link_loss_recovery_s",
    "heal_s",
    "control_bytes_per_node_s",
    "copies_per_broadcast",
    "state_bytes_per_node",
    "duplicates_at_application",
    "state_hash",
];

/// A case that is over in a second or two.
fn small(shape: Shape, nodes: usize, seed: u64, change: impl Fn(&mut Options)) -> Outcome<Report> {
    let mut options = Options::new(shape, nodes, seed);
    options.window_s = 20;
    change(&mut options);
    Scenario::run(options, &mut |_| {})
}

#[test]
fn one_seed_replays_a_run_exactly() -> Outcome {
    let hash = |seed| small(Shape::Geometric, 25, seed, |options| options.loss = 0.05).map(|report| report.state_hash);
    let (first, again, other) = (hash(11)?, hash(11)?, hash(12)?);
    ensure!(first == again, "seed 11 ended in {first}, and then in {again}");
    ensure!(first != other, "two seeds ended in the same state");
    Ok(())
}

#[test]
fn ways_are_free_of_loops_and_lead_everywhere_after_every_fault() -> Outcome {
    for (shape, seed) in [(Shape::Geometric, 1), (Shape::Ring, 2), (Shape::ScaleFree, 3)] {
        let report = small(shape, 30, seed, |_| {})?;
        let told = report.json();
        ensure!(report.loops == 0, "a loop: {told}");
        ensure!(report.unannounced_changes == 0, "a route changed in silence: {told}");
        ensure!(report.served_after_start == report.pairs, "somebody is not reached: {told}");
        ensure!(report.delivery_ratio >= 1.0, "a message is missing: {told}");
        ensure!(report.duplicates_at_application == 0, "a message came twice: {told}");
        ensure!(report.other_than_on_disk.is_empty(), "a memory differs from its disk: {told}");
        ensure!(report.reach_after_deaths >= 1.0, "a broadcast did not reach all that hang together: {told}");
    }
    Ok(())
}

#[test]
fn the_audit_finds_loops_once_the_feasibility_rule_is_off() -> Outcome {
    let careless = |options: &mut Options| options.config = json!({"unsafe_ignore_feasibility": true});
    let mut found = 0;
    for seed in 1..=4 {
        found += small(Shape::Ring, 12, seed, careless)?.loops;
    }
    ensure!(found > 0, "no loop was found, though nothing prevents them");
    Ok(())
}

#[test]
fn the_program_ends_with_one_json_object_with_all_figures() -> Outcome {
    let arguments = ["NODES=20", "TOPOLOGY=grid", "SEED=7", "JSON=1", "WINDOW_S=10"];
    let output = Command::new(env!("CARGO_BIN_EXE_qpq-sim")).args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "it failed: {errors}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().ok_or_else(|| Failure::new("it printed nothing"))?;
    let figures: Value = serde_json::from_str(last)?;
    for field in FIELDS {
        ensure!(figures.get(field).is_some_and(|value| !value.is_null()), "{field} is missing in {last}");
    }
    ensure!(figures["nodes"] == 20 && figures["topology"] == "grid" && figures["seed"] == 7, "another case: {last}");
    Ok(())
}

/// 5 to 20 nodes, and anything that can happen to them: messages, broken wires, partitions, crashes, failing and slow disks,
/// clocks that differ by up to 5 minutes, lost packets. Once all is mended, everything that was acknowledged must have come
/// to whom it is for, once.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_whatever_happens() -> Outcome {
    if let Some(seed) = std::env::var(SEED_ENV).ok().and_then(|text| text.parse().ok()) {
        return hold(seed);
    }
    // With these, broadcasts were announced before they could be read.
    [4_092, 6_049].into_iter().chain(0..skip::rounds(SEEDS[0], SEEDS[1]) as u64).try_for_each(hold)
}

fn hold(seed: u64) -> Outcome {
    let verdict = Chaos::run(seed, &Size::default())?;
    if verdict.broken.is_empty() {
        return Ok(());
    }
    let replay = format!("{SEED_ENV}={seed} cargo test -p qpq-tests --test promises nothing_acknowledged");
    Err(Failure::new(format!("{}\n{}\nReplay it: {replay}", verdict.story, verdict.broken.join("\n"))))
}

#[test]
fn a_run_in_which_anything_happens_replays_as_well() -> Outcome {
    for seed in [3, 4] {
        let [first, again] = [(); 2].map(|()| Chaos::run(seed, &Size::default()));
        let (first, again) = (first?, again?);
        ensure!(first.acknowledged > 0, "nothing was acknowledged with seed {seed}");
        ensure!(first.state_hash == again.state_hash, "seed {seed} ended in two states");
    }
    Ok(())
}
