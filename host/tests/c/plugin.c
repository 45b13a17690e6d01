/* A transport plugin in C for the host's tests. Macros spoil its descriptor, its configuration spoils its behaviour:
 *   cc -shared -fPIC -I plugin-api/include -DP_MAGIC=1 plugin.c
 * Without either it is a correct transport: dialling "c:echo" makes a link that sends back what it gets. */
#define _GNU_SOURCE
#include "qpq_plugin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef P_MAGIC
#define P_MAGIC QPQ_MAGIC
#endif
#ifndef P_SIZE
#define P_SIZE sizeof(qpq_plugin)
#endif
#ifndef P_MAJOR
#define P_MAJOR QPQ_ABI_MAJOR
#endif
#ifndef P_MINOR
#define P_MINOR QPQ_ABI_MINOR
#endif
#ifndef P_FLAGS
#define P_FLAGS QPQ_PLUGIN_PANIC_UNWIND
#endif
#ifndef P_ID
#define P_ID S("transport-c")
#endif
#ifndef P_KIND
#define P_KIND S("transport")
#endif
#ifndef P_VERSION
#define P_VERSION S("0.1.0")
#endif
#ifndef P_INTERFACES
#define P_INTERFACES S("qpq.transport/1")
#endif
#ifndef P_NEEDS
#define P_NEEDS S("qpq.host.transport/1")
#endif
#ifndef P_SCHEMA
#define P_SCHEMA S("{\"type\":\"object\"}")
#endif
#ifndef P_SCHEMES
#define P_SCHEMES S("c")
#endif
#ifndef P_CREATE
#define P_CREATE create
#endif
#ifndef P_VTABLE
#define P_VTABLE &TRANSPORT
#endif
#ifndef P_VTABLE_SIZE
#define P_VTABLE_SIZE sizeof(qpq_transport)
#endif
#ifndef P_DIAL
#define P_DIAL dial
#endif
#ifndef P_ENTRY
#define P_ENTRY qpq_plugin_entry_v1
#endif
#ifndef P_DESCRIPTOR
#define P_DESCRIPTOR &PLUGIN.plugin
#endif

#define S(text) { (const uint8_t *)(text), sizeof(text) - 1 }
#ifdef P_UNRESOLVED /* a function that no library has */
qpq_status qpq_test_defined_nowhere(const qpq_host *, qpq_str, qpq_str, void **);
#undef P_CREATE
#define P_CREATE qpq_test_defined_nowhere
#endif
static qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

typedef struct instance {
  const qpq_host *host;
  const qpq_host_transport *transport;
  char config[4096];
  uint64_t links;
  pthread_t thread;
  int threaded;
} instance;

/* What a build does by itself, whatever the configuration says: -DP_DO='"fail-soon"' */
#ifndef P_DO
#define P_DO ""
#endif
/* What it calls itself in the report. */
#ifndef P_NAME
#define P_NAME ""
#endif

/* Whether the configuration, or the build, asks for a behaviour. */
static int asked(const instance *self, const char *behaviour) {
  return strstr(self->config, behaviour) != NULL || strstr(P_DO, behaviour) != NULL;
}

/* Writes a line to the file that the configuration names as {"report": "PATH"}. */
static void report(const char *config, const char *line) {
  const char *begin = strstr(config, "\"report\":\"");
  if (!begin) return;
  char path[1024];
  begin += strlen("\"report\":\"");
  size_t n = strcspn(begin, "\"");
  if (n >= sizeof path) return;
  memcpy(path, begin, n);
  path[n] = 0;
  FILE *file = fopen(path, "a");
  if (!file) return;
  fprintf(file, P_NAME "%s\n", line);
  fclose(file);
}

static void up(instance *self, uint64_t link, uint64_t op, uint32_t max_frame) {
  qpq_link_event event = { .size = sizeof event, .kind = QPQ_LINK_UP, .link = link, .op = op,
    .flags = QPQ_LINK_OUTBOUND | QPQ_LINK_RELIABLE, .max_frame = max_frame, .remote = str("c:echo\x1b[31m") };
  self->transport->on_link(self->host->ctx, &event);
}

static char released[4096];
static int releases;
static void release(void *owner) { (void)owner; __atomic_add_fetch(&releases, 1, __ATOMIC_SEQ_CST); }

