/* transport-example: a transport for quicproquo nodes. It carries frames over TCP, each with its length before it.
 *
 * Here is what the node calls. Nothing here blocks: things are put under the lock, and the thread in work.c is woken. */
#define _GNU_SOURCE
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S(text) { (const uint8_t *)(text), sizeof(text) - 1 }
static qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

static void wake(instance *self) {
  if (write(self->wake[1], "", 1) < 0) { /* the pipe is full, so the thread is awake */ }
}

/* ---- "qpq.transport/1" ---- */

static qpq_status listen_(void *plugin, uint64_t op, qpq_str uri) {
  instance *self = plugin;
  struct sockaddr_storage address;
  socklen_t len = parse_uri(uri, &address);
  if (!len) { answer(self, op, QPQ_INVALID, "no address such as " SCHEME "192.0.2.1:4433"); return QPQ_OK; }
  int yes = 1, fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) || listen(fd, 128) ||
      getsockname(fd, (struct sockaddr *)&address, &len)) {
    answer(self, op, QPQ_FAILED, strerror(errno));
    if (fd >= 0) close(fd);
    return QPQ_OK;
  }
  lock(self);
  int room = self->listener_count < MAX_LISTENERS && !self->ending;
  if (room) self->listeners[self->listener_count++] = fd;
  unlock(self);
  if (!room) { close(fd); answer(self, op, QPQ_BUSY, "too many listeners, or the transport is ending"); return QPQ_OK; }
  wake(self);
  char bound[MAX_URI];
  print_uri(&address, bound);
  answer(self, op, QPQ_OK, bound);
  return QPQ_OK;
}

static qpq_status dial(void *plugin, uint64_t op, qpq_str uri, const uint8_t *peer_key) {
  (void)peer_key; /* TCP proves no keys; the node does that itself */
  instance *self = plugin;
  struct sockaddr_storage address;
  socklen_t len = parse_uri(uri, &address);
  if (!len) { answer(self, op, QPQ_INVALID, "no address such as " SCHEME "192.0.2.1:4433"); return QPQ_OK; }
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || (connect(fd, (struct sockaddr *)&address, len) && errno != EINPROGRESS)) {
    answer(self, op, QPQ_UNREACHABLE, strerror(errno));
    if (fd >= 0) close(fd);
    return QPQ_OK;
  }
  lock(self);
  conn *l = add(self, fd, &address, op);
  if (l) { l->connecting = 1; l->deadline = now_ms() + DIAL_MS; }
  unlock(self);
  if (l) wake(self);
  else answer(self, op, QPQ_BUSY, "too many links, or the transport is ending");
  return QPQ_OK;
}

static qpq_status close_(void *plugin, uint64_t id, qpq_str reason) {
  instance *self = plugin;
  lock(self);
  conn *l = find(self, id);
  if (l && !l->connecting) end_link(l, LINGER_MS, (const char *)reason.ptr, reason.ptr ? reason.len : 0);
  unlock(self);
  wake(self);
  return QPQ_OK;
}

/* A frame of our own: borrowed bytes are copied, given ones are kept with their release. NULL: no memory. */
static frame *keep(const qpq_frame *given) {
  int borrowed = (given->flags & QPQ_FRAME_BORROWED) != 0;
  uint32_t len = (uint32_t)given->buf.len;
  frame *f = malloc(sizeof *f + (borrowed ? len : 0));
  if (!f) return NULL;
  f->next = NULL;
  f->buf = given->buf;
  if (borrowed) {
    f->buf = (qpq_buf){ .data = (uint8_t *)(f + 1), .len = len };
    if (len) memcpy(f + 1, given->buf.data, len);
  }
  for (int i = 0; i < HEADER; i++) f->header[i] = (uint8_t)(len >> 8 * i);
  return f;
}

static void drop(const qpq_frame *given) {
  if (!(given->flags & QPQ_FRAME_BORROWED) && given->buf.release) given->buf.release(given->buf.owner);
}

static size_t send_(void *plugin, const qpq_frame *frames, size_t n) {
  instance *self = plugin;
  if (!frames || !n) return 0;
  lock(self);
  conn *l = find(self, frames[0].link);
  int gone = !l || l->connecting || l->dead || l->write_done;
  size_t taken = 0;
  for (; !gone && taken < n; taken++) {
    const qpq_frame *given = &frames[taken];
    int full = l->frames >= MAX_QUEUED_FRAMES || l->bytes + given->buf.len > MAX_QUEUED_BYTES;
    /* Noted under the same lock under which there was no room, so that the wakeup can't be missed. */
    if (full && l->frames) { l->host_waits = 1; break; }
    if (given->buf.len > MAX_FRAME) { drop(given); continue; } /* the host never does this */
    frame *f = keep(given);
    if (!f) { l->host_waits = 1; break; }
    if (l->last) l->last->next = f; else l->first = f;
    l->last = f;
    l->frames++;
    l->bytes += given->buf.len;
  }
  unlock(self);
  for (; gone && taken < n; taken++) drop(&frames[taken]); /* the link is gone: taken and dropped */
  wake(self);
  return taken;
}

