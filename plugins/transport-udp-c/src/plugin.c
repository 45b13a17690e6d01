/* What the host calls. */
#define _GNU_SOURCE
#include "udp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONFIG = 4096 }; /* bytes of JSON */

#define S(text) { (const uint8_t *)(text), sizeof(text) - 1 }

static const char SCHEMA[] =
  "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
  "\"max_links\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535,\"default\":1024,"
  "\"description\":\"Links at a time; a dial under way counts.\"},"
  "\"max_links_per_address\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65535,\"default\":32,"
  "\"description\":\"Links at a time that one IP address has dialled. Behind a NAT many nodes have one address.\"},"
  "\"idle_secs\":{\"type\":\"integer\",\"minimum\":5,\"maximum\":3600,\"default\":30,"
  "\"description\":\"Seconds without a datagram after which a link is given up. The node itself notices a dead link sooner.\"}}}";

/* Reads the configuration: a flat object of whole numbers, as the schema says. The host has checked it, but a library may
 * meet a host that hasn't. */
typedef struct reader {
  const uint8_t *at, *end;
} reader;

static void skip_space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n')) r->at++;
}

static bool takes(reader *r, uint8_t wanted) {
  skip_space(r);
  if (r->at == r->end || *r->at != wanted) return false;
  r->at++;
  return true;
}

/* A member of the object: its value goes where its key says. */
static bool read_member(reader *r, settings *into) {
  if (!takes(r, '"')) return false;
  const uint8_t *key = r->at;
  while (r->at < r->end && *r->at != '"') r->at++;
  size_t len = (size_t)(r->at - key);
  if (!takes(r, '"') || !takes(r, ':')) return false;
  skip_space(r);
  uint64_t value = 0;
  const uint8_t *digits = r->at;
  for (; r->at < r->end && *r->at >= '0' && *r->at <= '9' && value <= 65535; r->at++) value = value * 10 + (*r->at - '0');
  if (r->at == digits || value == 0 || value > 65535) return false;
  struct { const char *name; uint64_t *at; uint64_t by; } keys[] = {
    { "max_links", &into->max_links, 1 },
    { "max_links_per_address", &into->max_links_per_address, 1 },
    { "idle_secs", &into->idle_ms, 1000 },
  };
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (strlen(keys[i].name) != len || memcmp(keys[i].name, key, len) != 0) continue;
    *keys[i].at = value * keys[i].by;
    return true;
  }
  return false;
}

static bool read_settings(qpq_str json, settings *into) {
  if (json.len == 0) return true;
  if (json.ptr == NULL || json.len > MAX_CONFIG) return false;
  reader r = { json.ptr, json.ptr + json.len };
  if (!takes(&r, '{')) return false;
  if (!takes(&r, '}')) {
    do
      if (!read_member(&r, into)) return false;
    while (takes(&r, ','));
    if (!takes(&r, '}')) return false;
  }
  skip_space(&r);
  return r.at == r.end;
}

static qpq_status give_up(udp *u, qpq_status status, const char *why) {
  u->host->fail(u->host->ctx, status, str(why));
  free(u);
  return status;
}

static qpq_status create(const qpq_host *host, qpq_str instance, qpq_str config, void **out) {
  (void)instance;
  udp *u = calloc(1, sizeof *u);
  if (u == NULL) return QPQ_FAILED;
  u->host = host;
  u->transport = host->get_interface(host->ctx, str("qpq.host.transport/1"));
  if (u->transport == NULL) return give_up(u, QPQ_UNSUPPORTED, "the host offers no qpq.host.transport/1");
  if (!random_bytes(u->secret, sizeof u->secret)) return give_up(u, QPQ_FAILED, "the system has no random numbers");
  u->settings = (settings){ .max_links = 1024, .max_links_per_address = 32, .idle_ms = 30000 };
  if (!read_settings(config, &u->settings))
    return give_up(u, QPQ_INVALID, "the configuration is no object of max_links, max_links_per_address and idle_secs, whole numbers from 1 to 65535");
  u->wake[0] = u->wake[1] = -1;
  pthread_mutex_init(&u->lock, NULL);
  *out = u;
  return QPQ_OK;
}

