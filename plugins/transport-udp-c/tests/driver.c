/* Drives two instances of the plugin as a host would, on the loopback interface. `make check` builds both with the sanitizers.
 *
 * The host here is as awkward as the rules allow: it takes frames in part and calls resume from another thread, sends more
 * than the queues hold, and lets strangers send rubbish meanwhile. */
#define _GNU_SOURCE
#include "qpq_plugin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const qpq_plugin *qpq_plugin_entry_v1(void);

enum { FRAMES = 20000, SIZE = 1200, PATIENCE_MS = 20000 };

typedef struct side {
  qpq_host host;
  void *plugin;
  const qpq_transport *transport;
  _Atomic uint64_t link, ups, downs, frames, unsent, short_returns;
  _Atomic int op_status[16];
  char detail[16][128];
  _Atomic bool writable, stopped;
  bool many; /* several links: their numbers are not checked */
} side;

static side sides[2];

static void need(bool good, const char *what, int line) {
  if (good) return;
  fprintf(stderr, "driver.c:%d: not so: %s\n", line, what);
  exit(1);
}
#define NEED(condition) need(condition, #condition, __LINE__)

static void pause_ms(long ms) { nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL); }

#define WAIT(condition) do { \
    int waited = 0; \
    while (!(condition) && waited++ < PATIENCE_MS) pause_ms(1); \
    need(condition, #condition, __LINE__); \
  } while (0)

static uint32_t log_level(void *ctx) { (void)ctx; return QPQ_LOG_TRACE; }

static void log_(void *ctx, uint32_t level, qpq_str target, qpq_str msg, qpq_str fields) {
  (void)ctx, (void)level, (void)target, (void)fields;
  fprintf(stderr, "log: %.*s\n", (int)msg.len, (const char *)msg.ptr);
}

static void op_done(void *ctx, uint64_t op, qpq_status status, qpq_str detail) {
  side *s = ctx;
  NEED(op < 16 && s->op_status[op] == 99 && !s->stopped); /* once */
  snprintf(s->detail[op], sizeof s->detail[op], "%.*s", (int)detail.len, (const char *)detail.ptr);
  s->op_status[op] = status;
}

static void fail(void *ctx, qpq_status status, qpq_str why) {
  (void)ctx, (void)status;
  fprintf(stderr, "fail: %.*s\n", (int)why.len, (const char *)why.ptr);
  exit(1);
}

static void *resume_later(void *argument) {
  side *s = argument;
  s->transport->resume(s->plugin, s->link);
  return NULL;
}

static size_t on_frames(void *ctx, const qpq_frame *frames, size_t n) {
  side *s = ctx;
  NEED(!s->stopped);
  size_t take = n;
  if (n > 1 && rand() % 4 == 0) take = n / 2;
  for (size_t i = 0; i < take; i++) {
    NEED(frames[i].link == s->link && frames[i].buf.len >= 8 && frames[i].buf.len <= SIZE);
    for (size_t at = 8; at < frames[i].buf.len; at++) NEED(frames[i].buf.data[at] == frames[i].buf.data[7]);
  }
  s->frames += take;
  if (take < n) {
    s->short_returns++;
    pthread_t thread; /* may well call before this returns */
    NEED(pthread_create(&thread, NULL, resume_later, s) == 0);
    pthread_detach(thread);
  }
  return take;
}

static void on_writable(void *ctx, uint64_t link) {
  side *s = ctx;
  NEED(link == s->link && !s->stopped);
  s->writable = true;
}

static qpq_status on_link(void *ctx, const qpq_link_event *event) {
  side *s = ctx;
  NEED(!s->stopped);
  if (event->kind == QPQ_LINK_UP) {
    NEED(event->max_frame == SIZE && (event->flags & QPQ_LINK_RELIABLE) == 0);
    s->link = event->link;
    s->ups++;
  } else {
    NEED(event->kind == QPQ_LINK_DOWN && (s->many || event->link == s->link));
    s->downs++;
  }
  return QPQ_OK;
}

static void on_unsent(void *ctx, const qpq_frame *frames, size_t n) {
  side *s = ctx;
  NEED(frames[0].link == s->link);
  s->unsent += n;
}

static const qpq_host_transport HOST = {
  .size = sizeof HOST, .on_frames = on_frames, .on_writable = on_writable, .on_link = on_link, .on_unsent = on_unsent,
};

static const void *get_interface(void *ctx, qpq_str id) { (void)ctx, (void)id; return &HOST; }

static qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

