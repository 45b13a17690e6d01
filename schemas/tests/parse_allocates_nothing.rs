//! Reading an envelope takes no memory, whatever the bytes are.
#![allow(unsafe_code, reason = "counting allocations needs an allocator, and GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use qpq_schemas::envelope::{DEFAULT_MAX_PAYLOAD, Draft, EnvelopeRef, Flags, Kind};
use qpq_schemas::signature::SigningKey;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; the counter is no memory of the allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn read_everything(wire: &[u8]) {
    let Ok(envelope) = EnvelopeRef::parse(wire, DEFAULT_MAX_PAYLOAD) else { return };
    std::hint::black_box((envelope.kind(), envelope.flags(), envelope.max_hops(), envelope.nonce()));
    std::hint::black_box((envelope.sender(), envelope.recipient(), envelope.topic(), envelope.destination()));
    std::hint::black_box((envelope.payload(), envelope.signature(), envelope.header(), envelope.aad()));
    std::hint::black_box((envelope.id(), envelope.expires_ms(), envelope.wire(), envelope.signed()));
    let checks = (envelope.check_times(1), envelope.check_hops(), EnvelopeRef::wire_len(wire));
    std::hint::black_box(checks).0.ok();
}

#[test]
fn reading_an_envelope_allocates_nothing() {
    let draft = Draft {
        kind: Kind::Direct,
        flags: Flags::default(),
        max_hops: 3,
        ttl_secs: 60,
        created_ms: 1,
        nonce: [0; 8],
        destination: [1; 32],
        payload: vec![7; 600],
    };
    let good = draft.sign(&SigningKey::from_seed(&[1; 32])).unwrap();
    assert_eq!(allocations(|| read_everything(good.wire())), 0);
    for at in 0..92 {
        let mut bad = good.wire().to_vec();
        bad[at] ^= 0xff;
        assert_eq!(allocations(|| read_everything(&bad)), 0);
        assert_eq!(allocations(|| read_everything(&good.wire()[..at])), 0);
    }
    assert!(allocations(|| drop(vec![1_u8])) > 0, "the counter counts");
}