static void resume(void *plugin, uint64_t id) {
  instance *self = plugin;
  lock(self);
  conn *l = find(self, id);
  if (l) { l->resumed = 1; l->stalled = 0; }
  unlock(self);
  wake(self);
}

static qpq_status stats(void *plugin, qpq_out out) {
  instance *self = plugin;
  lock(self);
  unsigned links = self->link_count;
  unlock(self);
  char text[64];
  snprintf(text, sizeof text, "{\"links\":%u}", links);
  out.write(out.ctx, str(text));
  return QPQ_OK;
}

static const qpq_transport TRANSPORT = { .size = sizeof TRANSPORT, .listen = listen_, .dial = dial, .close = close_,
  .send = send_, .resume = resume, .stats = stats };

/* ---- The plugin ---- */

static qpq_status create(const qpq_host *host, qpq_str name, qpq_str config_json, void **out) {
  (void)name;
  (void)config_json; /* the schema allows no keys; where yours does, read them here */
  const qpq_host_transport *events = host->get_interface(host->ctx, str("qpq.host.transport/1"));
  instance *self = events ? calloc(1, sizeof *self) : NULL;
  if (!self) {
    host->fail(host->ctx, QPQ_UNSUPPORTED, str(events ? "no memory" : "the host does not offer qpq.host.transport/1"));
    return QPQ_UNSUPPORTED;
  }
  self->host = host;
  self->events = events;
  self->wake[0] = self->wake[1] = -1;
  pthread_mutex_init(&self->lock, NULL);
  *out = self;
  return QPQ_OK;
}

static qpq_status start(void *plugin, uint64_t op) {
  instance *self = plugin;
  int failed = pipe2(self->wake, O_NONBLOCK | O_CLOEXEC) ? errno : pthread_create(&self->thread, NULL, work, self);
  self->started = !failed;
  answer(self, op, failed ? QPQ_FAILED : QPQ_OK, failed ? strerror(failed) : "");
  return QPQ_OK;
}

static qpq_status quiesce(void *plugin, uint64_t op, uint32_t deadline_ms) {
  instance *self = plugin;
  int64_t patience = deadline_ms * 3 / 4;
  lock(self);
  self->ending = 1;
  self->quiesce_op = op;
  self->quiesce_deadline = now_ms() + patience;
  for (conn *l = self->links; l; l = l->next)
    if (!l->connecting) end_link(l, patience, "the transport is ending", 23);
  unlock(self);
  wake(self);
  return QPQ_OK;
}

static qpq_status stop(void *plugin, uint32_t deadline_ms) {
  (void)deadline_ms; /* the thread never waits for long */
  instance *self = plugin;
  if (!self->started) return QPQ_OK;
  lock(self);
  self->stop = 1;
  unlock(self);
  wake(self);
  pthread_join(self->thread, NULL);
  return QPQ_OK;
}

static void destroy(void *plugin) {
  instance *self = plugin;
  for (int i = 0; i < 2; i++) if (self->wake[i] >= 0) close(self->wake[i]);
  pthread_mutex_destroy(&self->lock);
  free(self);
}

static const void *get_interface(qpq_str id) {
  static const qpq_str name = S("qpq.transport/1");
  return id.ptr && id.len == name.len && !memcmp(id.ptr, name.ptr, id.len) ? &TRANSPORT : NULL;
}

static const qpq_plugin PLUGIN = {
  .magic = QPQ_MAGIC, .size = sizeof PLUGIN, .abi_major = QPQ_ABI_MAJOR, .abi_minor = QPQ_ABI_MINOR,
  .flags = QPQ_PLUGIN_PANIC_UNWIND | QPQ_PLUGIN_NEEDS_EXCLUSIVE, /* a port belongs to one instance */
  .id = S("transport-example"), .kind = S("transport"), .version = S("0.1.0"), .build = S("cc"),
  .licence = S("MIT OR Apache-2.0"), .interfaces = S("qpq.transport/1"), .needs = S("qpq.host.transport/1"),
  .config_schema = S("{\"type\": \"object\", \"additionalProperties\": false}"),
  .create = create, .start = start, .quiesce = quiesce, .stop = stop, .destroy = destroy, .get_interface = get_interface,
};

__attribute__((visibility("default"))) const qpq_plugin *qpq_plugin_entry_v1(void) { return &PLUGIN; }