static bool ready_for_poll(int fd) {
  return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static qpq_status start(void *plugin, uint64_t op) {
  udp *u = plugin;
  char why[128] = "";
  int error = 0;
  if (pipe(u->wake) != 0 || !ready_for_poll(u->wake[0]) || !ready_for_poll(u->wake[1])) error = errno;
  else error = pthread_create(&u->thread, NULL, loop, u);
  u->started = error == 0;
  if (error != 0) snprintf(why, sizeof why, "no thread: %s", strerror(error));
  u->host->op_done(u->host->ctx, op, error == 0 ? QPQ_OK : QPQ_FAILED, str(why));
  return QPQ_OK;
}

static qpq_status quiesce(void *plugin, uint64_t op, uint32_t deadline_ms) {
  udp *u = plugin;
  pthread_mutex_lock(&u->lock);
  u->quiescing = true;
  u->quiesce_op = op;
  u->quiesce_by = now_ms() + deadline_ms / 2; /* the rest of the time is for handing back */
  wake(u);
  pthread_mutex_unlock(&u->lock);
  return QPQ_OK;
}

static qpq_status stop(void *plugin, uint32_t deadline_ms) {
  (void)deadline_ms; /* the thread never blocks, so it ends at once */
  udp *u = plugin;
  if (u->started) {
    pthread_mutex_lock(&u->lock);
    u->stopping = true;
    wake(u);
    pthread_mutex_unlock(&u->lock);
    pthread_join(u->thread, NULL);
    u->started = false;
  }
  for (size_t i = 0; i < u->n_sockets; i++) close(u->sockets[i].fd);
  u->n_sockets = 0;
  return QPQ_OK;
}

static void destroy(void *plugin) {
  udp *u = plugin;
  for (int i = 0; i < 2; i++)
    if (u->wake[i] >= 0) close(u->wake[i]);
  pthread_mutex_destroy(&u->lock);
  free(u);
}

/* Adds a bound socket; with the lock held. Returns its descriptor, or a negative error number. */
static int add_socket(udp *u, const address *at, bool listens) {
  if (u->n_sockets >= MAX_SOCKETS) return -EMFILE;
  int fd = socket(at->any.sa_family, SOCK_DGRAM, 0), on = 1, room = 1 << 22;
  if (fd < 0) return -errno;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room); /* as much as the system grants */
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  if (at->any.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (!ready_for_poll(fd) || bind(fd, &at->any, address_len(at)) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  size_t n = u->n_sockets++;
  u->sockets[n].fd = fd;
  u->sockets[n].listens = listens;
  u->sockets[n].blocked = false;
  u->sockets[n].family = at->any.sa_family;
  wake(u);
  return fd;
}

static qpq_status done(udp *u, uint64_t op, qpq_status status, qpq_str detail) {
  u->host->op_done(u->host->ctx, op, status, detail);
  return QPQ_OK; /* the call has begun the operation, and it is answered */
}

static const char BAD_URI[] = "not an address of this transport; write udp://IP:PORT, or udp://[IPv6]:PORT. Names are not looked up";

static qpq_status listen_(void *plugin, uint64_t op, qpq_str uri) {
  udp *u = plugin;
  address at, bound;
  char text[128];
  if (!parse_uri(uri, &at)) return done(u, op, QPQ_INVALID, str(BAD_URI));
  pthread_mutex_lock(&u->lock);
  int fd = u->stopping || u->quiescing ? -ECANCELED : add_socket(u, &at, true);
  pthread_mutex_unlock(&u->lock);
  if (fd < 0) {
    snprintf(text, sizeof text, "can't bind: %s", strerror(-fd));
    return done(u, op, QPQ_FAILED, str(text));
  }
  socklen_t len = sizeof bound;
  getsockname(fd, &bound.any, &len);
  return done(u, op, QPQ_OK, (qpq_str){ (const uint8_t *)text, format_uri(&bound, text) });
}

/* The socket to dial from: one for each family, at a port of the system's choice; with the lock held. */
static int dial_socket(udp *u, int family) {
  for (size_t i = 0; i < u->n_sockets; i++)
    if (!u->sockets[i].listens && u->sockets[i].family == family) return u->sockets[i].fd;
  address any;
  memset(&any, 0, sizeof any);
  any.any.sa_family = (sa_family_t)family;
  return add_socket(u, &any, false);
}

/* The peer's key doesn't matter here: UDP proves nothing, and the host proves it itself. */
static qpq_status dial(void *plugin, uint64_t op, qpq_str uri, const uint8_t *peer_key) {
  (void)peer_key;
  udp *u = plugin;
  address remote;
  uint64_t wire;
  if (!parse_uri(uri, &remote)) return done(u, op, QPQ_INVALID, str(BAD_URI));
  if (!random_bytes(&wire, sizeof wire)) return done(u, op, QPQ_FAILED, str("the system has no random numbers"));
  const char *why = NULL;
  char text[128];
  pthread_mutex_lock(&u->lock);
  int fd = 0;
  if (u->stopping || u->quiescing) why = "the transport is being stopped or replaced";
  else if (u->n_links >= u->settings.max_links || u->n_dials >= MAX_DIALS) why = "too many links or dials; raise max_links";
  else if ((fd = dial_socket(u, remote.any.sa_family)) < 0) snprintf(text, sizeof text, "no socket: %s", strerror(-fd)), why = text;
  link_ *l = why == NULL ? link_new(u, &remote, wire, fd, true) : NULL;
  if (l != NULL) {
    l->op = op;
    todo(u, l);
  }
  pthread_mutex_unlock(&u->lock);
  return l != NULL ? QPQ_OK : done(u, op, QPQ_BUSY, str(why != NULL ? why : "no memory"));
}

static qpq_status close_(void *plugin, uint64_t link, qpq_str reason) {
  (void)reason;
  udp *u = plugin;
  pthread_mutex_lock(&u->lock);
  link_ *l = link_by_number(u, link);
  if (l != NULL && !l->closing) {
    l->closing = true;
    l->close_by = now_ms() + CLOSE_MS;
    todo(u, l);
  }
  pthread_mutex_unlock(&u->lock);
  return QPQ_OK;
}

/* Frames of a link that is gone are taken and dropped. A queue that is full is noted in the same critical section that
 * found it full, and the thread looks at the note each time after it made room: so no wakeup is lost. */
static size_t send_(void *plugin, const qpq_frame *frames, size_t n) {
  udp *u = plugin;
  if (n == 0 || frames == NULL) return n;
  size_t taken = 0;
  pthread_mutex_lock(&u->lock);
  link_ *l = link_by_number(u, frames[0].link);
  for (; taken < n && l != NULL; taken++) {
    const qpq_buf *buf = &frames[taken].buf;
    if (buf->len > MAX_FRAME || buf->len == 0) continue; /* larger than the host was told: taken, and dropped */
    if (!queue_push(&l->out, l->wire, buf->data, buf->len)) {
      l->host_waits = true;
      break;
    }
  }
  if (l != NULL) todo(u, l);
  else taken = n;
  pthread_mutex_unlock(&u->lock);
  /* What was taken is ours: it was copied, so its owner may have it back. */
  for (size_t i = 0; i < taken; i++)
    if (!(frames[i].flags & QPQ_FRAME_BORROWED) && frames[i].buf.release != NULL) frames[i].buf.release(frames[i].buf.owner);
  return taken;
}

static void resume_(void *plugin, uint64_t link) {
  udp *u = plugin;
  pthread_mutex_lock(&u->lock);
  link_ *l = link_by_number(u, link);
  if (l != NULL) {
    l->resumed = true;
    todo(u, l);
  }
  pthread_mutex_unlock(&u->lock);
}

static qpq_status stats(void *plugin, qpq_out out) {
  udp *u = plugin;
  char text[768];
  pthread_mutex_lock(&u->lock);
  uint64_t links = u->n_links, dials = u->n_dials;
  pthread_mutex_unlock(&u->lock);
  counters c = u->counters; /* the thread may be counting: a figure may be a little behind another */
  snprintf(text, sizeof text,
    "{\"links\":%" PRIu64 ",\"dials\":%" PRIu64 ",\"datagrams_in\":%" PRIu64 ",\"datagrams_out\":%" PRIu64
    ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"unknown_link\":%" PRIu64
    ",\"challenged\":%" PRIu64 ",\"bad_cookies\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"dropped_in\":%" PRIu64
    ",\"dropped_out\":%" PRIu64 "}",
    links, dials, c.datagrams_in, c.datagrams_out, c.bytes_in, c.bytes_out, c.malformed, c.unknown, c.challenged,
    c.bad_cookies, c.refused, c.dropped_in, c.dropped_out);
  out.write(out.ctx, str(text));
  return QPQ_OK;
}

static const qpq_transport TRANSPORT = {
  .size = sizeof TRANSPORT, .listen = listen_, .dial = dial, .close = close_, .send = send_, .resume = resume_, .stats = stats,
};

static const void *get_interface(qpq_str id) {
  qpq_str offered = str("qpq.transport/1");
  return id.len == offered.len && memcmp(id.ptr, offered.ptr, id.len) == 0 ? &TRANSPORT : NULL;
}

static const qpq_plugin PLUGIN = {
  .magic = QPQ_MAGIC,
  .size = sizeof PLUGIN,
  .abi_major = QPQ_ABI_MAJOR,
  .abi_minor = QPQ_ABI_MINOR,
  .flags = QPQ_PLUGIN_PANIC_UNWIND | QPQ_PLUGIN_NEEDS_EXCLUSIVE, /* a port belongs to one */
  .id = S("transport-udp-c"),
  .kind = S("transport"),
  .version = S("0.1.0"),
  .build = S("C, " __VERSION__),
  .licence = S("MIT OR Apache-2.0"),
  .interfaces = S("qpq.transport/1"),
  .needs = S("qpq.host.transport/1"),
  .config_schema = S(SCHEMA),
  .create = create,
  .start = start,
  .quiesce = quiesce,
  .stop = stop,
  .destroy = destroy,
  .get_interface = get_interface,
  .schemes = S("udp"),
};

const qpq_plugin *qpq_plugin_entry_v1(void);
__attribute__((visibility("default"))) const qpq_plugin *qpq_plugin_entry_v1(void) { return &PLUGIN; }
