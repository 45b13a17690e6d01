/* The plugin's one thread: waits for datagrams, for the host, and for timers. */
#define _GNU_SOURCE
#include "udp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Gives frames that were not sent back to the host. */
static void hand_back(udp *u, link_ *l) {
  pthread_mutex_lock(&u->lock);
  queue rest = l->out;
  if (rest.head == NULL) rest.tail = &rest.head;
  queue_init(&l->out);
  pthread_mutex_unlock(&u->lock);
  while (rest.head != NULL) {
    qpq_frame frames[BATCH];
    size_t n = 0;
    for (frame *f = rest.head; f != NULL && n < BATCH; f = f->next)
      frames[n++] = (qpq_frame){ .link = l->number, .flags = QPQ_FRAME_BORROWED, .buf = { .data = f->bytes + HEADER, .len = f->len } };
    u->transport->on_unsent(u->host->ctx, frames, n);
    for (size_t i = 0; i < n; i++) queue_pop(&rest);
  }
}

/* Ends a link: the host hears of it, or of the dial that failed. The link is freed. */
void down(udp *u, link_ *l, const char *reason) {
  pthread_mutex_lock(&u->lock);
  link_remove(u, l);
  pthread_mutex_unlock(&u->lock);
  if (l->state == UP) {
    hand_back(u, l);
    qpq_link_event event = { .size = sizeof event, .kind = QPQ_LINK_DOWN, .link = l->number, .reason = str(reason) };
    u->transport->on_link(u->host->ctx, &event);
  } else {
    u->host->op_done(u->host->ctx, l->op, QPQ_UNREACHABLE, str(reason));
  }
  link_free(l);
}

static size_t socket_of(const udp *u, int fd) {
  size_t at = 0;
  while (at + 1 < u->n_sockets && u->sockets[at].fd != fd) at++;
  return at;
}

/* Sends up to n datagrams; returns how many are done with, sent or refused by the system, and whether the socket is full. */
static size_t send_batch(udp *u, link_ *l, frame **frames, size_t n, bool *full) {
  ssize_t sent;
#ifdef __linux__
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  memset(messages, 0, n * sizeof messages[0]);
  for (size_t i = 0; i < n; i++) {
    parts[i] = (struct iovec){ frames[i]->bytes, HEADER + frames[i]->len };
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &l->remote;
    messages[i].msg_hdr.msg_namelen = address_len(&l->remote);
  }
  sent = sendmmsg(l->fd, messages, (unsigned)n, MSG_DONTWAIT);
#else
  sent = sendto(l->fd, frames[0]->bytes, HEADER + frames[0]->len, MSG_DONTWAIT, &l->remote.any, address_len(&l->remote)) < 0 ? -1 : 1;
#endif
  *full = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS);
  if (*full) return 0;
  if (sent < 0) {
    u->counters.dropped_out++; /* no way there just now: this transport may lose frames */
    return 1;
  }
  for (ssize_t i = 0; i < sent; i++) u->counters.bytes_out += HEADER + frames[i]->len;
  u->counters.datagrams_out += (uint64_t)sent;
  return (size_t)sent;
}

/* Sends what the host gave for a link, as far as the socket takes it. */
void flush(udp *u, link_ *l) {
  for (;;) {
    frame *frames[BATCH];
    size_t n = 0;
    bool full = false;
    pthread_mutex_lock(&u->lock);
    /* Others only append, so the first n stay where they are. */
    for (frame *f = l->out.head; f != NULL && n < BATCH; f = f->next) frames[n++] = f;
    pthread_mutex_unlock(&u->lock);
    if (n == 0) return;
    size_t done = send_batch(u, l, frames, n, &full);
    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < done; i++) queue_pop(&l->out);
    bool low = l->out.frames <= MAX_QUEUED_FRAMES / 2 && l->out.bytes <= MAX_QUEUED_BYTES / 2;
    bool tell = l->host_waits && low;
    if (tell) l->host_waits = false;
    if (full) u->sockets[socket_of(u, l->fd)].blocked = true;
    pthread_mutex_unlock(&u->lock);
    if (tell) u->transport->on_writable(u->host->ctx, l->number);
    if (full) return;
  }
}

/* What the host's threads left to be done for a link. */
static void look_at(udp *u, link_ *l) {
  pthread_mutex_lock(&u->lock);
  bool resumed = l->resumed;
  l->resumed = false;
  pthread_mutex_unlock(&u->lock);
  if (l->state != UP) {
    u->timers_at = 0; /* a new dial */
    return;
  }
  if (resumed) deliver_waiting(u, l);
  flush(u, l);
  pthread_mutex_lock(&u->lock);
  bool over = l->closing && (l->out.frames == 0 || now_ms() >= l->close_by);
  bool closing = l->closing;
  pthread_mutex_unlock(&u->lock);
  if (over) {
    send_control(u, l->fd, &l->remote, BYE, l->wire, NULL);
    send_control(u, l->fd, &l->remote, BYE, l->wire, NULL); /* one of them may be lost */
    down(u, l, "closed by this node");
  } else if (closing) {
    u->timers_at = 0;
  }
}

static void work_off_todo(udp *u) {
  for (;;) {
    pthread_mutex_lock(&u->lock);
    link_ *l = u->todo;
    if (l != NULL) u->todo = l->next_todo, l->in_todo = false;
    pthread_mutex_unlock(&u->lock);
    if (l == NULL) return;
    look_at(u, l);
  }
}

