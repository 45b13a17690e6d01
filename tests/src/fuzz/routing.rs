//! What a neighbour's router sends: control frames against the real state machine.

use qpq_babel::fuzz;

use super::Target;

pub(super) const TARGETS: &[Target] =
    &[Target { name: "routing-babel", feed: fuzz::control, seeds: fuzz::control_seeds }];
