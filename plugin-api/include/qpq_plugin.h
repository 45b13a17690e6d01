/* qpq_plugin.h: the C ABI of quicproquo mesh plugins, version 1.1.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A plugin is a shared library that exports qpq_plugin_entry_v1. Rules that hold everywhere:
 *
 *  - Structs that may grow begin with their size in bytes. Read min(their size, yours). A trailing field that is not there,
 *    like a function that is NULL, means "not supported".
 *  - Text is UTF-8 with a length, never ended by a zero byte. Booleans and enums do not cross: there are numbers and bits.
 *  - Pointers that are passed to a call are valid until it returns, and belong to the caller, where no comment says
 *    otherwise. Buffers with a release function change their owner; see qpq_buf.
 *  - No exception, panic or longjmp crosses the boundary. A plugin installs no signal handler, sets no environment variable
 *    and is never unloaded.
 *  - Above each function stand the thread that may call it, whether it may block, and who owns what.
 */
#ifndef QPQ_PLUGIN_H
#define QPQ_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QPQ_MAGIC UINT64_C(0x3147554c50515051) /* the bytes "QPQPLUG1", read as a little-endian number */
#define QPQ_ABI_MAJOR 1u                       /* a plugin of another major version is refused */
#define QPQ_ABI_MINOR 1u                       /* grows when fields are appended; any minor version loads */

/* ---- Status: 0 is success, every failure is negative; unknown ones count as QPQ_FAILED ---- */

typedef int32_t qpq_status;
#define QPQ_OK 0            /* done; of a call with an op: begun, and op_done will come exactly once */
#define QPQ_FAILED (-1)     /* it did not work; the text says why */
#define QPQ_INVALID (-2)    /* an argument or a configuration value is wrong */
#define QPQ_UNSUPPORTED (-3)/* not offered here */
#define QPQ_CLOSED (-4)     /* the instance or the link is gone; late calls get this */
#define QPQ_BUSY (-5)       /* no room now; try again later */
#define QPQ_PANIC (-6)      /* a panic was caught at the boundary */
#define QPQ_TIMEOUT (-7)    /* the time allowed ran out */
#define QPQ_NOT_FOUND (-8)  /* no such link, record or address */
#define QPQ_UNREACHABLE (-9)/* the remote could not be reached */
#define QPQ_REFUSED (-10)   /* the remote, or the host, refused */

/* ---- Text, bytes, buffers ---- */

/* UTF-8 text, borrowed for the call. With len 0, ptr may be NULL. */
typedef struct qpq_str { const uint8_t *ptr; size_t len; } qpq_str;

/* Bytes, borrowed for the call. With len 0, ptr may be NULL. */
typedef struct qpq_slice { const uint8_t *ptr; size_t len; } qpq_slice;

/* Immutable bytes with an owner. The last owner calls release(owner) once, on any thread. release NULL: nothing to do. */
typedef struct qpq_buf {
  const uint8_t *data;
  size_t len;
  void *owner;
  void (*release)(void *owner);
} qpq_buf;

#define QPQ_FRAME_BORROWED 1u /* the bytes are borrowed for the call: who accepts the frame copies them; no release */

/* One frame of a link. Frozen: it travels in arrays and never grows (64 bytes where pointers have 8).
 * Give frames of up to 1 KiB as BORROWED, larger ones with a release. */
typedef struct qpq_frame {
  uint64_t link;
  uint32_t flags; /* QPQ_FRAME_* */
  uint32_t rsvd;  /* 0 */
  qpq_buf buf;
  uint64_t meta[2]; /* 0 */
} qpq_frame;

/* Where a callee writes text that it returns. Valid during the call only; write may be called several times. */
typedef struct qpq_out {
  void *ctx;
  void (*write)(void *ctx, qpq_str text);
} qpq_out;

/* ---- The host, as every plugin sees it ---- */

#define QPQ_LOG_ERROR 1u
#define QPQ_LOG_WARN 2u
#define QPQ_LOG_INFO 3u
#define QPQ_LOG_DEBUG 4u
#define QPQ_LOG_TRACE 5u

/* Lives until the process ends, so that a late call is harmless: it does nothing, or gets QPQ_CLOSED.
 * ctx is the instance's token: the first argument of every function of the host, also of those behind get_interface. */
