//! What a board promises: the same for everybody who holds the same entries, whatever way they came.

mod converge;
mod rules;
