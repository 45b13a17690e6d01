/* A discovery plugin in C for the tests of the conformance kit: finds one made-up node every 100 ms. Each BAD_ macro is a
 * mistake. */
#define _GNU_SOURCE
#include "qpq_plugin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S(text) { (const uint8_t *)(text), sizeof(text) - 1 }
static qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

typedef struct instance {
  const qpq_host *host;
  const qpq_host_discovery *discovery;
  pthread_mutex_t lock;
  pthread_t thread;
  uint64_t browse;
  int stop;
} instance;

static void *run(void *plugin) {
  instance *self = plugin;
  for (;;) {
    usleep(100 * 1000);
    pthread_mutex_lock(&self->lock);
    uint64_t op = self->browse;
    int stop = self->stop;
    pthread_mutex_unlock(&self->lock);
    if (stop) return NULL;
#ifdef BAD_RECORD
    const char *record = "peer: 07";
#else
    const char *record = "{\"peer\":\"07\"}";
#endif
    if (op) self->discovery->on_peer(self->host->ctx, QPQ_PEER_FOUND, op, str(record));
  }
}

static qpq_status create(const qpq_host *host, qpq_str name, qpq_str config, void **out) {
  (void)name, (void)config;
  instance *self = calloc(1, sizeof *self);
  self->host = host;
  self->discovery = host->get_interface(host->ctx, str("qpq.host.discovery/1"));
  pthread_mutex_init(&self->lock, NULL);
  *out = self;
  return QPQ_OK;
}

static qpq_status start(void *plugin, uint64_t op) {
  instance *self = plugin;
  pthread_create(&self->thread, NULL, run, self);
  self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  return QPQ_OK;
}

static qpq_status stop(void *plugin, uint32_t deadline_ms) {
  (void)deadline_ms;
  instance *self = plugin;
  pthread_mutex_lock(&self->lock);
  self->stop = 1;
  pthread_mutex_unlock(&self->lock);
  pthread_join(self->thread, NULL);
  return QPQ_OK;
}

static void destroy(void *plugin) { free(plugin); }

static qpq_status advertise(void *plugin, uint64_t op, qpq_str record) {
  instance *self = plugin;
  int fits = record.ptr && record.len > 60 && record.len < 4096 && record.ptr[0] == '{';
#ifdef BAD_ANY_RECORD
  fits = 1;
#endif
#ifndef BAD_SILENT
  self->host->op_done(self->host->ctx, op, fits ? QPQ_OK : QPQ_INVALID, str(""));
#endif
#ifdef BAD_TWICE
  self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
#endif
  return QPQ_OK;
}

static qpq_status browse(void *plugin, uint64_t op, qpq_str service) {
  (void)service;
  instance *self = plugin;
  pthread_mutex_lock(&self->lock);
  self->browse = op;
  pthread_mutex_unlock(&self->lock);
  self->host->op_done(self->host->ctx, op, QPQ_OK, str(""));
  return QPQ_OK;
}

static qpq_status cancel(void *plugin, uint64_t op) {
  instance *self = plugin;
  pthread_mutex_lock(&self->lock);
#ifndef BAD_GOES_ON
  if (self->browse == op) self->browse = 0;
#endif
  pthread_mutex_unlock(&self->lock);
  return QPQ_OK;
}

static const qpq_discovery DISCOVERY = { .size = sizeof DISCOVERY, .advertise = advertise, .browse = browse,
  .cancel = cancel };

static const void *get_interface(qpq_str id) {
  return id.ptr && id.len == 15 && !memcmp(id.ptr, "qpq.discovery/1", 15) ? &DISCOVERY : NULL;
}

static const qpq_plugin PLUGIN = { .magic = QPQ_MAGIC, .size = sizeof PLUGIN, .abi_major = QPQ_ABI_MAJOR,
  .abi_minor = QPQ_ABI_MINOR, .flags = QPQ_PLUGIN_PANIC_UNWIND, .id = S("discovery-c"), .kind = S("discovery"),
  .version = S("0.1.0"), .interfaces = S("qpq.discovery/1"), .create = create, .start = start, .stop = stop,
  .destroy = destroy, .get_interface = get_interface };

const qpq_plugin *qpq_plugin_entry_v1(void) { return &PLUGIN; }
