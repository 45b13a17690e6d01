//! The committed code of `node.capnp` belongs to the schema.
//!
//! After a change of `node.capnp`, with `capnp` on the path:
//! `QPQ_REGENERATE=1 cargo test -p qpq-schemas --test node_capnp_is_fresh`

#![forbid(unsafe_code)]

mod fresh;

#[test]
fn the_generated_code_belongs_to_the_schema() {
    fresh::Schema("node").check();
}