typedef struct qpq_host {
  uint32_t size, abi_minor;
  void *ctx;

  /* The largest level that anybody wants. Any thread; never blocks. */
  uint32_t (*log_level)(void *ctx);

  /* Logs msg. fields_json is empty or a JSON object. Any thread; never blocks; the texts are borrowed for the call. */
  void (*log)(void *ctx, uint32_t level, qpq_str target, qpq_str msg, qpq_str fields_json);

  /* Ends operation op: exactly once for each op whose call returned QPQ_OK. detail is the result or the reason.
   * Any thread, also from inside the call that began op; never blocks. */
  void (*op_done)(void *ctx, uint64_t op, qpq_status status, qpq_str detail);

  /* The instance can't go on (inside create: can't come to be). The host stops it, and starts another later.
   * Any thread; never blocks; the first reason counts. */
  void (*fail)(void *ctx, qpq_status status, qpq_str why);

  /* The static vtable of a host interface ("qpq.host.transport/1" is a qpq_host_transport), or NULL.
   * Any thread; never blocks; the vtable lives until the process ends. */
  const void *(*get_interface)(void *ctx, qpq_str id);
} qpq_host;

/* ---- The plugin ---- */

#define QPQ_PLUGIN_PANIC_UNWIND 1u            /* no panic aborts the process; set it in C too. Required. */
#define QPQ_PLUGIN_NEEDS_EXCLUSIVE 2u         /* two instances can't work side by side: a swap drains the old one first */
#define QPQ_PLUGIN_OVERLAPS 4u                /* a transport, with NEEDS_EXCLUSIVE: only its ports are one instance's alone. In
                                               * a swap the new one listens at other ports, and the links go over to it first */
#define QPQ_PLUGIN_MUST_UNDERSTAND 0xffff0000u/* a host refuses bits of these that it doesn't know, and ignores others */

/* The static descriptor. Texts are static; id, kind, version up to 64 bytes, the schema up to 64 KiB, the others 1 KiB. */
typedef struct qpq_plugin {
  uint64_t magic; /* QPQ_MAGIC */
  uint32_t size, abi_major, abi_minor;
  uint32_t flags;        /* QPQ_PLUGIN_* */
  qpq_str id;            /* lower-case letters, digits and '-', such as transport-udp */
  qpq_str kind;          /* transport, federation, discovery, routing or store */
  qpq_str version;       /* the plugin's own, such as 1.4.0 */
  qpq_str build;         /* what built it, for bug reports */
  qpq_str licence;       /* an SPDX expression */
  qpq_str interfaces;    /* ids of the interfaces that it offers, separated by spaces */
  qpq_str needs;         /* ids of the host interfaces that it can't work without, separated by spaces */
  qpq_str config_schema; /* JSON Schema of its configuration; empty accepts any object */

  /* Makes an instance, with a configuration that fits the schema. Starts no thread, opens nothing. On failure it says why
   * through host->fail and leaves *out alone. Any thread; may block for a short while; host lives until the process ends. */
  qpq_status (*create)(const qpq_host *host, qpq_str instance, qpq_str config_json, void **out);

  /* Starts its threads and answers op. Once; any thread; must not block. */
  qpq_status (*start)(void *plugin, uint64_t op);

  /* Takes on nothing new, flushes what it accepted, hands the rest back, then answers op. May be NULL.
   * Once; any thread; must not block: the work is done on the plugin's own threads. */
  qpq_status (*quiesce)(void *plugin, uint64_t op, uint32_t deadline_ms);

  /* Ends and joins its threads; no callback comes after the return. Once, also after a failure; any thread; may block up to
   * the deadline. */
  qpq_status (*stop)(void *plugin, uint32_t deadline_ms);

  /* Frees the instance. Once, last; any thread; must not block. */
  void (*destroy)(void *plugin);

  /* The static vtable of an offered interface ("qpq.transport/1" is a qpq_transport), or NULL. Any thread, also before
   * create; must not block and must start nothing. */
  const void *(*get_interface)(qpq_str id);

  qpq_str schemes; /* since 1.1, transports: the URI schemes that it serves, separated by spaces, such as "udp"; absent or
                    * empty: its id without "transport-" */
} qpq_plugin;

/* The one exported symbol. Pure: starts no thread, does no I/O, returns the same static descriptor each time. */
typedef const qpq_plugin *(*qpq_plugin_entry_fn)(void);
#define QPQ_ENTRY_SYMBOL "qpq_plugin_entry_v1"

/* ---- "qpq.transport/1" ---- */

/* The plugin's side. Any thread, also at once on several; no function may block, nor call the host's on_frames, on_unsent
 * or on_link before it returns. */
