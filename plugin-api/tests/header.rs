//! The committed C header against the Rust definitions: sizes, offsets and constants, as the C compiler sees them.
//!
//! Every field of every struct is listed here once; a struct whose size isn't covered to its end fails too.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::process::Command;

use qpq_plugin_api::Status;
use qpq_plugin_api::abi::*;

/// Asserts size and offsets of a struct. The fields must be all of them: the list is checked by a pattern.
macro_rules! layout {
    ($out:ident, $c:literal, $rust:ident { $($field:ident),* $(,)? }) => {{
        #[allow(dead_code, unused_variables, reason = "compiles only when the list of fields is complete")]
        fn complete(value: $rust) {
            let $rust { $($field),* } = value;
        }
        let _ = writeln!($out, "_Static_assert(sizeof({}) == {}, \"size of {}\");", $c, size_of::<$rust>(), $c);
        $(
            let field = stringify!($field);
            let _ = writeln!(
                $out,
                "_Static_assert(offsetof({}, {field}) == {}, \"offset of {}.{field}\");",
                $c,
                offset_of!($rust, $field),
                $c,
            );
        )*
    }};
}

macro_rules! constants {
    ($out:ident, $($c:literal = $rust:expr),* $(,)?) => {
        $( let _ = writeln!($out, "_Static_assert({} == {}, \"value of {}\");", $c, $rust, $c); )*
    };
}

fn asserts() -> String {
    let mut out = String::from("#include \"qpq_plugin.h\"\n");
    layout!(out, "qpq_str", Str { ptr, len });
    layout!(out, "qpq_slice", Slice { ptr, len });
    layout!(out, "qpq_buf", Buf { data, len, owner, release });
    layout!(out, "qpq_frame", Frame { link, flags, rsvd, buf, meta });
    layout!(out, "qpq_out", Out { ctx, write });
    layout!(out, "qpq_host", Host { size, abi_minor, ctx, log_level, log, op_done, fail, get_interface });
    layout!(
        out,
        "qpq_plugin",
        Plugin {
            magic,
            size,
            abi_major,
            abi_minor,
            flags,
            id,
            kind,
            version,
            build,
            licence,
            interfaces,
            needs,
            config_schema,
            create,
            start,
            quiesce,
            stop,
            destroy,
            get_interface,
            schemes,
        }
    );
    layout!(out, "qpq_transport", Transport { size, rsvd, listen, dial, close, send, resume, stats });
    layout!(out, "qpq_host_transport", HostTransport { size, rsvd, on_frames, on_writable, on_link, on_unsent });
    layout!(
        out,
        "qpq_link_event",
        LinkEvent { size, kind, link, op, flags, max_frame, rtt_us, peer, remote, channel_binding, reason }
    );
    layout!(out, "qpq_discovery", Discovery { size, rsvd, advertise, browse, cancel, stats });
    layout!(out, "qpq_host_discovery", HostDiscovery { size, rsvd, on_peer });
    layout!(out, "qpq_routing", Routing { size, rsvd, on_link, on_control, on_seen, on_tick, route, dump });
    layout!(out, "qpq_host_routing", HostRouting { size, rsvd, send_control, invalidate, random });
    layout!(out, "qpq_route_link", RouteLink { size, change, link, peer, rtt_us, loss_ppm, max_frame, transport });
    layout!(out, "qpq_route_query", RouteQuery { size, kind, destination, from_link });
    layout!(out, "qpq_store", Store { size, rsvd, open, append, fetch, remove, expire, stats });
    layout!(out, "qpq_host_store", HostStore { size, rsvd, on_read_only });
    layout!(out, "qpq_store_item", StoreItem { id, recipient, expires_ms, cursor, priority, rsvd, envelope });
    layout!(out, "qpq_store_sink", StoreSink { ctx, item });
    layout!(out, "qpq_host_identity", HostIdentity { size, rsvd, public_key, sign, transport_subkey, secret });
    add_constants(&mut out);
    out
}

