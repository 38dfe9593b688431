/* What the bench's C programs need of AMQP 0-9-1: frames to write and to read, and an open channel. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { METHOD = 1, HEADER = 2, BODY = 3, FRAME_HEAD = 7, FRAME_END = 0xce };

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
  exit(1);
}

/* What is to be sent. */
static unsigned char out[4096];
static size_t length;

static inline void put(uint64_t value, int bytes) {
  while (bytes-- > 0) out[length++] = value >> 8 * bytes;
}

static inline void put_text(const char *text, size_t size, int bytes_of_size) {
  put(size, bytes_of_size);
  memcpy(out + length, text, size);
  length += size;
}

static inline void put_short_text(const char *text) { put_text(text, strlen(text), 1); }

/* @returns where it begins, for end_frame */
static inline size_t begin_frame(int type, int channel) {
  size_t begin = length;
  put(type, 1), put(channel, 2), put(0, 4);
  return begin;
}

static inline void end_frame(size_t begin) {
  uint32_t size = htonl(length - begin - FRAME_HEAD);
  memcpy(out + begin + 3, &size, 4);
  put(FRAME_END, 1);
}

static inline size_t begin_method(int channel, int class_id, int method_id) {
  size_t begin = begin_frame(METHOD, channel);
  put(class_id, 2), put(method_id, 2);
  return begin;
}

static inline void write_all(int to, const unsigned char *bytes, size_t size) {
  while (size > 0) {
    ssize_t count = write(to, bytes, size);
    if (count <= 0) fail("write");
    bytes += count, size -= count;
  }
}

static inline void send_all(int to) {
  write_all(to, out, length);
  length = 0;
}

static unsigned char in[131072 + 8];

static inline uint64_t get(const unsigned char *from, int bytes) {
  uint64_t value = 0;
  while (bytes-- > 0) value = value << 8 | *from++;
  return value;
}

static inline void read_all(int from, unsigned char *to, size_t size) {
  while (size > 0) {
    ssize_t count = read(from, to, size);
    if (count <= 0) fail("the broker has closed the connection");
    to += count, size -= count;
  }
}

/* Reads a frame into `in`. @returns its type */
static inline int read_frame(int from) {
  read_all(from, in, FRAME_HEAD);
  size_t size = get(in + 3, 4);
  if (size + 1 > sizeof in - FRAME_HEAD) fail("a frame is too long");
  read_all(from, in + FRAME_HEAD, size + 1);
  return in[0];
}

static inline void expect(int from, int class_id, int method_id) {
  const unsigned char *method = in + FRAME_HEAD;
  int type = read_frame(from);
  if (type == METHOD && method[1] == class_id && method[3] == method_id) return;
  fprintf(stderr, "%s: waits for %d.%d, got type %d, %d.%d\n", program_invocation_short_name,
          class_id, method_id, type, method[1], method[3]);
  exit(1);
}

static inline int open_channel(int port) {
  int to = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (connect(to, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  memcpy(out, "AMQP\0\0\x09\x01", length = 8);
  send_all(to);
  expect(to, 10, 10); /* start */
  size_t frame = begin_method(0, 10, 11);
  put(0, 4), put_short_text("PLAIN"), put_text("\0guest\0guest", 12, 4), put_short_text("en_US");
  end_frame(frame);
  send_all(to);
  expect(to, 10, 30); /* tune: what is proposed, without heartbeats */
  unsigned char limits[6];
  memcpy(limits, in + FRAME_HEAD + 4, 6);
  frame = begin_method(0, 10, 31);
  for (int i = 0; i < 6; i++) put(limits[i], 1);
  put(0, 2);
  end_frame(frame);
  frame = begin_method(0, 10, 40); /* open */
  put_short_text("/"), put(0, 1), put(0, 1);
  end_frame(frame);
  send_all(to);
  expect(to, 10, 41);
  frame = begin_method(1, 20, 10);
  put(0, 1);
  end_frame(frame);
  send_all(to);
  expect(to, 20, 11);
  return to;
}

static inline double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}
