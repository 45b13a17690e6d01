/* What the parts of transport-example share. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include "qpq_plugin.h"

#include <pthread.h>
#include <sys/socket.h>

#define SCHEME "example://"
#define MAX_FRAME 65536u          /* the largest frame, in bytes */
#define MAX_QUEUED_FRAMES 1024u   /* of one link; the rules allow no more */
#define MAX_QUEUED_BYTES (8u << 20)
#define MAX_LINKS 256u            /* at the same time, with dials under way */
#define MAX_LISTENERS 16u
#define MAX_URI 128u              /* the longest URI, in bytes */
#define DIAL_MS 5000              /* time for a dialled link to come up */
#define LINGER_MS 1000            /* time for a link that ends */
#define HEADER 4                  /* bytes of the length before a frame, little-endian */

typedef struct frame { struct frame *next; qpq_buf buf; uint8_t header[HEADER]; } frame;

typedef struct conn {
  struct conn *next;
  uint64_t id, op;                /* op: the dial that made it, or 0 */
  int fd;
  int connecting;                 /* the dial is under way, the link isn't up */
  char remote[MAX_URI];
  /* What is to be sent. */
  frame *first, *last;
  size_t frames, bytes, written;  /* written: bytes of the first frame, with its header */
  int host_waits;                 /* a `send` returned short: on_writable is owed */
  /* What came in: `have` bytes of frames. */
  uint8_t *in;
  size_t have;
  int stalled, resumed;           /* the host took less than all; `resume` came */
  /* The end. */
  int closing, peer_done, write_done, dead;
  int64_t deadline;               /* of the dial, or of the end; 0: none */
  char reason[96];
} conn;

typedef struct instance {
  const qpq_host *host;
  const qpq_host_transport *events;
  pthread_mutex_t lock;           /* guards everything below */
  pthread_t thread;
  int started, stop, ending, wake[2];
  uint64_t quiesce_op;            /* to be answered once no link is left, or at quiesce_deadline */
  int64_t quiesce_deadline;
  uint64_t next_link;
  conn *links;
  unsigned link_count, listener_count;
  int listeners[MAX_LISTENERS];
} instance;

static inline void lock(instance *self) { pthread_mutex_lock(&self->lock); }
static inline void unlock(instance *self) { pthread_mutex_unlock(&self->lock); }

/* address.c: the socket address of a URI, and its length, or 0 when it is none; and the other way round. */
socklen_t parse_uri(qpq_str uri, struct sockaddr_storage *out);
void print_uri(const struct sockaddr_storage *address, char out[MAX_URI]);

/* work.c */
void *work(void *instance); /* the thread, from start to stop */
int64_t now_ms(void);
void answer(instance *self, uint64_t op, qpq_status status, const char *text);
/* Under the lock: */
conn *find(instance *self, uint64_t id); /* NULL: there is none */
conn *add(instance *self, int fd, const struct sockaddr_storage *remote, uint64_t op); /* NULL: no room, and fd is closed */
void end_link(conn *l, int64_t patience_ms, const char *reason, size_t len);

#endif
