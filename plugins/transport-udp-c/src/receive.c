/* What datagrams mean.
 *
 * DIAL -> CHALLENGE -> CONFIRM -> ACCEPT, then DATA both ways, and BYE at the end. The side that is dialled remembers
 * nothing before CONFIRM has brought its cookie back, so false sender addresses cost it one small answer each.
 */
#define _GNU_SOURCE
#include "udp.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

void send_control(udp *u, int fd, const address *to, uint8_t kind, uint64_t wire, const uint64_t *cookie) {
  uint8_t packet[DIAL_SIZE] = { kind };
  size_t len = HEADER;
  put_u64(packet + 1, wire);
  if (cookie != NULL) put_u64(packet + HEADER, *cookie), len += COOKIE;
  if (kind == DIAL) len = DIAL_SIZE;
  if (sendto(fd, packet, len, MSG_DONTWAIT, &to->any, address_len(to)) == (ssize_t)len) {
    u->counters.datagrams_out++;
    u->counters.bytes_out += len;
  }
}

/* A datagram of a link that isn't known here, perhaps since this node was restarted: says so, within bounds. */
static void say_bye(udp *u, int fd, const address *to, uint64_t wire) {
  uint64_t now = now_ms();
  u->counters.unknown++;
  if (now - u->byes_since >= 1000) u->byes_since = now, u->byes = 0;
  if (u->byes++ < MAX_BYES_PER_SECOND) send_control(u, fd, to, BYE, wire, NULL);
}

/* Tells the host of a link that is up; whether it wants it. */
static bool announce(udp *u, link_ *l) {
  char remote[80];
  qpq_link_event event = {
    .size = sizeof event, .kind = QPQ_LINK_UP, .link = l->number, .op = l->op,
    .flags = l->outbound ? QPQ_LINK_OUTBOUND : 0, /* neither reliable, nor is the peer proven */
    .max_frame = MAX_FRAME,
    .remote = { (const uint8_t *)remote, format_uri(&l->remote, remote) },
  };
  return u->transport->on_link(u->host->ctx, &event) == QPQ_OK;
}

static void challenge(udp *u, int fd, const address *from, uint64_t wire) {
  uint64_t cookie = cookie_for(u, from, wire, now_ms() / COOKIE_MS);
  u->counters.challenged++;
  send_control(u, fd, from, CHALLENGE, wire, &cookie);
}

static bool is_ours(const udp *u, const address *from, uint64_t wire, uint64_t cookie) {
  uint64_t epoch = now_ms() / COOKIE_MS;
  return cookie == cookie_for(u, from, wire, epoch) || cookie == cookie_for(u, from, wire, epoch - 1);
}

/* The other side has shown that it gets our datagrams: a link, if there is room for it. */
static void confirmed(udp *u, int fd, const address *from, uint64_t wire, uint64_t cookie) {
  if (!is_ours(u, from, wire, cookie)) {
    u->counters.bad_cookies++;
    return;
  }
  pthread_mutex_lock(&u->lock);
  bool room = !u->quiescing && u->n_links < u->settings.max_links && links_from(u, from) < u->settings.max_links_per_address &&
              silent_from(u, from) < MAX_SILENT_PER_ADDRESS;
  link_ *l = room ? link_new(u, from, wire, fd, false) : NULL;
  pthread_mutex_unlock(&u->lock);
  if (l == NULL) {
    u->counters.refused++;
    send_control(u, fd, from, BYE, wire, NULL);
    return;
  }
  u->timers_at = 0;
  if (announce(u, l)) {
    send_control(u, fd, from, ACCEPT, wire, NULL);
    return;
  }
  u->counters.refused++;
  send_control(u, fd, from, BYE, wire, NULL);
  pthread_mutex_lock(&u->lock);
  link_remove(u, l);
  pthread_mutex_unlock(&u->lock);
  link_free(l);
}

/* A link that this node dialled is up; whether the host wants it. */
static bool accepted(udp *u, link_ *l) {
  pthread_mutex_lock(&u->lock);
  l->state = UP;
  u->n_dials--;
  pthread_mutex_unlock(&u->lock);
  l->since = now_ms();
  uint64_t op = l->op;
  bool wanted = announce(u, l);
  l->op = 0;
  u->host->op_done(u->host->ctx, op, wanted ? QPQ_OK : QPQ_REFUSED, str(wanted ? "" : "the host refused the link"));
  if (wanted) return true;
  pthread_mutex_lock(&u->lock);
  link_remove(u, l);
  pthread_mutex_unlock(&u->lock);
  send_control(u, l->fd, &l->remote, BYE, l->wire, NULL);
  link_free(l);
  return false;
}

/* Keeps a frame for which the host has no room, as long as there is some here. */
static void keep(udp *u, link_ *l, const uint8_t *data, size_t len) {
  if (!queue_push(&l->in, l->wire, data, len)) u->counters.dropped_in++;
}

