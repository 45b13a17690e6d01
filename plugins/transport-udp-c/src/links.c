/* The table of links, and their queues. */
#define _GNU_SOURCE
#include "udp.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void queue_init(queue *q) { *q = (queue){ .head = NULL, .tail = &q->head }; }

/* Copies a frame to the end of the queue; false when there is no room. */
bool queue_push(queue *q, uint64_t wire, const uint8_t *data, size_t len) {
  if (q->frames >= MAX_QUEUED_FRAMES || q->bytes + len > MAX_QUEUED_BYTES) return false;
  frame *f = malloc(sizeof *f + HEADER + len);
  if (f == NULL) return false;
  f->next = NULL;
  f->len = len;
  f->bytes[0] = DATA;
  put_u64(f->bytes + 1, wire);
  memcpy(f->bytes + HEADER, data, len);
  *q->tail = f;
  q->tail = &f->next;
  q->frames++;
  q->bytes += len;
  return true;
}

void queue_pop(queue *q) {
  frame *f = q->head;
  if (f == NULL) return;
  q->head = f->next;
  if (q->head == NULL) q->tail = &q->head;
  q->frames--;
  q->bytes -= f->len;
  free(f);
}

void queue_clear(queue *q) {
  while (q->head != NULL) queue_pop(q);
}

static link_ **number_bucket(udp *u, uint64_t number) { return &u->by_number[number % BUCKETS]; }

/* By a keyed hash, so that nobody can choose numbers that all fall into one bucket. */
static link_ **wire_bucket(udp *u, const address *remote, uint64_t wire) {
  return &u->by_wire[cookie_for(u, remote, wire, UINT64_MAX) % BUCKETS];
}

/* A link in the table, or NULL when there is no memory. */
link_ *link_new(udp *u, const address *remote, uint64_t wire, int fd, bool outbound) {
  link_ *l = calloc(1, sizeof *l);
  if (l == NULL) return NULL;
  l->number = ++u->last_number;
  l->wire = wire;
  l->remote = *remote;
  l->fd = fd;
  l->outbound = outbound;
  l->state = outbound ? DIALLING : UP;
  l->since = l->heard = now_ms();
  queue_init(&l->in);
  queue_init(&l->out);
  link_ **at = number_bucket(u, l->number);
  l->next_by_number = *at, *at = l;
  at = wire_bucket(u, remote, wire);
  l->next_by_wire = *at, *at = l;
  l->next = u->links, u->links = l;
  u->n_links++;
  u->n_dials += outbound;
  return l;
}

link_ *link_by_number(udp *u, uint64_t number) {
  link_ *l = *number_bucket(u, number);
  while (l != NULL && l->number != number) l = l->next_by_number;
  return l;
}

link_ *link_by_wire(udp *u, const address *remote, uint64_t wire) {
  link_ *l = *wire_bucket(u, remote, wire);
  while (l != NULL && !(l->wire == wire && same_address(&l->remote, remote))) l = l->next_by_wire;
  return l;
}

/* Takes a link out of all tables. It is not freed: the thread may still look at it. */
void link_remove(udp *u, link_ *l) {
  for (link_ **at = &u->links; *at != NULL; at = &(*at)->next)
    if (*at == l) { *at = l->next; break; }
  for (link_ **at = number_bucket(u, l->number); *at != NULL; at = &(*at)->next_by_number)
    if (*at == l) { *at = l->next_by_number; break; }
  for (link_ **at = wire_bucket(u, &l->remote, l->wire); *at != NULL; at = &(*at)->next_by_wire)
    if (*at == l) { *at = l->next_by_wire; break; }
  for (link_ **at = &u->todo; *at != NULL; at = &(*at)->next_todo)
    if (*at == l) { *at = l->next_todo; break; }
  u->n_links--;
  u->n_dials -= l->state != UP;
}

void link_free(link_ *l) {
  queue_clear(&l->in);
  queue_clear(&l->out);
  free(l);
}

/* How many links there are to that host, whatever the port. */
uint64_t links_from(const udp *u, const address *remote) {
  uint64_t count = 0;
  for (const link_ *l = u->links; l != NULL; l = l->next) count += !l->outbound && same_host(&l->remote, remote);
  return count;
}

/* How many of them have not carried a frame yet. */
uint64_t silent_from(const udp *u, const address *remote) {
  uint64_t count = 0;
  for (const link_ *l = u->links; l != NULL; l = l->next)
    count += !l->outbound && !l->carried && same_host(&l->remote, remote);
  return count;
}

/* Has the thread look at a link. */
void todo(udp *u, link_ *l) {
  if (!l->in_todo) {
    l->in_todo = true;
    l->next_todo = u->todo, u->todo = l;
  }
  wake(u);
}

/* Wakes the thread. One byte is enough until it has read it. */
void wake(udp *u) {
  if (u->woken) return;
  u->woken = true;
  ssize_t n = write(u->wake[1], "", 1);
  (void)n; /* a full pipe wakes as well */
}
