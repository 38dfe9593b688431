/*
 * The bench's peer that is not the limit: the same work as go/peer.go, with the same output. What it
 * publishes is encoded once, and all that the window admits goes in one write.
 *
 *   peer publish|consume URL QUEUE COUNT WINDOW SIZE [SPREAD]
 *
 * Of the URL it reads the port.
 */
#include "amqp.h"
#include <poll.h>
#include <sys/resource.h>

/* Bytes of a write, about, and of what is read at once: more than the largest frame. */
enum { WRITE = 1 << 16, READ = 1 << 18 };

struct connection {
  int to;
  unsigned char in[READ];
  size_t have;
  /* Messages that are its part, those of them that were sent or received, and confirmed. */
  uint64_t goal, done, confirmed;
  /* Of the delivery that is under way: bytes that are still to come. */
  uint64_t tag, left;
};

static uint64_t window;
/* The message, so often as goes in one write. */
static unsigned char *messages;
static size_t message_size, most;

static void encode_messages(const char *queue, size_t size) {
  size_t frame = begin_method(1, 60, 40);
  put(0, 2), put(0, 1), put_short_text(queue), put(1, 1); /* mandatory */
  end_frame(frame);
  frame = begin_frame(HEADER, 1);
  put(60, 2), put(0, 2), put(size, 8), put(0x9000, 2), put_short_text("text/plain"), put(2, 1);
  end_frame(frame);
  message_size = length + (size > 0 ? size + FRAME_HEAD + 1 : 0);
  most = WRITE / message_size + 1;
  messages = calloc(most, message_size);
  memcpy(messages, out, length);
  if (size > 0) {
    unsigned char *body = messages + length;
    length = 0, put(BODY, 1), put(1, 2), put(size, 4);
    memcpy(body, out, FRAME_HEAD);
    body[FRAME_HEAD + size] = FRAME_END;
  }
  length = 0;
  for (size_t i = 1; i < most; i++) memcpy(messages + i * message_size, messages, message_size);
}

static void publish(struct connection *one) {
  for (;;) {
    uint64_t room = window - (one->done - one->confirmed), rest = one->goal - one->done;
    if (room > rest) room = rest;
    if (room > most) room = most;
    if (room == 0) return;
    write_all(one->to, messages, room * message_size);
    one->done += room;
  }
}

static void confirmed(struct connection *one, const unsigned char *method) {
  if (get(method, 4) != (60 << 16 | 80)) fail("a message was refused");
  if (method[12]) one->confirmed = get(method + 4, 8);
  else one->confirmed++;
}

/* Acknowledges each delivery by itself when all of it is there. */
static void delivered(struct connection *one, int type, const unsigned char *payload, size_t size) {
  if (type == METHOD) one->tag = get(payload + 5 + payload[4], 8);
  else if (type == HEADER) one->left = get(payload + 4, 8);
  else one->left -= size;
  if (type == METHOD || one->left > 0) return;
  size_t frame = begin_method(1, 60, 80);
  put(one->tag, 8), put(0, 1);
  end_frame(frame);
  one->done++;
  if (length + 64 > sizeof out) send_all(one->to);
}

/* Takes the frames that have come. */
static void take(struct connection *one, int is_publishing) {
  ssize_t count = read(one->to, one->in + one->have, READ - one->have);
  if (count <= 0) fail("the broker has closed the connection");
  one->have += count;
  const unsigned char *at = one->in, *end = one->in + one->have;
  while (end - at > FRAME_HEAD) {
    size_t size = get(at + 3, 4);
    if ((size_t)(end - at) < FRAME_HEAD + size + 1) break;
    if (is_publishing) confirmed(one, at + FRAME_HEAD);
    else delivered(one, at[0], at + FRAME_HEAD, size);
    at += FRAME_HEAD + size + 1;
  }
  memmove(one->in, at, one->have = end - at);
  if (is_publishing) publish(one);
  else send_all(one->to);
}

static void consume(int to, const char *queue) {
  size_t frame = begin_method(1, 60, 10);
  put(0, 4), put(window, 2), put(0, 1);
  end_frame(frame);
  send_all(to);
  expect(to, 60, 11);
  frame = begin_method(1, 60, 20);
  put(0, 2), put_short_text(queue), put_short_text("peer"), put(0, 1), put(0, 4);
  end_frame(frame);
  send_all(to);
  expect(to, 60, 21);
}

static void confirm(int to) {
  size_t frame = begin_method(1, 85, 10);
  put(0, 1);
  end_frame(frame);
  send_all(to);
  expect(to, 85, 11);
}

/* The broker has read all that was sent before. */
static void close_channel(int to) {
  size_t frame = begin_method(1, 20, 40);
  put(0, 2), put_short_text(""), put(0, 4);
  end_frame(frame);
  send_all(to);
  expect(to, 20, 41);
}

int main(int count, char **words) {
  if (count < 7) {
    fprintf(stderr, "usage: peer publish|consume URL QUEUE COUNT WINDOW SIZE [SPREAD]\n");
    return 64;
  }
  int is_publishing = strcmp(words[1], "publish") == 0, spread = count > 7 ? atoi(words[7]) : 1;
  uint64_t all = atoll(words[4]), done = 0;
  window = atoi(words[5]) / spread;
  if (window == 0) window = 1;
  encode_messages(words[3], atoi(words[6]));
  struct connection *connections = calloc(spread, sizeof *connections);
  struct pollfd *ends = calloc(spread, sizeof *ends);
  for (int i = 0; i < spread; i++) {
    int to = open_channel(atoi(strrchr(words[2], ':') + 1));
    connections[i].to = to;
    connections[i].goal = all / spread + ((uint64_t)i < all % spread);
    ends[i] = (struct pollfd){.fd = to, .events = POLLIN};
    if (is_publishing) confirm(to);
  }
  double begun = is_publishing ? now_ms() : 0;
  for (int i = 0; i < spread; i++) {
    if (is_publishing) publish(connections + i);
    else consume(connections[i].to, words[3]);
  }
  while (done < all) {
    if (spread > 1 && poll(ends, spread, -1) < 0) fail("poll");
    if (begun == 0) begun = now_ms();
    done = 0;
    for (int i = 0; i < spread; i++) {
      if (spread == 1 || ends[i].revents != 0) take(connections + i, is_publishing);
      done += is_publishing ? connections[i].confirmed : connections[i].done;
    }
  }
  double seconds = (now_ms() - begun) / 1e3;
  if (!is_publishing) close_channel(connections[0].to);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("%.6f %ld 0\n", seconds, used.ru_maxrss);
  return 0;
}
