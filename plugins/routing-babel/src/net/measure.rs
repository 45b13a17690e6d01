//! Figures of large networks: `cargo test --release -p qpq-routing-babel -- --ignored --nocapture measure`.

use std::time::Instant;

use super::{Plan, World};

fn env(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "prints figures; takes minutes without optimization"]
fn measure() {
    let nodes = env("NODES", 1_000);
    let mut plan = Plan::new(nodes);
    plan.announcing = env("ANNOUNCING", nodes);
    plan.audit = env("AUDIT", 0) == 1;
    let seed = env("SEED", 1) as u64;
    let wall = Instant::now();
    let mut world = World::geometric(plan, seed);
    let begin = world.now_ms;
    world.mend_all();
    world.run(8_000);
    let known = plan.announcing as f64 * nodes as f64;
    println!("cold start: last change after {} ms", world.counts.last_change_ms - begin);
    println!(
        "  {:.1} B per node and destination, {} frames, {} changes",
        world.counts.bytes as f64 / known,
        world.counts.frames,
        world.counts.changes
    );
    println!("  wall {:.1} s", wall.elapsed().as_secs_f64());
    let sources: Vec<usize> = (0..nodes).step_by((nodes / 50).max(1)).collect();
    println!("  unserved {}, stretch {:?}", world.unserved(&sources).len(), world.stretch(&sources));
    let bytes: usize = world.nodes.iter().filter_map(|node| node.babel.as_ref()).map(|babel| babel.state_bytes()).sum();
    println!("  state: {:.1} B per destination and node", bytes as f64 / known);
    println!("  loops {}", world.counts.loops);
    println!("wall {:.1} s", wall.elapsed().as_secs_f64());
}
