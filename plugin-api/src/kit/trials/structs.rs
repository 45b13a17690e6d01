use super::flow::exchange;
use crate::kit::case::{Case, Stop};
use crate::kit::catalogue::Kind;
use crate::kit::links::Pair;
use crate::kit::shape::Shape;

pub(in crate::kit) fn oldest_host(case: &Case) -> Result<(), Stop> {
    lives(case, Shape::Oldest)
}

pub(in crate::kit) fn newer_host(case: &Case) -> Result<(), Stop> {
    lives(case, Shape::Newer)
}

/// An instance lives a short life with that host.
fn lives(case: &Case, shape: Shape) -> Result<(), Stop> {
    if case.library.kind() != Kind::Transport {
        case.started_with("instance", shape)?.end();
        return Ok(());
    }
    let pair = Pair::connect_with(case, shape)?;
    exchange(&pair, &[100, 500])?;
    pair.end();
    Ok(())
}