/* What a plugin must not do, done. */
static void misbehave(instance *self) {
  const qpq_host *h = self->host;
  void *ctx = h->ctx;
  qpq_str bad = { (const uint8_t *)"\xff\xfe text", 7 }, null = { NULL, 9 }, huge = { (const uint8_t *)"x", SIZE_MAX };
  h->log(ctx, QPQ_LOG_ERROR, bad, bad, null);
  h->log(ctx, 77, null, null, bad);
  h->op_done(ctx, 123456, QPQ_OK, bad);
  h->op_done(ctx, 0, -99, null);
  h->get_interface(ctx, huge.len ? null : bad);
  h->get_interface(ctx, str("qpq.host.nonsense/9"));
  self->transport->on_frames(ctx, NULL, 5);
  self->transport->on_writable(ctx, 0);
  self->transport->on_writable(ctx, UINT64_MAX);
  self->transport->on_link(ctx, NULL);
  qpq_link_event small = { .size = 8, .kind = QPQ_LINK_UP, .link = 1 };
  self->transport->on_link(ctx, &small);
  qpq_link_event wrong = { .size = sizeof wrong, .kind = 99, .link = 1 };
  self->transport->on_link(ctx, &wrong);
  wrong.kind = QPQ_LINK_DOWN;
  self->transport->on_link(ctx, &wrong); /* never came up */
  up(self, 0, 0, 1200);                  /* no such number */
  up(self, UINT64_MAX, 0, 1200);
  up(self, 5, 0, 1);                     /* frames too small */
  qpq_frame stray = { .link = 77, .buf = { (const uint8_t *)released, 4096, NULL, release } };
  self->transport->on_frames(ctx, &stray, 1);
  self->transport->on_unsent(ctx, &stray, 1);
  const qpq_host_routing *routing = h->get_interface(ctx, str("qpq.host.routing/1"));
  routing->invalidate(ctx, NULL); /* not a routing plugin */
  const qpq_host_identity *identity = h->get_interface(ctx, str("qpq.host.identity/1"));
  uint8_t out[64];
  qpq_slice envelope = { (const uint8_t *)"qpq-envelope-v1\0", 16 };
  char line[64];
  snprintf(line, sizeof line, "sign %d releases %d", identity->sign(ctx, QPQ_SIGN_TLS13, envelope, out), releases);
  report(self->config, line);
}

static qpq_status create(const qpq_host *host, qpq_str name, qpq_str config, void **out) {
  (void)name;
  instance *self = calloc(1, sizeof *self);
  self->host = host;
  self->transport = host->get_interface(host->ctx, str("qpq.host.transport/1"));
  memcpy(self->config, config.ptr, config.len < sizeof self->config - 1 ? config.len : sizeof self->config - 1);
  static int creates;
  if (asked(self, "create-fails") || (asked(self, "six-creates-fail") && ++creates <= 6)) {
    host->fail(host->ctx, QPQ_INVALID, str("the moon is wrong"));
    free(self);
    return QPQ_INVALID;
  }
  if (asked(self, "create-null")) { free(self); return QPQ_OK; }
  if (asked(self, "create-hangs")) sleep(8);
  if (asked(self, "misbehave")) misbehave(self);
  *out = self;
  return QPQ_OK;
}

/* A thread that stays on after stop, and calls. */
static void *outlive(void *argument) {
  instance copy = *(instance *)argument;
  usleep(400 * 1000);
  qpq_link_event event = { .size = sizeof event, .kind = QPQ_LINK_UP, .link = 9, .max_frame = 1200 };
  char line[64];
  copy.host->log(copy.host->ctx, QPQ_LOG_INFO, str("late"), str("late"), str(""));
  copy.host->fail(copy.host->ctx, QPQ_FAILED, str("late"));
  snprintf(line, sizeof line, "late %d", copy.transport->on_link(copy.host->ctx, &event));
  report(copy.config, line);
  return NULL;
}

static void *fail_soon(void *argument) {
  instance *self = argument;
  usleep(50 * 1000);
  self->host->fail(self->host->ctx, QPQ_PANIC, str("a task panicked: \x1b[31mred"));
  return NULL;
}

static qpq_status start(void *plugin, uint64_t op) {
  instance *self = plugin;
  report(self->config, "start");
  if (asked(self, "start-refuses")) return QPQ_BUSY;
  if (asked(self, "needs-key")) {
    const qpq_host_identity *identity = self->host->get_interface(self->host->ctx, str("qpq.host.identity/1"));
    uint8_t key[32];
    qpq_status got = identity->secret(self->host->ctx, key);
    if (got != QPQ_OK) { self->host->op_done(self->host->ctx, op, got, str("no key, no work")); return QPQ_OK; }
  }
  if (asked(self, "start-fails")) { self->host->op_done(self->host->ctx, op, QPQ_REFUSED, str("not today")); return QPQ_OK; }
  pthread_t detached;
  if (asked(self, "outlive") && pthread_create(&detached, NULL, outlive, self) == 0) pthread_detach(detached);
  if (asked(self, "fail-soon")) self->threaded = pthread_create(&self->thread, NULL, fail_soon, self) == 0;
  self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  if (asked(self, "answer-twice")) self->host->op_done(self->host->ctx, op, QPQ_FAILED, str("again"));
  return QPQ_OK;
}