/* One link's timers; returns when to look again. The link may be gone after that. */
static uint64_t link_timers(udp *u, link_ *l, uint64_t now) {
  if (l->state != UP) {
    if (now >= l->since + DIAL_MS) {
      down(u, l, "no answer");
      return UINT64_MAX;
    }
    if (now >= l->retry_at) {
      bool again = l->state == CONFIRMING;
      send_control(u, l->fd, &l->remote, again ? CONFIRM : DIAL, l->wire, again ? &l->cookie : NULL);
      l->retry_at = now + RETRY_MS;
    }
    return l->retry_at;
  }
  uint64_t patience = l->carried ? u->settings.idle_ms : FIRST_FRAME_MS;
  if (now >= l->heard + patience) {
    send_control(u, l->fd, &l->remote, BYE, l->wire, NULL);
    down(u, l, l->carried ? "nothing came for too long" : "no frame ever came");
    return UINT64_MAX;
  }
  if (l->closing && now >= l->close_by) {
    look_at(u, l);
    return UINT64_MAX;
  }
  uint64_t again = l->heard + patience;
  return l->closing && l->close_by < again ? l->close_by : again;
}

static void timers(udp *u) {
  uint64_t now = now_ms(), next = UINT64_MAX;
  if (now < u->timers_at) return;
  pthread_mutex_lock(&u->lock);
  link_ *l = u->links; /* new links are put in front, and only this thread takes any out */
  pthread_mutex_unlock(&u->lock);
  while (l != NULL) {
    link_ *after = l->next;
    uint64_t at = link_timers(u, l, now);
    next = at < next ? at : next;
    l = after;
  }
  u->timers_at = next;
}

/* Answers a quiesce once all is sent and delivered, or its time is over. */
static void quiesce(udp *u) {
  pthread_mutex_lock(&u->lock);
  uint64_t op = u->quiesce_op;
  bool late = now_ms() >= u->quiesce_by, empty = true;
  link_ *first = u->links;
  for (link_ *l = first; l != NULL; l = l->next) empty = empty && l->out.frames == 0 && l->in.frames == 0;
  bool over = op != 0 && (late || empty);
  if (over) u->quiesce_op = 0;
  pthread_mutex_unlock(&u->lock);
  if (!over) return;
  for (link_ *l = first, *after; l != NULL; l = after) {
    after = l->next;
    if (l->state == UP) hand_back(u, l);
    else down(u, l, "the transport is being replaced");
  }
  u->host->op_done(u->host->ctx, op, QPQ_OK, str(""));
}

static int wait_ms(const udp *u, bool quiescing) {
  uint64_t now = now_ms();
  if (quiescing) return 5;
  if (u->timers_at == UINT64_MAX) return -1;
  if (u->timers_at <= now) return 0;
  uint64_t wait = u->timers_at - now;
  return wait > 60000 ? 60000 : (int)wait;
}

static void wait_for_news(udp *u, struct pollfd polled[MAX_SOCKETS + 1], size_t *n) {
  pthread_mutex_lock(&u->lock);
  *n = u->n_sockets;
  for (size_t i = 0; i < *n; i++)
    polled[i + 1] = (struct pollfd){ .fd = u->sockets[i].fd, .events = u->sockets[i].blocked ? POLLIN | POLLOUT : POLLIN };
  bool quiescing = u->quiesce_op != 0, more = u->todo != NULL;
  pthread_mutex_unlock(&u->lock);
  polled[0] = (struct pollfd){ .fd = u->wake[0], .events = POLLIN };
  poll(polled, *n + 1, more ? 0 : wait_ms(u, quiescing));
  if (polled[0].revents == 0) return;
  pthread_mutex_lock(&u->lock);
  char bytes[16];
  while (read(u->wake[0], bytes, sizeof bytes) > 0) {}
  u->woken = false; /* from here on what is left to be done wakes again */
  pthread_mutex_unlock(&u->lock);
}

/* A socket takes datagrams again: all links that wait for it are looked at. */
static void unblock(udp *u, size_t socket) {
  pthread_mutex_lock(&u->lock);
  u->sockets[socket].blocked = false;
  for (link_ *l = u->links; l != NULL; l = l->next)
    if (l->fd == u->sockets[socket].fd && l->out.frames > 0) todo(u, l);
  pthread_mutex_unlock(&u->lock);
}

void *loop(void *argument) {
  udp *u = argument;
  u->timers_at = UINT64_MAX;
  for (;;) {
    struct pollfd polled[MAX_SOCKETS + 1];
    size_t n = 0;
    wait_for_news(u, polled, &n);
    pthread_mutex_lock(&u->lock);
    bool stopping = u->stopping;
    pthread_mutex_unlock(&u->lock);
    if (stopping) break;
    for (size_t i = 0; i < n; i++) {
      if (polled[i + 1].revents & POLLOUT) unblock(u, i);
      if (polled[i + 1].revents & ~POLLOUT) receive(u, i);
    }
    work_off_todo(u);
    timers(u);
    quiesce(u);
  }
  while (u->links != NULL) {
    link_ *l = u->links;
    if (l->state == UP) send_control(u, l->fd, &l->remote, BYE, l->wire, NULL);
    down(u, l, "the transport stops");
  }
  return NULL;
}