static void begin(side *s, const char *config) {
  const qpq_plugin *plugin = qpq_plugin_entry_v1();
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 16; i++) s->op_status[i] = 99;
  s->host = (qpq_host){ sizeof s->host, QPQ_ABI_MINOR, s, log_level, log_, op_done, fail, get_interface };
  NEED(plugin->create(&s->host, str("test"), str(config), &s->plugin) == QPQ_OK);
  s->transport = plugin->get_interface(str("qpq.transport/1"));
  NEED(s->transport != NULL && plugin->get_interface(str("qpq.transport/2")) == NULL);
  NEED(plugin->start(s->plugin, 0) == QPQ_OK);
  WAIT(s->op_status[0] == QPQ_OK);
}

static void end(side *s) {
  const qpq_plugin *plugin = qpq_plugin_entry_v1();
  NEED(plugin->stop(s->plugin, 1000) == QPQ_OK);
  s->stopped = true;
  pause_ms(20); /* a late resume_later must be over */
  plugin->destroy(s->plugin);
}

static _Atomic int released;
static void release(void *owner) { (void)owner; released++; }

/* Sends so many frames, half of them handed over and half of them lent. Waits only for on_writable. */
static void send_all(side *s) {
  static uint8_t bytes[SIZE];
  int sent = 0, owned = 0;
  released = 0;
  while (sent < FRAMES) {
    qpq_frame frames[100];
    for (int i = 0; i < 100; i++) {
      bool lent = i % 2 == 0;
      frames[i] = (qpq_frame){ .link = s->link, .flags = lent ? QPQ_FRAME_BORROWED : 0,
                               .buf = { bytes, (size_t)(8 + i * 11), NULL, lent ? NULL : release } };
    }
    s->writable = false;
    int want = FRAMES - sent < 100 ? FRAMES - sent : 100;
    int taken = (int)s->transport->send(s->plugin, frames, (size_t)want);
    NEED(taken <= want);
    for (int i = 0; i < taken; i++) owned += i % 2;
    sent += taken;
    if (taken < want) WAIT(s->writable);
  }
  NEED(released == owned);
}

static struct sockaddr_in address_of(const char *uri) {
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(uri, ':') + 1)) };
  inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
  return at;
}

/* Rubbish, and well-formed datagrams of nobody's link. */
static void *stranger(void *uri) {
  struct sockaddr_in to = address_of(uri);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  uint8_t bytes[2000];
  for (int i = 0; i < 20000; i++) {
    for (size_t at = 0; at < sizeof bytes; at++) bytes[at] = (uint8_t)rand();
    bytes[0] = (uint8_t)(rand() % 9);
    size_t len = i % 3 == 0 ? (size_t)(rand() % 2000) : (size_t[]){ 9, 17, 64, 1209 }[rand() % 4];
    sendto(fd, bytes, len, 0, (struct sockaddr *)&to, sizeof to);
  }
  close(fd);
  return NULL;
}

static void frames_cross_while_strangers_shout(void) {
  side *a = &sides[0], *b = &sides[1];
  begin(a, "{}"), begin(b, "{\"max_links\": 5, \"idle_secs\":30}");
  b->transport->listen(b->plugin, 1, str("udp://127.0.0.1:0"));
  WAIT(b->op_status[1] == QPQ_OK);
  pthread_t thread;
  NEED(pthread_create(&thread, NULL, stranger, b->detail[1]) == 0);
  a->transport->dial(a->plugin, 1, str(b->detail[1]), NULL);
  WAIT(a->op_status[1] == QPQ_OK && a->ups == 1 && b->ups == 1);
  send_all(a);
  pthread_join(thread, NULL);
  WAIT(b->frames > FRAMES / 10); /* some are lost where the receiver is slow, but it goes on */
  NEED(b->ups == 1);             /* no stranger got a link */
  fprintf(stderr, "%d sent, %llu came, %llu short returns\n", FRAMES, (unsigned long long)b->frames, (unsigned long long)b->short_returns);
  a->transport->close(a->plugin, a->link, str("enough"));
  WAIT(a->downs == 1 && b->downs == 1);
  NEED(a->transport->send(a->plugin, &(qpq_frame){ .link = a->link, .flags = QPQ_FRAME_BORROWED, .buf = { (const uint8_t *)"late", 4, NULL, NULL } }, 1) == 1);
  end(a), end(b);
}

