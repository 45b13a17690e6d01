/* Addresses, cookies and numbers on the wire. */
#define _GNU_SOURCE
#include "udp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

qpq_str str(const char *text) { return (qpq_str){ (const uint8_t *)text, strlen(text) }; }

/* Never goes back, unlike the clock on the wall. */
uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool random_bytes(void *out, size_t len) { return getentropy(out, len) == 0; }

void put_u64(uint8_t *out, uint64_t value) {
  for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (56 - 8 * i));
}

uint64_t get_u64(const uint8_t *in) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | in[i];
  return value;
}

static uint64_t get_u64_le(const uint8_t *in) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--) value = value << 8 | in[i];
  return value;
}

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_rounds(uint64_t v[4], int rounds) {
  while (rounds-- > 0) {
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
  }
}

/* SipHash-2-4 (Aumasson, Bernstein, 2012): who doesn't know the key can neither foresee nor forge it. */
uint64_t siphash(const uint8_t key[16], const uint8_t *in, size_t len) {
  uint64_t k0 = get_u64_le(key), k1 = get_u64_le(key + 8);
  uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
  size_t whole = len / 8 * 8;
  for (size_t at = 0; at < whole; at += 8) {
    uint64_t word = get_u64_le(in + at);
    v[3] ^= word, sip_rounds(v, 2), v[0] ^= word;
  }
  uint64_t last = (uint64_t)len << 56;
  for (size_t at = whole; at < len; at++) last |= (uint64_t)in[at] << (8 * (at - whole));
  v[3] ^= last, sip_rounds(v, 2), v[0] ^= last;
  v[2] ^= 0xff, sip_rounds(v, 4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* An address as bytes: 16 of the host, 2 of the port. */
static void address_bytes(const address *a, uint8_t out[18]) {
  memset(out, 0, 18);
  if (a->any.sa_family == AF_INET) {
    memcpy(out, &a->v4.sin_addr, 4);
    memcpy(out + 16, &a->v4.sin_port, 2);
  } else {
    memcpy(out, &a->v6.sin6_addr, 16);
    memcpy(out + 16, &a->v6.sin6_port, 2);
  }
}

/* What a dialler must send back, to show that datagrams to that address reach it. Nothing is remembered meanwhile. */
uint64_t cookie_for(const udp *u, const address *remote, uint64_t wire, uint64_t epoch) {
  uint8_t in[18 + 8 + 8];
  address_bytes(remote, in);
  put_u64(in + 18, wire);
  put_u64(in + 26, epoch);
  return siphash(u->secret, in, sizeof in);
}

bool same_host(const address *a, const address *b) {
  uint8_t x[18], y[18];
  address_bytes(a, x), address_bytes(b, y);
  return a->any.sa_family == b->any.sa_family && memcmp(x, y, 16) == 0;
}

bool same_address(const address *a, const address *b) {
  uint8_t x[18], y[18];
  address_bytes(a, x), address_bytes(b, y);
  return a->any.sa_family == b->any.sa_family && memcmp(x, y, 18) == 0;
}

socklen_t address_len(const address *a) { return a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6; }

/* udp://1.2.3.4:5 or udp://[::1]:5. Names are not looked up: that could block for seconds. */
bool parse_uri(qpq_str uri, address *out) {
  char text[80];
  const size_t scheme = strlen("udp://");
  if (uri.ptr == NULL || uri.len <= scheme || uri.len - scheme >= sizeof text || memcmp(uri.ptr, "udp://", scheme) != 0) return false;
  memcpy(text, uri.ptr + scheme, uri.len - scheme);
  text[uri.len - scheme] = 0;
  if (strlen(text) != uri.len - scheme) return false;
  char *colon = strrchr(text, ':'), *end = NULL;
  if (colon == NULL || colon[1] < '0' || colon[1] > '9') return false;
  unsigned long port = strtoul(colon + 1, &end, 10);
  if (*end != 0 || port > 65535) return false;
  *colon = 0;
  memset(out, 0, sizeof *out);
  if (text[0] == '[' && colon > text && colon[-1] == ']') {
    colon[-1] = 0;
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons((uint16_t)port);
    return inet_pton(AF_INET6, text + 1, &out->v6.sin6_addr) == 1;
  }
  out->v4.sin_family = AF_INET;
  out->v4.sin_port = htons((uint16_t)port);
  return inet_pton(AF_INET, text, &out->v4.sin_addr) == 1;
}

size_t format_uri(const address *a, char out[80]) {
  char host[INET6_ADDRSTRLEN] = "";
  int len;
  if (a->any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
    len = snprintf(out, 80, "udp://%s:%u", host, ntohs(a->v4.sin_port));
  } else {
    inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
    len = snprintf(out, 80, "udp://[%s]:%u", host, ntohs(a->v6.sin6_port));
  }
  return len < 0 ? 0 : (size_t)len;
}
