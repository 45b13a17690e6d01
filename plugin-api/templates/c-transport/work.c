/* The thread that does all the work. The lock is never held while the host is called: it may be calling us just then. */
#define _GNU_SOURCE
#include "transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32 /* frames handed over in one call */

static qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void answer(instance *self, uint64_t op, qpq_status status, const char *text) {
  self->host->op_done(self->host->ctx, op, status, str(text));
}

conn *find(instance *self, uint64_t id) {
  conn *l = self->links;
  while (l && l->id != id) l = l->next;
  return l;
}

static void release(frame *f) {
  if (f->buf.release) f->buf.release(f->buf.owner);
  free(f);
}

/* Ends a link once its queue is sent, or when the time is over. Under the lock. */
void end_link(conn *l, int64_t patience_ms, const char *reason, size_t len) {
  if (l->closing || l->dead) return;
  l->closing = 1;
  l->deadline = now_ms() + patience_ms;
  snprintf(l->reason, sizeof l->reason, "%.*s", (int)(len < 90 ? len : 90), reason);
}

/* A link for a connection, in the list. NULL: no room, and fd is closed. Under the lock. */
conn *add(instance *self, int fd, const struct sockaddr_storage *remote, uint64_t op) {
  conn *l = self->link_count < MAX_LINKS && !self->ending ? calloc(1, sizeof *l) : NULL;
  if (l) l->in = malloc(HEADER + MAX_FRAME);
  if (!l || !l->in) { free(l); close(fd); return NULL; }
  int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  l->fd = fd;
  l->op = op;
  l->id = ++self->next_link;
  print_uri(remote, l->remote);
  l->next = self->links;
  self->links = l;
  self->link_count++;
  return l;
}

/* Reports that a link is up. A link that the host refuses is dead. */
static qpq_status report_up(instance *self, conn *l) {
  qpq_link_event event = { .size = sizeof event, .kind = QPQ_LINK_UP, .link = l->id, .op = l->op,
    .flags = QPQ_LINK_RELIABLE | (l->op ? QPQ_LINK_OUTBOUND : 0), .max_frame = MAX_FRAME, .remote = str(l->remote) };
  qpq_status status = self->events->on_link(self->host->ctx, &event);
  lock(self);
  if (status != QPQ_OK) l->dead = 2; /* 2: the host doesn't know it, so it hears of no end */
  unlock(self);
  return status;
}

static void accept_all(instance *self, int listener) {
  for (;;) {
    struct sockaddr_storage remote;
    socklen_t len = sizeof remote;
    int fd = accept4(listener, (struct sockaddr *)&remote, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    lock(self);
    conn *l = add(self, fd, &remote, 0);
    unlock(self);
    if (l) report_up(self, l);
  }
}

/* The dial is decided: up, or not. */
static void connected(instance *self, conn *l, int error) {
  lock(self);
  l->connecting = 0;
  l->deadline = 0;
  if (error) l->dead = 2;
  unlock(self);
  if (error) answer(self, l->op, error == ETIMEDOUT ? QPQ_TIMEOUT : QPQ_UNREACHABLE, strerror(error));
  else if (report_up(self, l) == QPQ_OK) answer(self, l->op, QPQ_OK, "");
  else answer(self, l->op, QPQ_REFUSED, "the host does not want this link");
}

/* Writes what the socket takes; then releases what was sent and wakes the host, both without the lock. */
static void write_out(instance *self, conn *l) {
  frame *done = NULL;
  int writable = 0;
  lock(self);
  while (l->first && !l->dead) {
    struct iovec parts[2 * BATCH];
    int n = 0;
    size_t skip = l->written;
    for (frame *f = l->first; f && n < 2 * BATCH; f = f->next) {
      size_t in_header = skip < HEADER ? skip : HEADER;
      parts[n++] = (struct iovec){ f->header + in_header, HEADER - in_header };
      parts[n++] = (struct iovec){ (uint8_t *)f->buf.data + (skip - in_header), f->buf.len - (skip - in_header) };
      skip = 0;
    }
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)n };
    ssize_t sent = sendmsg(l->fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        l->dead = 1;
        if (!l->reason[0]) snprintf(l->reason, sizeof l->reason, "%s", strerror(errno));
      }
      break;
    }
    l->written += (size_t)sent;
    while (l->first && l->written >= HEADER + l->first->buf.len) {
      frame *f = l->first;
      l->written -= HEADER + f->buf.len;
      l->first = f->next;
      if (!l->first) l->last = NULL;
      l->frames--;
      l->bytes -= f->buf.len;
      f->next = done;
      done = f;
    }
  }
  if (l->host_waits && l->frames <= MAX_QUEUED_FRAMES / 2 && l->bytes <= MAX_QUEUED_BYTES / 2) {
    l->host_waits = 0;
    writable = 1;
  }
  if (l->closing && !l->first && !l->write_done && !l->dead) {
    l->write_done = 1;
    shutdown(l->fd, SHUT_WR); /* the other end reads what is under way, then answers with its own end */
  }
  unlock(self);
  while (done) { frame *f = done; done = f->next; release(f); }
  if (writable) self->events->on_writable(self->host->ctx, l->id);
}