fn add_constants(out: &mut String) {
    let _ = writeln!(out, "_Static_assert(QPQ_MAGIC == UINT64_C({MAGIC:#x}), \"magic\");");
    let _ = writeln!(out, "_Static_assert(sizeof(QPQ_ENTRY_SYMBOL) == {}, \"symbol\");", ENTRY_SYMBOL.len() + 1);
    let _ = writeln!(out, "_Static_assert(sizeof(qpq_status) == {}, \"status\");", size_of::<Status>());
    constants!(
        out,
        "QPQ_ABI_MAJOR" = ABI_MAJOR,
        "QPQ_ABI_MINOR" = ABI_MINOR,
        "QPQ_OK" = Status::OK.0,
        "QPQ_FAILED" = Status::FAILED.0,
        "QPQ_INVALID" = Status::INVALID.0,
        "QPQ_UNSUPPORTED" = Status::UNSUPPORTED.0,
        "QPQ_CLOSED" = Status::CLOSED.0,
        "QPQ_BUSY" = Status::BUSY.0,
        "QPQ_PANIC" = Status::PANIC.0,
        "QPQ_TIMEOUT" = Status::TIMEOUT.0,
        "QPQ_NOT_FOUND" = Status::NOT_FOUND.0,
        "QPQ_UNREACHABLE" = Status::UNREACHABLE.0,
        "QPQ_REFUSED" = Status::REFUSED.0,
        "QPQ_FRAME_BORROWED" = frame_flags::BORROWED,
        "QPQ_LOG_ERROR" = log_level::ERROR,
        "QPQ_LOG_WARN" = log_level::WARN,
        "QPQ_LOG_INFO" = log_level::INFO,
        "QPQ_LOG_DEBUG" = log_level::DEBUG,
        "QPQ_LOG_TRACE" = log_level::TRACE,
        "QPQ_PLUGIN_PANIC_UNWIND" = plugin_flags::PANIC_UNWIND,
        "QPQ_PLUGIN_NEEDS_EXCLUSIVE" = plugin_flags::NEEDS_EXCLUSIVE,
        "QPQ_PLUGIN_OVERLAPS" = plugin_flags::OVERLAPS,
        "QPQ_PLUGIN_MUST_UNDERSTAND" = plugin_flags::MUST_UNDERSTAND,
        "QPQ_LINK_UP" = link_event::UP,
        "QPQ_LINK_DOWN" = link_event::DOWN,
        "QPQ_LINK_PATH" = link_event::PATH,
        "QPQ_LINK_OUTBOUND" = link_flags::OUTBOUND,
        "QPQ_LINK_RELIABLE" = link_flags::RELIABLE,
        "QPQ_LINK_PEER_PROVEN" = link_flags::PEER_PROVEN,
        "QPQ_LINK_RELAYED" = link_flags::RELAYED,
        "QPQ_PEER_FOUND" = peer_event::FOUND,
        "QPQ_PEER_CHANGED" = peer_event::CHANGED,
        "QPQ_PEER_LOST" = peer_event::LOST,
        "QPQ_ROUTE_LINK_UP" = link_change::UP,
        "QPQ_ROUTE_LINK_DOWN" = link_change::DOWN,
        "QPQ_ROUTE_LINK_METRICS" = link_change::METRICS,
        "QPQ_ROUTE_KNOWN" = route_flags::KNOWN,
        "QPQ_ROUTE_FLOOD" = route_flags::FLOOD,
        "QPQ_SIGN_PLUGIN" = sign_purpose::PLUGIN,
        "QPQ_SIGN_TLS13" = sign_purpose::TLS13,
    );
}

#[test]
#[cfg_attr(miri, ignore = "runs the C compiler")]
fn the_header_says_what_the_rust_side_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("header.c");
    std::fs::write(&file, asserts()).expect("written");
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let run = Command::new(cc)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", include])
        .arg(&file)
        .output()
        .expect("a C compiler (cc, or what CC names)");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_frame_has_64_bytes() {
    assert_eq!(size_of::<Frame>(), 64);
}
