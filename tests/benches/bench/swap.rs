//! A relay's transport replaced while messages flow both ways, all processes on this machine.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use qpq_host::api::NodeApi;
use qpq_host::control::RemoteNode;
use qpq_tests::{Failure, Flow, Line, Outcome, Tally, binaries, flow};

use crate::rate::percentile;
use crate::report::{Goal, Report};

/// Swaps in the run.
const SWAPS: usize = 50;
/// Messages that come through between two swaps.
const BETWEEN: usize = 500;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let line = Line::shaped(|plan| plan.config(flow::ROOM))?;
    line.wait_ways()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (swaps, tallies) = runtime.block_on(run(&line))?;
    let mut pauses: Vec<_> = swaps.iter().map(|swap| swap.pause).collect();
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut pauses, share).as_secs_f64() * 1000.0);
    report.add(format!("{} swaps of a relay's transport-quic under full load: pause p50", pauses.len()), p50, "ms");
    report.add("the same, p99", p99, "ms").goal(Goal::AtMost(20.0));
    let mut silence = |what: String, window: fn(&Swap) -> [Instant; 2]| {
        let mut all: Vec<_> =
            swaps.iter().flat_map(|swap| tallies.each_ref().map(|t| longest(t, window(swap)))).collect();
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut all, share).as_secs_f64() * 1000.0);
        report.add(format!("longest silence at a receiving application {what}: p50"), p50, "ms");
        report.add("the same, p99", p99, "ms");
    };
    silence("during a swap".to_owned(), |swap| [swap.began, swap.over]);
    silence("in as much time before it".to_owned(), |swap| [swap.began - (swap.over - swap.began), swap.began]);
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>() as f64;
    report.add("messages sent meanwhile", sum(|tally| tally.sent), "");
    report.add("of them lost", sum(|tally| tally.lost), "").goal(Goal::AtMost(0.0));
    report.add("of them doubled", sum(|tally| tally.doubled), "").goal(Goal::AtMost(0.0));
    Ok(())
}

/// One swap.
struct Swap {
    began: Instant,
    /// Every neighbour is back.
    over: Instant,
    pause: Duration,
}

/// The longest time without an arrival that falls into a window, as far as it does.
fn longest(tally: &Tally, [began, over]: [Instant; 2]) -> Duration {
    let within = tally.arrivals.iter().copied().filter(|at| (began..over).contains(at));
    let moments: Vec<Instant> = [began].into_iter().chain(within).chain([over]).collect();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

async fn run(line: &Line) -> Outcome<(Vec<Swap>, [Tally; 2])> {
    let stop = Rc::new(Cell::new(false));
    let flows = [Flow::between(&line.a, &line.c, 1)?, Flow::between(&line.c, &line.a, 2)?];
    let relay = RemoteNode::connect(&line.b.home())?;
    let swapping = async {
        let swaps = swap_all(&relay, &flows).await;
        stop.set(true);
        swaps
    };
    let [there, back] = &flows;
    let (swaps, one, other) = tokio::join!(swapping, there.run(Rc::clone(&stop)), back.run(Rc::clone(&stop)));
    Ok((swaps?, [one?, other?]))
}

async fn swap_all(relay: &RemoteNode, flows: &[Flow; 2]) -> Outcome<Vec<Swap>> {
    let file = binaries::plugin("transport-quic")?.display().to_string();
    let mut swaps = Vec::new();
    for _ in 0..SWAPS {
        let before = flows.each_ref().map(Flow::arrived);
        let flowing = async {
            while flows.iter().zip(before).any(|(flow, before)| flow.arrived() < before + BETWEEN) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, flowing).await.map_err(|_| Failure::new("messages stand still"))?;
        let began = Instant::now();
        relay.plugin_swap("transport-quic".to_owned(), Some(file.clone())).await?;
        let pause = tokio::time::timeout(PATIENCE, pause(relay)).await;
        let pause = pause.map_err(|_| Failure::new("the pause does not end"))??;
        swaps.push(Swap { began, over: Instant::now(), pause });
    }
    Ok(swaps)
}

/// The pause of the last swap, once it is over: a long one may go on when the swap itself is done.
async fn pause(relay: &RemoteNode) -> Outcome<Duration> {
    loop {
        let plugins = relay.plugins().await?;
        let last = plugins.iter().find(|plugin| plugin.name == "transport-quic").and_then(|plugin| plugin.swaps.last());
        if let Some(us) = last.and_then(|swap| swap.pause_us) {
            return Ok(Duration::from_micros(us));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