/* Hands over the whole frames that came in; 0 when the host took less, and has to call `resume` first. */
static int deliver(instance *self, conn *l) {
  for (;;) {
    qpq_frame frames[BATCH];
    size_t n = 0, at = 0;
    for (; n < BATCH && l->have - at >= HEADER; n++) {
      const uint8_t *h = l->in + at;
      uint32_t len = h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
      if (len > MAX_FRAME) { /* from outside: never trusted */
        lock(self);
        l->dead = 1;
        snprintf(l->reason, sizeof l->reason, "the other end announced a frame of %u bytes", len);
        unlock(self);
        return 1;
      }
      if (l->have - at - HEADER < len) break;
      frames[n] = (qpq_frame){ .link = l->id, .flags = QPQ_FRAME_BORROWED, .buf = { .data = h + HEADER, .len = len } };
      at += HEADER + len;
    }
    if (!n) return 1;
    lock(self);
    l->resumed = 0;
    unlock(self);
    size_t taken = self->events->on_frames(self->host->ctx, frames, n);
    at = 0;
    for (size_t i = 0; i < taken; i++) at += HEADER + frames[i].buf.len;
    memmove(l->in, l->in + at, l->have - at);
    l->have -= at;
    if (taken == n) continue;
    lock(self);
    l->stalled = !l->resumed; /* `resume` may have come before on_frames returned */
    int stalled = l->stalled;
    unlock(self);
    if (stalled) return 0;
  }
}

/* Reads at most 16 times, since others want their turn too. What was read is handed over at once: no event tells of it again. */
static void read_in(instance *self, conn *l) {
  for (int rounds = 0; deliver(self, l) && !l->dead && rounds < 16; rounds++) {
    ssize_t got = recv(l->fd, l->in + l->have, HEADER + MAX_FRAME - l->have, 0);
    if (got > 0) { l->have += (size_t)got; continue; }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    lock(self);
    if (got == 0) {
      l->peer_done = 1;
      end_link(l, LINGER_MS, "the other end closed the link", 29);
    } else {
      l->dead = 1;
      if (!l->reason[0]) snprintf(l->reason, sizeof l->reason, "%s", strerror(errno));
    }
    unlock(self);
    return;
  }
}

/* Takes a link that has ended out of the list, hands back what wasn't sent, and reports it. */
static void bury(instance *self, conn *l, int silent) {
  lock(self);
  conn **at = &self->links;
  while (*at != l) at = &(*at)->next;
  *at = l->next;
  self->link_count--;
  unlock(self);
  close(l->fd);
  for (frame *f = l->first, *next; f; f = next) {
    next = f->next;
    qpq_frame unsent = { .link = l->id, .buf = f->buf };
    if (silent || l->dead == 2) { release(f); continue; }
    self->events->on_unsent(self->host->ctx, &unsent, 1); /* the bytes belong to the host again */
    free(f);
  }
  qpq_link_event down = { .size = sizeof down, .kind = QPQ_LINK_DOWN, .link = l->id, .reason = str(l->reason) };
  if (!silent && l->dead != 2) self->events->on_link(self->host->ctx, &down);
  free(l->in);
  free(l);
}

