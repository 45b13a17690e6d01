//! The committed code of `federation.capnp` belongs to the schema.
//!
//! After a change of `federation.capnp`, with `capnp` on the path:
//! `QPQ_REGENERATE=1 cargo test -p qpq-schemas --test federation_capnp_is_fresh`

#![forbid(unsafe_code)]

mod fresh;

#[test]
fn the_generated_code_belongs_to_the_schema() {
    fresh::Schema("federation").check();
}
