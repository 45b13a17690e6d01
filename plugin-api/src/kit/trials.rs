//! The trials, by what they try.

/// How links and instances end.
pub(super) mod ends;
/// How frames flow.
pub(super) mod flow;
/// How an instance comes to be and ends.
pub(super) mod life;
/// Who is reached, and what is not.
pub(super) mod reach;
/// Routing plugins.
pub(super) mod routing;
/// Discovery plugins.
pub(super) mod search;
/// Hosts of other versions.
pub(super) mod structs;