/* One link's turn. */
static void serve(instance *self, conn *l, short events) {
  if (l->connecting) {
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (events) connected(self, l, error);
    else if (now_ms() >= l->deadline) connected(self, l, ETIMEDOUT);
    if (l->connecting) return;
  }
  if (!l->dead) write_out(self, l);
  lock(self);
  int readable = !l->dead && !l->peer_done && !l->stalled;
  unlock(self);
  if (readable) read_in(self, l);
  if (!l->dead) write_out(self, l); /* what was read may have been the end */
  lock(self);
  int over = l->dead || (l->closing && ((l->peer_done && l->write_done) || now_ms() >= l->deadline));
  unlock(self);
  if (over) bury(self, l, 0);
}

void *work(void *argument) {
  instance *self = argument;
  struct pollfd polls[1 + MAX_LISTENERS + MAX_LINKS];
  conn *links[MAX_LINKS];
  for (;;) {
    nfds_t n = 1;
    unsigned listeners, count = 0;
    int64_t due = INT64_MAX, now = now_ms();
    uint64_t quiesced = 0;
    lock(self);
    if (self->stop) break;
    polls[0] = (struct pollfd){ .fd = self->wake[0], .events = POLLIN };
    if (self->ending) {
      while (self->listener_count) close(self->listeners[--self->listener_count]);
      if (self->quiesce_op && (!self->links || now >= self->quiesce_deadline)) {
        quiesced = self->quiesce_op;
        self->quiesce_op = 0;
      } else if (self->quiesce_op) due = self->quiesce_deadline;
    }
    listeners = self->listener_count;
    for (unsigned i = 0; i < listeners; i++) polls[n++] = (struct pollfd){ .fd = self->listeners[i], .events = POLLIN };
    for (conn *l = self->links; l; l = l->next) {
      short events = (short)((l->connecting || l->first ? POLLOUT : 0) |
                             (l->connecting || l->peer_done || l->stalled ? 0 : POLLIN));
      /* Nothing to ask for: an error would only be reported again and again. */
      polls[n++] = (struct pollfd){ .fd = events ? l->fd : -1, .events = events };
      if (l->deadline && l->deadline < due) due = l->deadline;
      links[count++] = l;
    }
    unlock(self);
    if (quiesced) answer(self, quiesced, QPQ_OK, "");
    now = now_ms();
    int wait = due == INT64_MAX ? -1 : due <= now ? 0 : due - now > 60000 ? 60000 : (int)(due - now);
    if (poll(polls, n, wait) < 0 && errno != EINTR) {
      self->host->fail(self->host->ctx, QPQ_FAILED, str("poll failed"));
      return NULL;
    }
    char drop[64];
    while (read(self->wake[0], drop, sizeof drop) > 0) {}
    for (unsigned i = 0; i < listeners; i++) if (polls[1 + i].revents) accept_all(self, polls[1 + i].fd);
    for (unsigned i = 0; i < count; i++) serve(self, links[i], polls[1 + listeners + i].revents);
  }
  /* Stopped, with the lock held: operations get their answers while the host still listens. */
  uint64_t quiesce_op = self->quiesce_op;
  self->quiesce_op = 0;
  unlock(self);
  if (quiesce_op) answer(self, quiesce_op, QPQ_CLOSED, "stopped");
  while (self->links) {
    conn *l = self->links;
    if (l->connecting) { l->dead = 2; answer(self, l->op, QPQ_CLOSED, "stopped"); }
    bury(self, l, 1);
  }
  while (self->listener_count) close(self->listeners[--self->listener_count]);
  return NULL;
}
