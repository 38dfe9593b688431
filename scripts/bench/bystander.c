/*
 * Somebody who wants little of a broker: on one connection he sends a transient message each few
 * milliseconds, whether or not those before have come, on another an idle consumer of his gets them.
 * What he himself takes is some microseconds: no runtime, one thread, no memory to clear.
 *
 *   bystander PORT QUEUE PAUSE_MS WARM_MS
 *
 * Until stdin ends. Then prints what each delivery took, in milliseconds, one a line; those of the
 * first WARM_MS are left out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { METHOD = 1, HEADER = 2, BODY = 3, FRAME_HEAD = 7, FRAME_END = 0xce };

static void fail(const char *what) {
  fprintf(stderr, "bystander: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* What is to be sent. */
static unsigned char out[4096];
static size_t length;

static void put(uint64_t value, int bytes) {
  while (bytes-- > 0) out[length++] = value >> 8 * bytes;
}

static void put_text(const char *text, size_t size, int bytes_of_size) {
  put(size, bytes_of_size);
  memcpy(out + length, text, size);
  length += size;
}

static void put_short_text(const char *text) { put_text(text, strlen(text), 1); }

/* @returns where it begins, for end_frame */
static size_t begin_frame(int type, int channel) {
  size_t begin = length;
  put(type, 1), put(channel, 2), put(0, 4);
  return begin;
}

static void end_frame(size_t begin) {
  uint32_t size = htonl(length - begin - FRAME_HEAD);
  memcpy(out + begin + 3, &size, 4);
  put(FRAME_END, 1);
}

static size_t begin_method(int channel, int class_id, int method_id) {
  size_t begin = begin_frame(METHOD, channel);
  put(class_id, 2), put(method_id, 2);
  return begin;
}

static void send_all(int to) {
  for (size_t sent = 0; sent < length;) {
    ssize_t count = write(to, out + sent, length - sent);
    if (count <= 0) fail("write");
    sent += count;
  }
  length = 0;
}

static unsigned char in[131072 + 8];

static void read_all(int from, unsigned char *to, size_t size) {
  while (size > 0) {
    ssize_t count = read(from, to, size);
    if (count <= 0) fail("the broker has closed the connection");
    to += count, size -= count;
  }
}

/* Reads a frame into `in`. @returns its type */
static int read_frame(int from) {
  read_all(from, in, FRAME_HEAD);
  uint32_t size = (uint32_t)in[3] << 24 | in[4] << 16 | in[5] << 8 | in[6];
  if (size + 1 > sizeof in - FRAME_HEAD) fail("a frame is too long");
  read_all(from, in + FRAME_HEAD, size + 1);
  return in[0];
}

static void expect(int from, int class_id, int method_id) {
  const unsigned char *method = in + FRAME_HEAD;
  int type = read_frame(from);
  if (type == METHOD && method[1] == class_id && method[3] == method_id) return;
  fprintf(stderr, "bystander: waits for %d.%d, got type %d, %d.%d\n", class_id, method_id, type,
          method[1], method[3]);
  exit(1);
}

static int open_channel(int port) {
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

static void consume(int to, const char *queue) {
  size_t frame = begin_method(1, 50, 10); /* declare, exclusive */
  put(0, 2), put_short_text(queue), put(4, 1), put(0, 4);
  end_frame(frame);
  send_all(to);
  expect(to, 50, 11);
  frame = begin_method(1, 60, 20); /* consume, without acknowledgements */
  put(0, 2), put_short_text(queue), put(0, 1), put(2, 1), put(0, 4);
  end_frame(frame);
  send_all(to);
  expect(to, 60, 21);
}

static void publish(int to, const char *queue) {
  static const char body[] = "bystander";
  size_t frame = begin_method(1, 60, 40);
  put(0, 2), put(0, 1), put_short_text(queue), put(0, 1);
  end_frame(frame);
  frame = begin_frame(HEADER, 1);
  put(60, 2), put(0, 2), put(strlen(body), 8), put(0, 2);
  end_frame(frame);
  frame = begin_frame(BODY, 1);
  memcpy(out + length, body, strlen(body));
  length += strlen(body);
  end_frame(frame);
  send_all(to);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static struct timespec span(double ms) {
  if (ms < 0) ms = 0;
  return (struct timespec){ms / 1e3, (long)(ms * 1e6) % 1000000000};
}

int main(int count, char **words) {
  if (count != 5) {
    fprintf(stderr, "usage: bystander PORT QUEUE PAUSE_MS WARM_MS\n");
    return 64;
  }
  int port = atoi(words[1]), pause = atoi(words[3]), warm = atoi(words[4]);
  const char *queue = words[2];
  int from = open_channel(port), to = open_channel(port);
  consume(to, queue);
  enum { MOST = 1 << 20 };
  static double times[MOST]; /* when each was sent, then what it took */
  size_t sent = 0, received = 0, first = 0;
  double begun = now_ms();
  struct pollfd ends[] = {{.fd = to, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  while (ends[1].revents == 0 && sent < MOST) {
    struct timespec rest = span(begun + pause * sent - now_ms());
    if (ppoll(ends, 2, &rest, NULL) < 0) fail("poll");
    if (ends[0].revents != 0) {
      expect(to, 60, 60);
      if (read_frame(to) != HEADER || read_frame(to) != BODY) fail("this is no delivery");
      double now = now_ms();
      if (times[received] - begun < warm) first = received + 1;
      times[received] = now - times[received];
      received++;
    }
    double now = now_ms();
    if (now < begun + pause * sent) continue;
    times[sent++] = now;
    publish(from, queue);
  }
  for (size_t i = first; i < received; i++) printf("%.4f\n", times[i]);
  return 0;
}
