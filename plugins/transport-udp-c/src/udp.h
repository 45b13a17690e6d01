/* transport-udp-c: frames as UDP datagrams. What the files of this plugin share.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * One thread does all I/O and all calls to the host. The host's threads only change what stands under `lock`, and wake that
 * thread. The host is never called with the lock held, so neither side ever waits for the other.
 */
#ifndef UDP_H
#define UDP_H

#include "qpq_plugin.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What each datagram begins with: its kind and the number that the dialling side chose for the link. */
enum { DIAL = 1, CHALLENGE, CONFIRM, ACCEPT, DATA, BYE };
enum {
  HEADER = 1 + 8,
  COOKIE = 8,          /* in CHALLENGE and CONFIRM, after the header */
  DIAL_SIZE = 64,      /* a DIAL is filled up to this, so that its answer is smaller: nobody's flood grows here */
  MAX_FRAME = 1200,    /* fits into any path of the internet, header included */
  MAX_DATAGRAM = 2048, /* room for one; longer ones are cut, and dropped */
};

enum {
  MAX_QUEUED_FRAMES = 1024,    /* for each link and direction */
  MAX_QUEUED_BYTES = 8 << 20,  /* the same */
  MAX_SOCKETS = 16,            /* addresses to listen at, and two to dial from */
  MAX_DIALS = 64,              /* under way at a time */
  BATCH = 64,                  /* datagrams for each system call */
  BUCKETS = 1024,              /* of the tables of links */
  MAX_SILENT_PER_ADDRESS = 8,  /* inbound links of one address that have not carried a frame yet: an honest dialler sends one
                                  at once, and whoever keeps silent holds a place of the host's few for newcomers */
  MAX_BYES_PER_SECOND = 100,   /* answers to datagrams of links that are unknown here */
};

/* Times in milliseconds. */
enum {
  RETRY_MS = 250,         /* DIAL and CONFIRM are repeated, since either may be lost */
  DIAL_MS = 5000,         /* a dial that takes longer has failed */
  FIRST_FRAME_MS = 10000, /* a link that never carried a frame is given up after so long */
  CLOSE_MS = 1000,        /* what was accepted may take so long to leave before a link is closed */
  COOKIE_MS = 8000,       /* a cookie is good for once to twice as long */
};

/* A frame under way, with the header in front. */
typedef struct frame {
  struct frame *next;
  size_t len; /* of the frame alone */
  uint8_t bytes[];
} frame;

typedef struct queue {
  frame *head, **tail;
  size_t frames, bytes;
} queue;

typedef union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} address;

typedef enum { DIALLING, CONFIRMING, UP } state;

typedef struct link_ {
  struct link_ *next, *next_by_number, *next_by_wire, *next_todo;
  uint64_t number; /* for the host */
  uint64_t wire;   /* in the header of each datagram */
  address remote;
  int fd;
  state state;
  bool outbound;
  uint64_t op;     /* the dial that waits for an answer, or 0 */
  uint64_t cookie; /* while CONFIRMING */
  uint64_t since, heard, retry_at;
  bool carried;    /* a frame came over it */
  queue in;        /* what the host had no room for; the thread's own */
  /* From here on under `lock`. */
  queue out;
  bool host_waits; /* the host is owed an on_writable */
  bool resumed;    /* the host has room again */
  bool in_todo;
  bool closing;
  uint64_t close_by;
} link_;

typedef struct settings {
  uint64_t max_links, max_links_per_address, idle_ms;
} settings;

typedef struct counters {
  uint64_t datagrams_in, datagrams_out, bytes_in, bytes_out;
  uint64_t malformed, unknown, challenged, bad_cookies, refused; /* of what others sent */
  uint64_t dropped_in, dropped_out;                              /* no room, or the system refused */
} counters;

typedef struct udp {
  const qpq_host *host;
  const qpq_host_transport *transport;
  settings settings;
  uint8_t secret[16]; /* for cookies and for the tables */
  pthread_t thread;
  bool started;
  int wake[2]; /* a pipe: a byte in it wakes the thread */
  uint64_t timers_at; /* when the thread looks at all links again */
  uint64_t byes, byes_since;
  uint8_t packets[BATCH][MAX_DATAGRAM]; /* the thread's, for what comes in */

  pthread_mutex_t lock;
  struct {
    int fd;
    bool listens, blocked;
    int family;
  } sockets[MAX_SOCKETS];
  size_t n_sockets;
  link_ *links, *todo;
  link_ *by_number[BUCKETS], *by_wire[BUCKETS];
  uint64_t n_links, n_dials, last_number;
  bool woken, stopping, quiescing;
  uint64_t quiesce_op, quiesce_by;
  counters counters; /* written by the thread alone */
} udp;

/* wire.c */
uint64_t now_ms(void);
bool random_bytes(void *out, size_t len);
void put_u64(uint8_t *out, uint64_t value);
uint64_t get_u64(const uint8_t *in);
uint64_t siphash(const uint8_t key[16], const uint8_t *in, size_t len);
uint64_t cookie_for(const udp *u, const address *remote, uint64_t wire, uint64_t epoch);
bool same_address(const address *a, const address *b);
bool same_host(const address *a, const address *b);
socklen_t address_len(const address *a);
bool parse_uri(qpq_str uri, address *out);
size_t format_uri(const address *a, char out[80]);
qpq_str str(const char *text);

/* links.c. All but queue_* with the lock held. */
void queue_init(queue *q);
bool queue_push(queue *q, uint64_t wire, const uint8_t *data, size_t len);
void queue_pop(queue *q);
void queue_clear(queue *q);
link_ *link_new(udp *u, const address *remote, uint64_t wire, int fd, bool outbound);
link_ *link_by_number(udp *u, uint64_t number);
link_ *link_by_wire(udp *u, const address *remote, uint64_t wire);
void link_remove(udp *u, link_ *l);
void link_free(link_ *l);
uint64_t links_from(const udp *u, const address *remote);
uint64_t silent_from(const udp *u, const address *remote);
void todo(udp *u, link_ *l);
void wake(udp *u);

/* receive.c. The thread's. */
void receive(udp *u, size_t socket);
void deliver_waiting(udp *u, link_ *l);
void send_control(udp *u, int fd, const address *to, uint8_t kind, uint64_t wire, const uint64_t *cookie);

/* loop.c. The thread's. */
void *loop(void *u);
void flush(udp *u, link_ *l);
void down(udp *u, link_ *l, const char *reason);

#endif
