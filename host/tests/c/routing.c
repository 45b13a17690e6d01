/* A routing plugin in C for the tests of the conformance kit: floods to all links. Each BAD_ macro is a mistake. */
#define _GNU_SOURCE
#include "qpq_plugin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S(text) { (const uint8_t *)(text), sizeof(text) - 1 }
#define LINKS 64
static qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

typedef struct instance {
  const qpq_host *host;
  const qpq_host_routing *routing;
  uint64_t links[LINKS];
  size_t n;
} instance;

static void *run(void *plugin) {
  instance *self = plugin;
  (void)self;
#ifdef BAD_OUTSIDE
  self->routing->invalidate(self->host->ctx, NULL);
  return NULL;
#endif
  for (;;) pause();
}

static qpq_status create(const qpq_host *host, qpq_str name, qpq_str config, void **out) {
  (void)name, (void)config;
  instance *self = calloc(1, sizeof *self);
  self->host = host;
  self->routing = host->get_interface(host->ctx, str("qpq.host.routing/1"));
  *out = self;
  return QPQ_OK;
}

static qpq_status start(void *plugin, uint64_t op) {
  instance *self = plugin;
#if defined BAD_THREAD || defined BAD_OUTSIDE
  pthread_t thread;
  pthread_create(&thread, NULL, run, self);
#endif
  self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  return QPQ_OK;
}

static qpq_status stop(void *plugin, uint32_t deadline_ms) { (void)plugin, (void)deadline_ms; return QPQ_OK; }
static void destroy(void *plugin) { free(plugin); }

static qpq_status on_link(void *plugin, uint64_t now, const qpq_route_link *link) {
  (void)now;
  instance *self = plugin;
  size_t i = 0;
  while (i < self->n && self->links[i] != link->link) i++;
  if (link->change == QPQ_ROUTE_LINK_UP && i == self->n && self->n < LINKS) self->links[self->n++] = link->link;
#ifndef BAD_FORGETS_DOWN
  if (link->change == QPQ_ROUTE_LINK_DOWN && i < self->n) self->links[i] = self->links[--self->n];
#endif
  return link->change >= QPQ_ROUTE_LINK_UP && link->change <= QPQ_ROUTE_LINK_METRICS ? QPQ_OK : QPQ_INVALID;
}

static qpq_status on_control(void *plugin, uint64_t now, uint64_t link, qpq_slice bytes) {
  (void)plugin, (void)now, (void)link;
#ifdef BAD_LENGTH
  uint32_t n;
  memcpy(&n, bytes.ptr, 4); /* whatever is there */
  volatile uint8_t last = bytes.ptr[n];
  (void)last;
#endif
#ifdef BAD_KEEPS_CONTROL
  explicit_bzero(malloc(4 * bytes.len + 64), 4 * bytes.len + 64);
#endif
  (void)bytes;
  return QPQ_OK;
}

static qpq_status on_seen(void *plugin, uint64_t now, const uint8_t *origin, uint64_t link, uint32_t hops) {
  (void)plugin, (void)now, (void)link, (void)hops;
#ifdef BAD_KEEPS_ORIGINS
  explicit_bzero(malloc(300), 300);
#endif
  (void)origin;
  return QPQ_OK;
}

static uint64_t on_tick(void *plugin, uint64_t now) {
  (void)plugin;
#ifdef BAD_TICK
  return now;
#endif
  return now < UINT64_MAX - 1000 ? now + 1000 : UINT64_MAX;
}

static size_t route(void *plugin, uint64_t now, const qpq_route_query *query, uint64_t *links, size_t cap, uint32_t *flags) {
  (void)now;
  instance *self = plugin;
  size_t n = 0;
  for (size_t i = 0; i < self->n; i++) {
    uint64_t link = self->links[i];
#ifdef BAD_CHANCE
    static unsigned calls;
    if (i == 0) calls++;
    link = self->links[(i + calls) % self->n];
#endif
#ifndef BAD_BACK
    if (link == query->from_link) continue;
#endif
#ifdef BAD_CAP
    links[n] = link;
#else
    if (n < cap) links[n] = link;
#endif
    n++;
  }
  *flags = n ? QPQ_ROUTE_FLOOD : 0;
  return n;
}

static qpq_status dump(void *plugin, uint64_t now, qpq_out out) {
  (void)plugin, (void)now;
#ifdef BAD_DUMP
  out.write(out.ctx, str("{\"routes\": ["));
  return QPQ_OK;
#endif
  out.write(out.ctx, str("{\"routes\": "));
  out.write(out.ctx, str("[]}"));
  return QPQ_OK;
}

static const qpq_routing ROUTING = { .size = sizeof ROUTING, .on_link = on_link, .on_control = on_control,
  .on_seen = on_seen, .on_tick = on_tick, .route = route, .dump = dump };

static const void *get_interface(qpq_str id) {
  return id.ptr && id.len == 13 && !memcmp(id.ptr, "qpq.routing/1", 13) ? &ROUTING : NULL;
}

static const qpq_plugin PLUGIN = { .magic = QPQ_MAGIC, .size = sizeof PLUGIN, .abi_major = QPQ_ABI_MAJOR,
  .abi_minor = QPQ_ABI_MINOR, .flags = QPQ_PLUGIN_PANIC_UNWIND, .id = S("routing-c"), .kind = S("routing"),
  .version = S("0.1.0"), .interfaces = S("qpq.routing/1"), .create = create, .start = start, .stop = stop,
  .destroy = destroy, .get_interface = get_interface };

const qpq_plugin *qpq_plugin_entry_v1(void) { return &PLUGIN; }
