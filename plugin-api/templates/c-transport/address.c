/* Addresses: URIs such as example://192.0.2.1:4433 or example://[2001:db8::1]:4433. No names: looking one up would block. */
#include "transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

socklen_t parse_uri(qpq_str uri, struct sockaddr_storage *out) {
  char text[MAX_URI];
  size_t head = strlen(SCHEME);
  memset(out, 0, sizeof *out);
  if (uri.len <= head || uri.len >= sizeof text || !uri.ptr || memcmp(uri.ptr, SCHEME, head)) return 0;
  memcpy(text, uri.ptr + head, uri.len - head);
  text[uri.len - head] = 0;
  if (strlen(text) != uri.len - head) return 0; /* a zero byte inside */
  char *colon = strrchr(text, ':'), *end;
  if (!colon || colon[1] < '0' || colon[1] > '9') return 0;
  unsigned long port = strtoul(colon + 1, &end, 10);
  if (*end || port > 65535) return 0;
  *colon = 0;
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return sizeof *v4;
  }
  size_t len = strlen(text);
  if (len < 2 || text[0] != '[' || text[len - 1] != ']') return 0;
  text[len - 1] = 0;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
  if (inet_pton(AF_INET6, text + 1, &v6->sin6_addr) != 1) return 0;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons((uint16_t)port);
  return sizeof *v6;
}

void print_uri(const struct sockaddr_storage *address, char out[MAX_URI]) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(out, MAX_URI, SCHEME "%s:%u", host, ntohs(v4->sin_port));
  } else {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(out, MAX_URI, SCHEME "[%s]:%u", host, ntohs(v6->sin6_port));
  }
}
