//! The node's identity as older and newer hosts offer it.

use std::ffi::c_void;

use crate::abi::{self, HostIdentity, Status, Str};
use crate::sdk::host::Host;

unsafe extern "C" fn give(_: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: the SDK passes 32 writable bytes.
    unsafe { out.write_bytes(7, 32) };
    Status::OK
}

unsafe extern "C" fn refuse(_: *mut c_void, _: *mut u8) -> Status {
    Status::REFUSED
}

/// `ctx` is the identity that the host offers.
unsafe extern "C" fn get_interface(ctx: *mut c_void, _: Str) -> *const c_void {
    ctx
}

type Give = unsafe extern "C" fn(*mut c_void, *mut u8) -> Status;

/// A host whose identity struct has `size` bytes.
fn host(size: usize, secret: Option<Give>) -> Host {
    let identity =
        HostIdentity { size: size as u32, rsvd: 0, public_key: Some(give), sign: None, transport_subkey: None, secret };
    let identity: &'static HostIdentity = Box::leak(Box::new(identity));
    let raw: &'static abi::Host = Box::leak(Box::new(abi::Host {
        size: size_of::<abi::Host>() as u32,
        abi_minor: 0,
        ctx: std::ptr::from_ref(identity).cast_mut().cast(),
        log_level: None,
        log: None,
        op_done: None,
        fail: None,
        get_interface: Some(get_interface),
    }));
    // SAFETY: it lives for ever.
    unsafe { Host::from_raw(raw) }.expect("a host")
}

#[test]
fn the_secret_is_what_the_host_gives_or_a_refusal_that_says_what_to_do() {
    let size = size_of::<HostIdentity>();
    let given = host(size, Some(give)).identity().expect("offered").secret().expect("given");
    assert_eq!(*given, [7; 32]);
    let error = host(size, Some(refuse)).identity().expect("offered").secret().expect_err("refused");
    assert_eq!(error.status, Status::REFUSED);
    assert!(error.message.contains("plugins.trusted_with_key"), "{error}");
}

#[test]
fn a_host_of_version_1_0_offers_the_rest() {
    let identity = host(HostIdentity::SIZE_1_0, Some(give)).identity().expect("offered");
    assert_eq!(identity.public_key().expect("given"), [7; 32]);
    assert_eq!(identity.secret().expect_err("absent").status, Status::UNSUPPORTED);
    assert!(host(HostIdentity::SIZE_1_0 - 8, Some(give)).identity().is_err());
}