typedef struct qpq_transport {
  uint32_t size, rsvd;

  /* Listens at uri; op_done carries the bound URI, with the port that was chosen for port 0. */
  qpq_status (*listen)(void *plugin, uint64_t op, qpq_str uri);

  /* Makes a link to uri. peer_key is NULL, or the 32 bytes of the key that must answer there. On success the link event UP
   * with this op comes first, then op_done. */
  qpq_status (*dial)(void *plugin, uint64_t op, qpq_str uri, const uint8_t *peer_key);

  /* Closes a link once what was accepted is sent; DOWN follows. Unknown links are ignored. */
  qpq_status (*close)(void *plugin, uint64_t link, qpq_str reason);

  /* Takes frames, all of one link, and returns how many. Ownership moves for this prefix only; BORROWED frames are copied.
   * Queues are bounded by 1,024 frames and 8 MiB for each link. Returning short, the plugin owes one on_writable: it notes
   * that, and THEN LOOKS FOR ROOM AGAIN, or a wakeup is lost. Frames of a link that is gone are taken and dropped. */
  size_t (*send)(void *plugin, const qpq_frame *frames, size_t n);

  /* The host has room again for frames of link, after an on_frames that it took in part. */
  void (*resume)(void *plugin, uint64_t link);

  /* Writes figures as one JSON object. May be NULL. */
  qpq_status (*stats)(void *plugin, qpq_out out);
} qpq_transport;

#define QPQ_LINK_UP 1u   /* the link can carry frames; comes before its first frame */
#define QPQ_LINK_DOWN 2u /* the link is gone; comes after its last frame, once */
#define QPQ_LINK_PATH 3u /* it goes on over another path: remote, max_frame, rtt_us and QPQ_LINK_RELAYED are new */

#define QPQ_LINK_OUTBOUND 1u    /* this node dialled */
#define QPQ_LINK_RELIABLE 2u    /* frames arrive all, once and in order while the link is up */
#define QPQ_LINK_PEER_PROVEN 4u /* peer holds the key that the transport has proven the remote to have */
#define QPQ_LINK_RELAYED 8u     /* since 1.1, with UP and PATH: a third party forwards the frames (encrypted) */

typedef struct qpq_link_event {
  uint32_t size;
  uint32_t kind;      /* QPQ_LINK_UP, _DOWN or _PATH */
  uint64_t link;      /* chosen by the plugin, from 1 to 2^48 - 1, never used again by the same instance */
  uint64_t op;        /* the dial that made it, or 0 */
  uint32_t flags;     /* QPQ_LINK_OUTBOUND … */
  uint32_t max_frame; /* the largest frame that it carries, in bytes; at least 512 */
  uint64_t rtt_us;    /* round-trip time in microseconds, 0 when unknown */
  uint8_t peer[32];   /* with QPQ_LINK_PEER_PROVEN */
  qpq_str remote;     /* the remote's address as a URI that dial understands */
  qpq_slice channel_binding; /* up to 256 bytes that only the two ends share (a TLS exporter, RFC 9266), or none */
  qpq_str reason;     /* with DOWN */
} qpq_link_event;

/* The host's side. Any thread of the plugin; no function blocks, nor calls back into the plugin before it returns. */
typedef struct qpq_host_transport {
  uint32_t size, rsvd;

  /* Hands over frames that came in, all of one link; returns how many the host took, and owns only those. After a short
   * return keep the rest and try again once resume was called (it may come before this returns). One call at a time for
   * each link. */
  size_t (*on_frames)(void *ctx, const qpq_frame *frames, size_t n);

  /* There is room again on link, after a send that returned short. */
  void (*on_writable)(void *ctx, uint64_t link);

  /* A link came up, went down or changed its path. QPQ_REFUSED: the host doesn't want it; close it. */
  qpq_status (*on_link)(void *ctx, const qpq_link_event *event);

  /* Returns frames of one link that were accepted and not sent, in their order, before DOWN or while quiescing. All of them
   * belong to the host again. */
  void (*on_unsent)(void *ctx, const qpq_frame *frames, size_t n);
} qpq_host_transport;

/* ---- "qpq.discovery/1" ---- */

/* The plugin's side. Any thread; no function may block. */
typedef struct qpq_discovery {
  uint32_t size, rsvd;

  /* Makes this node known until op is cancelled. record_json has peer (64 hex digits) and addresses (transport URIs),
   * server (HOST:PORT of the first) and domain, these two null where there is none. When it changes, the host advertises the
   * new one, then cancels the old. op_done when it is announced, or can't be. */
  qpq_status (*advertise)(void *plugin, uint64_t op, qpq_str record_json);

  /* Reports the nodes of service through on_peer until op is cancelled. op_done once it watches. */
  qpq_status (*browse)(void *plugin, uint64_t op, qpq_str service);

  /* Ends what op began. Unknown ones are ignored. */
  qpq_status (*cancel)(void *plugin, uint64_t op);

  /* Writes figures as one JSON object. May be NULL. */
  qpq_status (*stats)(void *plugin, qpq_out out);
} qpq_discovery;