static void dials_that_can_not_be(void) {
  side *a = &sides[0];
  begin(a, "{}");
  const char *bad[] = { "udp://", "udp://1.2.3.4", "quic://1.2.3.4:5", "udp://example.org:5", "udp://1.2.3.4:99999", "udp://[::1:5", "udp://1.2.3.4:5x" };
  for (uint64_t i = 0; i < 7; i++) {
    a->transport->dial(a->plugin, 1 + i, str(bad[i]), NULL);
    NEED(a->op_status[1 + i] == QPQ_INVALID);
  }
  a->transport->dial(a->plugin, 9, str("udp://127.0.0.1:9"), NULL); /* nobody there */
  WAIT(a->op_status[9] == QPQ_UNREACHABLE);
  a->transport->dial(a->plugin, 10, str("udp://127.0.0.1:9"), NULL);
  end(a); /* answers the dial that is under way */
  NEED(a->op_status[10] == QPQ_UNREACHABLE);
}

static void quiescing_hands_back_or_sends_everything(void) {
  side *a = &sides[0], *b = &sides[1];
  begin(a, "{}"), begin(b, "{}");
  b->transport->listen(b->plugin, 1, str("udp://[::1]:0"));
  WAIT(b->op_status[1] == QPQ_OK);
  a->transport->dial(a->plugin, 1, str(b->detail[1]), NULL);
  WAIT(a->op_status[1] == QPQ_OK && b->ups == 1);
  uint8_t bytes[SIZE] = { 0 };
  qpq_frame frame = { .link = a->link, .flags = QPQ_FRAME_BORROWED, .buf = { bytes, 100, NULL, NULL } };
  for (int i = 0; i < 50; i++) NEED(a->transport->send(a->plugin, &frame, 1) == 1);
  qpq_plugin_entry_v1()->quiesce(a->plugin, 2, 1000);
  WAIT(a->op_status[2] == QPQ_OK);
  WAIT(b->frames + a->unsent == 50);
  a->transport->dial(a->plugin, 3, str(b->detail[1]), NULL);
  NEED(a->op_status[3] == QPQ_BUSY);
  end(a);
  NEED(a->downs == 1);
  WAIT(b->downs == 1); /* it was told */
  end(b);
}

static void links_are_limited(void) {
  side *a = &sides[0], *b = &sides[1];
  begin(a, "{}"), begin(b, "{\"max_links_per_address\": 2}");
  a->many = b->many = true;
  b->transport->listen(b->plugin, 1, str("udp://127.0.0.1:0"));
  WAIT(b->op_status[1] == QPQ_OK);
  for (uint64_t op = 1; op <= 3; op++) a->transport->dial(a->plugin, op, str(b->detail[1]), NULL);
  WAIT(a->op_status[1] != 99 && a->op_status[2] != 99 && a->op_status[3] != 99);
  NEED(b->ups == 2 && a->ups == 2);
  end(a);
  WAIT(b->downs == 2);
  end(b);
}

/* One address may not hold all places for newcomers with links that say nothing. */
static void silent_links_of_one_address_are_limited(void) {
  enum { SILENT = 8, DIALS = 10 };
  side *a = &sides[0], *b = &sides[1];
  begin(a, "{}"), begin(b, "{}");
  a->many = b->many = true;
  b->transport->listen(b->plugin, 1, str("udp://127.0.0.1:0"));
  WAIT(b->op_status[1] == QPQ_OK);
  for (uint64_t op = 1; op <= DIALS; op++) a->transport->dial(a->plugin, op, str(b->detail[1]), NULL);
  for (uint64_t op = 1; op <= DIALS; op++) WAIT(a->op_status[op] != 99);
  NEED(b->ups == SILENT && a->ups == SILENT);
  /* One of them speaks, so there is room for another. */
  uint8_t bytes[8] = { 0 };
  qpq_frame frame = { .link = a->link, .flags = QPQ_FRAME_BORROWED, .buf = { bytes, sizeof bytes, NULL, NULL } };
  NEED(a->transport->send(a->plugin, &frame, 1) == 1);
  WAIT(b->frames == 1);
  a->transport->dial(a->plugin, DIALS + 1, str(b->detail[1]), NULL);
  WAIT(a->op_status[DIALS + 1] == QPQ_OK && b->ups == SILENT + 1);
  end(a);
  WAIT(b->downs == SILENT + 1);
  end(b);
}

int main(int argc, char **argv) {
  (void)argv;
  srand(argc > 1 ? (unsigned)atoi(argv[1]) : 1);
  frames_cross_while_strangers_shout();
  dials_that_can_not_be();
  quiescing_hands_back_or_sends_everything();
  links_are_limited();
  silent_links_of_one_address_are_limited();
  fprintf(stderr, "all good\n");
  return 0;
}
