//! Neighbours with no configuration: two nodes of one network that start at the same moment.

use std::time::{Duration, Instant};

use qpq_tests::lab::{Family, House};
use qpq_tests::{Failure, Outcome, TestNode, skip};

use crate::rate::percentile;
use crate::report::{Goal, Report};

/// Times that the two are started.
const ROUNDS: usize = 9;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    if let Some(why) = House::missing() {
        return skip::skip(why);
    }
    let house = House::new("bench", 2, Family::V4)?;
    let plan = |machine: usize| {
        let plan = TestNode::plan(&format!("n{machine}")).namespace(house.namespace(machine));
        plan.listen("0.0.0.0:7000").discovery().prepare()
    };
    let (mut a, mut b) = (plan(0)?, plan(1)?);
    // Their keys are made at the first start; who will write to whom must be known before the clock runs.
    start_both(&mut a, &mut b)?;
    let to = b.peer_id()?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        a.terminate()?;
        b.terminate()?;
        let began = Instant::now();
        start_both(&mut a, &mut b)?;
        let id = a.send(&to, &format!("round {round}"))?;
        b.wait_id(&id)?;
        times.push(began.elapsed());
    }
    let worst = millis(times.iter().copied().max().unwrap_or_default());
    let median = millis(percentile(&mut times, 0.5));
    report.add("two nodes from exec to their first message, median", median, "ms").goal(Goal::AtMost(2_000.0));
    report.add(format!("the same, worst of {ROUNDS}"), worst, "ms").goal(Goal::AtMost(2_000.0));
    Ok(())
}

fn start_both(a: &mut TestNode, b: &mut TestNode) -> Outcome {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| b.start().map_err(|failure| failure.to_string()));
        a.start()?;
        match other.join() {
            Ok(Ok(_)) => Ok(()),
            other => Err(Failure::new(format!("a node did not start: {other:?}"))),
        }
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