#define QPQ_PEER_FOUND 1u
#define QPQ_PEER_CHANGED 2u
#define QPQ_PEER_LOST 3u

/* The host's side. */
typedef struct qpq_host_discovery {
  uint32_t size, rsvd;

  /* A node was found, changed or lost by the browse op. The record is JSON as for advertise, up to 4 KiB, and with id (the
   * service's own name for the node; CHANGED and LOST repeat it) and interface, where it has any. The host forgets a node that
   * nothing has confirmed for three minutes, so CHANGED is due once a minute. QPQ_BUSY: the host dropped it;
   * report it again later. Any thread; never blocks. */
  qpq_status (*on_peer)(void *ctx, uint32_t kind, uint64_t op, qpq_str record_json);
} qpq_host_discovery;

/* ---- "qpq.routing/1" ---- */

#define QPQ_ROUTE_LINK_UP 1u      /* the link's peer has proven its key */
#define QPQ_ROUTE_LINK_DOWN 2u    /* the link is gone */
#define QPQ_ROUTE_LINK_METRICS 3u /* new figures */

typedef struct qpq_route_link {
  uint32_t size;
  uint32_t change;    /* QPQ_ROUTE_LINK_* */
  uint64_t link;      /* the host's number, never 0 */
  uint8_t peer[32];   /* the peer at the other end */
  uint64_t rtt_us;    /* 0 when unknown */
  uint32_t loss_ppm;  /* parts of a million */
  uint32_t max_frame; /* in bytes, 0 when unknown */
  qpq_str transport;  /* name of the transport plugin, empty when unknown */
} qpq_route_link;

typedef struct qpq_route_query {
  uint32_t size;
  uint32_t kind;           /* 0 direct, 1 broadcast (the host spreads those itself and doesn't ask), 2 delivery receipt */
  uint8_t destination[32]; /* recipient's key, or topic id */
  uint64_t from_link;      /* the link that it came over, not to be answered; 0: made here */
} qpq_route_query;

#define QPQ_ROUTE_KNOWN 1u /* the links lead to the destination: one of them is enough */
#define QPQ_ROUTE_FLOOD 2u /* the destination isn't known: a copy should go over each link */

/* The plugin's side: a state machine without I/O, threads or a clock of its own, so that it runs in a simulator too. The host
 * calls one function at a time, on any thread; none may block. now_ms never goes back; where it starts says nothing. */
typedef struct qpq_routing {
  uint32_t size, rsvd;

  /* A link came up, went down or has new figures. */
  qpq_status (*on_link)(void *plugin, uint64_t now_ms, const qpq_route_link *link);

  /* Control bytes of the same protocol at the other end of link. They come from outside: trust nothing. */
  qpq_status (*on_control)(void *plugin, uint64_t now_ms, uint64_t link, qpq_slice bytes);

  /* An envelope signed by origin (32 bytes) came in over link for the first time. hops is unsigned hearsay. NULL for a protocol
   * that learns nothing from it: then the node spreads its own record only when it changes and every few hours. */
  qpq_status (*on_seen)(void *plugin, uint64_t now_ms, const uint8_t *origin, uint64_t link, uint32_t hops);

  /* Time has passed. Returns when it wants the next call at the latest; UINT64_MAX: never. Also called right after on_link and
   * on_control, so that these can bring the time forward. */
  uint64_t (*on_tick)(void *plugin, uint64_t now_ms);

  /* Writes up to cap links, best first, and QPQ_ROUTE_* to flags; returns how many there are, which may be more. */
  size_t (*route)(void *plugin, uint64_t now_ms, const qpq_route_query *query, uint64_t *links, size_t cap, uint32_t *flags);

  /* Writes {"routes": [{"destination", "next_hop" (64 hex digits), "metric", "hops", "age_ms"}]}. */
  qpq_status (*dump)(void *plugin, uint64_t now_ms, qpq_out out);
} qpq_routing;