static qpq_status quiesce(void *plugin, uint64_t op, uint32_t deadline_ms) {
  (void)deadline_ms;
  instance *self = plugin;
  if (asked(self, "quiesce-hangs")) return QPQ_OK;
  report(self->config, "quiesce");
  self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  return QPQ_OK;
}

#ifdef P_QUIESCE
#define P_QUIESCE_FN quiesce
#else
#define P_QUIESCE_FN NULL
#endif

static qpq_status stop(void *plugin, uint32_t deadline_ms) {
  (void)deadline_ms;
  instance *self = plugin;
  if (self->threaded) pthread_join(self->thread, NULL);
  if (asked(self, "stop-hangs")) sleep(30);
  report(self->config, "stop");
  return QPQ_OK;
}

static void destroy(void *plugin) {
  instance *self = plugin;
  report(self->config, "destroy");
  /* Not freed: the thread that outlives stop may be copying it at this moment. */
}

static qpq_status listen_(void *plugin, uint64_t op, qpq_str uri) {
  instance *self = plugin;
  if (uri.len == 7 && !memcmp(uri.ptr, "c:never", 7)) return QPQ_OK; /* and no answer ever */
  if (uri.len == 7 && !memcmp(uri.ptr, "c:hangs", 7)) sleep(15);
  if (asked(self, "listen-fails")) {
    self->host->op_done(self->host->ctx, op, QPQ_FAILED, str("the port is taken"));
    return QPQ_OK;
  }
  self->host->op_done(self->host->ctx, op, QPQ_OK, uri);
  return QPQ_OK;
}

static qpq_status dial(void *plugin, uint64_t op, qpq_str uri, const uint8_t *peer) {
  (void)peer;
  instance *self = plugin;
  if (uri.len == 6 && !memcmp(uri.ptr, "c:echo", 6)) {
    up(self, ++self->links, op, 65536);
    self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  } else if (uri.len == 8 && !memcmp(uri.ptr, "c:nolink", 8)) {
    self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  } else {
    self->host->op_done(self->host->ctx, op, QPQ_UNREACHABLE, str("nobody there"));
  }
  return QPQ_OK;
}

static qpq_status close_(void *plugin, uint64_t link, qpq_str reason) {
  instance *self = plugin;
  qpq_link_event event = { .size = sizeof event, .kind = QPQ_LINK_DOWN, .link = link, .reason = reason };
  return self->transport->on_link(self->host->ctx, &event);
}

/* Echoes at once, from inside the call: the rules forbid it, and the host must stand it. */
static size_t send_(void *plugin, const qpq_frame *frames, size_t n) {
  instance *self = plugin;
  self->transport->on_frames(self->host->ctx, frames, n);
  return n;
}

static void resume_(void *plugin, uint64_t link) { (void)plugin; (void)link; }

static const qpq_transport TRANSPORT = { .size = P_VTABLE_SIZE, .listen = listen_, .dial = P_DIAL, .close = close_,
  .send = send_, .resume = resume_ };

static const void *get_interface(qpq_str id) {
  const char *name = "qpq.transport/1";
  return id.len == strlen(name) && !memcmp(id.ptr, name, id.len) ? P_VTABLE : NULL;
}

/* With room behind it, for descriptors that say they are larger. */
static const struct { qpq_plugin plugin; uint8_t more[256]; } PLUGIN = { .plugin = {
  .magic = P_MAGIC, .size = P_SIZE, .abi_major = P_MAJOR, .abi_minor = P_MINOR, .flags = P_FLAGS,
  .id = P_ID, .kind = P_KIND, .version = P_VERSION, .build = S("cc"), .licence = S("MIT OR Apache-2.0"),
  .interfaces = P_INTERFACES, .needs = P_NEEDS, .config_schema = P_SCHEMA,
  .create = P_CREATE, .start = start, .quiesce = P_QUIESCE_FN, .stop = stop, .destroy = destroy, .get_interface = get_interface,
  .schemes = P_SCHEMES } };

#ifdef P_CONSTRUCTOR /* what the library does as it is loaded */
__attribute__((constructor)) static void constructor(void) { P_CONSTRUCTOR; }
#endif

const qpq_plugin *P_ENTRY(void) { return P_DESCRIPTOR; }