/* Frames of one link, as they came. */
static void deliver(udp *u, link_ *l, qpq_frame *frames, size_t n) {
  size_t taken = l->in.frames > 0 ? 0 : u->transport->on_frames(u->host->ctx, frames, n);
  for (size_t i = taken; i < n; i++) keep(u, l, frames[i].buf.data, frames[i].buf.len);
}

/* Frames that the host had no room for, now that it has. */
void deliver_waiting(udp *u, link_ *l) {
  while (l->in.head != NULL) {
    qpq_frame frames[BATCH];
    size_t n = 0;
    for (frame *f = l->in.head; f != NULL && n < BATCH; f = f->next)
      frames[n++] = (qpq_frame){ .link = l->number, .flags = QPQ_FRAME_BORROWED, .buf = { .data = f->bytes + HEADER, .len = f->len } };
    size_t taken = u->transport->on_frames(u->host->ctx, frames, n);
    for (size_t i = 0; i < taken; i++) queue_pop(&l->in);
    if (taken < n) return; /* the host will call resume */
  }
}

/* One datagram that is no DATA of a link that is up. */
static void control(udp *u, size_t socket, const address *from, const uint8_t *packet, size_t len, link_ *l) {
  int fd = u->sockets[socket].fd;
  bool listens = u->sockets[socket].listens;
  uint64_t wire = get_u64(packet + 1);
  uint64_t cookie = len >= HEADER + COOKIE ? get_u64(packet + HEADER) : 0;
  switch (packet[0]) {
  case DIAL:
    if (listens && len == DIAL_SIZE) challenge(u, fd, from, wire);
    return;
  case CHALLENGE:
    if (l == NULL || l->state == UP || len != HEADER + COOKIE) return;
    l->state = CONFIRMING;
    l->cookie = cookie;
    l->retry_at = now_ms() + RETRY_MS;
    send_control(u, fd, from, CONFIRM, wire, &cookie);
    return;
  case CONFIRM:
    if (!listens || len != HEADER + COOKIE) return;
    if (l == NULL) confirmed(u, fd, from, wire, cookie);
    else if (!l->outbound) send_control(u, fd, from, ACCEPT, wire, NULL); /* the first one was lost */
    return;
  case ACCEPT:
    if (l != NULL && l->state == CONFIRMING) accepted(u, l);
    return;
  case BYE:
    if (l != NULL) down(u, l, "the other side closed the link, or doesn't know it");
    return;
  case DATA:
    if (l == NULL) say_bye(u, fd, from, wire);
    return;
  default:
    u->counters.malformed++;
  }
}

/* Frames of one link that came one after another, so that they go to the host in one call. */
typedef struct run {
  link_ *link;
  qpq_frame frames[BATCH];
  size_t n;
} run;

static void end_run(udp *u, run *r) {
  if (r->n > 0) deliver(u, r->link, r->frames, r->n);
  r->n = 0;
}

static void take(udp *u, size_t socket, const address *from, const uint8_t *packet, size_t len, run *r) {
  u->counters.datagrams_in++;
  u->counters.bytes_in += len;
  if (len < HEADER || len > HEADER + MAX_FRAME) {
    u->counters.malformed++;
    return;
  }
  pthread_mutex_lock(&u->lock);
  link_ *l = link_by_wire(u, from, get_u64(packet + 1));
  pthread_mutex_unlock(&u->lock);
  if (l != NULL) l->heard = now_ms();
  if (packet[0] != DATA || l == NULL) {
    end_run(u, r); /* what follows may end its link */
    control(u, socket, from, packet, len, l);
    return;
  }
  /* Where ACCEPT was lost, the first frame says as much. */
  if (l->state == CONFIRMING && !accepted(u, l)) return;
  if (l->state != UP || len == HEADER) return;
  if (r->link != l) end_run(u, r);
  l->carried = true;
  r->link = l;
  r->frames[r->n++] = (qpq_frame){ .link = l->number, .flags = QPQ_FRAME_BORROWED, .buf = { .data = packet + HEADER, .len = len - HEADER } };
}

/* Takes what has arrived at a socket, up to one batch: the others get their turn as well. */
void receive(udp *u, size_t socket) {
  address from[BATCH];
  run r = { .link = NULL, .n = 0 };
#ifdef __linux__
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  memset(messages, 0, sizeof messages);
  for (size_t i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){ u->packets[i], MAX_DATAGRAM };
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &from[i];
    messages[i].msg_hdr.msg_namelen = sizeof from[i];
  }
  int n = recvmmsg(u->sockets[socket].fd, messages, BATCH, MSG_DONTWAIT, NULL);
  for (int i = 0; i < n; i++) take(u, socket, &from[i], u->packets[i], messages[i].msg_len, &r);
#else
  for (size_t i = 0; i < BATCH; i++) {
    socklen_t room = sizeof from[i];
    ssize_t len = recvfrom(u->sockets[socket].fd, u->packets[i], MAX_DATAGRAM, MSG_DONTWAIT, &from[i].any, &room);
    if (len < 0) break;
    take(u, socket, &from[i], u->packets[i], (size_t)len, &r);
  }
#endif
  end_run(u, &r);
}