/* The host's side. Only from inside a call of qpq_routing, on its thread; elsewhere it gets QPQ_REFUSED. Never blocks. */
typedef struct qpq_host_routing {
  uint32_t size, rsvd;

  /* Sends control bytes (up to 16 KiB) to the other end of link. They may be lost. */
  qpq_status (*send_control)(void *ctx, uint64_t link, qpq_slice bytes);

  /* Answers for destination (32 bytes; NULL: for all) may be different now. Name the destination where there is one: then the
     host asks anew for its mail alone. */
  qpq_status (*invalidate)(void *ctx, const uint8_t *destination);

  /* Fills out with len random bytes (up to 4 KiB); under a simulator, with repeatable ones. */
  qpq_status (*random)(void *ctx, uint8_t *out, size_t len);
} qpq_host_routing;

/* ---- "qpq.store/1" ---- */

/* One stored envelope. Frozen: it travels in arrays. */
typedef struct qpq_store_item {
  uint8_t id[32];
  uint8_t recipient[32];
  uint64_t expires_ms; /* Unix time */
  uint64_t cursor;     /* its place in the recipient's queue; written by the store, 0 in append */
  uint32_t priority;   /* 0 low to 3 emergency */
  uint32_t rsvd;       /* 0 */
  qpq_buf envelope;    /* in wire form */
} qpq_store_item;

/* Takes what fetch finds. Valid during the call; item and bytes are borrowed (no release). Returns 0 to end early. */
typedef struct qpq_store_sink {
  void *ctx;
  uint32_t (*item)(void *ctx, const qpq_store_item *item);
} qpq_store_sink;

/* The plugin's side. Any thread. Functions with an op must not block; the others may, for the time of a disk access.
 * What append and remove did is durable once op_done says so. */
typedef struct qpq_store {
  uint32_t size, rsvd;

  /* Opens the store in the folder path, which exists and belongs to the plugin. Once, first. */
  qpq_status (*open)(void *plugin, uint64_t op, qpq_str path);

  /* Stores all items or none. The array is borrowed; with QPQ_OK the plugin owns the buffers. */
  qpq_status (*append)(void *plugin, uint64_t op, const qpq_store_item *items, size_t n);

  /* Hands up to limit items for recipient (32 bytes) with places after cursor to sink, in order, before it returns. */
  qpq_status (*fetch)(void *plugin, const uint8_t *recipient, uint64_t cursor, uint32_t limit, qpq_store_sink sink);

  /* Removes items by id: n ids of 32 bytes. Unknown ones are ignored. */
  qpq_status (*remove)(void *plugin, uint64_t op, const uint8_t *ids, size_t n);

  /* Removes what has expired at now_ms (Unix time). op_done says how many, as a decimal number. */
  qpq_status (*expire)(void *plugin, uint64_t op, uint64_t now_ms);

  /* Writes figures as one JSON object. May be NULL. */
  qpq_status (*stats)(void *plugin, qpq_out out);
} qpq_store;

/* The host's side. */
typedef struct qpq_host_store {
  uint32_t size, rsvd;

  /* The store takes no more (why: disk full, failed sync), or takes again (why is empty). Any thread; never blocks. */
  qpq_status (*on_read_only)(void *ctx, qpq_str why);
} qpq_host_store;

/* ---- "qpq.host.identity/1" ---- */

#define QPQ_SIGN_PLUGIN 1u /* signs "qpq-plugin-sign-v1\0", u8 length of the plugin's id, id, message (up to 64 KiB) */
#define QPQ_SIGN_TLS13 2u  /* signs a TLS 1.3 CertificateVerify content (RFC 8446, 4.4.3) as it is; anything else is refused */

/* The node's identity, as far as a plugin may use it. Any thread; none blocks for longer than a signature takes. */
typedef struct qpq_host_identity {
  uint32_t size, rsvd;

  /* Writes the Ed25519 public key (32 bytes) to out. */
  qpq_status (*public_key)(void *ctx, uint8_t *out);

  /* Writes an Ed25519 signature (64 bytes) to out. QPQ_REFUSED when message doesn't fit purpose. */
  qpq_status (*sign)(void *ctx, uint32_t purpose, qpq_slice message, uint8_t *out);

  /* Writes a secret seed (32 bytes) to out that only this plugin gets from this identity, the same at each start. */
  qpq_status (*transport_subkey)(void *ctx, uint8_t *out);

  /* Since 1.1: writes the secret of the node's Ed25519 key (32 bytes, the seed of RFC 8032) to out. Who holds it is the node,
   * so QPQ_REFUSED unless the admin lists the plugin in plugins.trusted_with_key. Wipe every copy. */
  qpq_status (*secret)(void *ctx, uint8_t *out);
} qpq_host_identity;

#ifdef __cplusplus
}
#endif

#endif /* QPQ_PLUGIN_H */
