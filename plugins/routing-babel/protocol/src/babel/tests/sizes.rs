//! Memory and traffic.

use super::*;

#[test]
fn a_destination_takes_at_most_200_bytes_with_five_neighbours() {
    let mut bench = Bench::new(&json!({}));
    (1..=5).for_each(|n| bench.neighbour(n));
    let mut worst = 0.0f64;
    for n in 0..1_000 {
        (1..=5).for_each(|from| bench.says(from, &[way(10 + n, 1, 100, 1)]));
        if n >= 500 {
            let known = bench.babel.table.len() as f64;
            worst = worst.max(bench.babel.state_bytes() as f64 / known);
        }
    }
    bench.wait(10_000);
    let settled = bench.babel.state_bytes() as f64 / bench.babel.table.len() as f64;
    assert!(settled <= 200.0, "{settled} bytes");
    assert!(worst <= 220.0, "{worst} bytes on the way there");
}

#[test]
fn in_a_settled_network_only_refreshes_and_digests_cross_the_links() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.neighbour(2);
    bench.says(1, &(10..60).map(|n| way(n, 1, 100, 1)).collect::<Vec<_>>());
    bench.wait(20_000);
    bench.out = Output::default();
    bench.wait(840_000);
    let bytes: usize = bench.out.control.iter().map(|(_, frame)| frame.len()).sum();
    // 15 digests of 11 bytes to each of two neighbours, and one new record of the node's own.
    assert!(bytes <= 2 * (15 * 11 + 100), "{bytes} bytes");
    bench.out = Output::default();
    bench.says(1, &(10..60).map(|n| way(n, 2, 100, 1)).collect::<Vec<_>>());
    bench.wait(10_000);
    let bytes: usize = bench.out.control.iter().map(|(_, frame)| frame.len()).sum();
    assert!(bytes > 50 * 70 && bytes <= 50 * 82 + 200, "{bytes} bytes to one neighbour for 50 records");
}
