/*
 * A broker that keeps nothing: it confirms what it has read, at once, and forgets it. What a publisher
 * reaches here is the most that it can reach anywhere.
 *
 *   nothing
 *
 * Prints its port. It has one connection at a time, and knows what go/peer.go and peer.c ask for.
 */
#include "amqp.h"

static void answer(int to, size_t frame) {
  end_frame(frame);
  send_all(to);
}

/* @returns whether it was a publish */
static int take_method(int to, int channel, const unsigned char *method) {
  switch (get(method, 4)) {
    case 10 << 16 | 11: { /* start-ok: tune, without heartbeats */
      size_t frame = begin_method(channel, 10, 30);
      put(2047, 2), put(131072, 4), put(0, 2);
      answer(to, frame);
      return 0;
    }
    case 10 << 16 | 40: { /* open */
      size_t frame = begin_method(channel, 10, 41);
      put(0, 1);
      answer(to, frame);
      return 0;
    }
    case 20 << 16 | 10: { /* channel.open */
      size_t frame = begin_method(channel, 20, 11);
      put(0, 4);
      answer(to, frame);
      return 0;
    }
    case 85 << 16 | 10: /* confirm.select */
      answer(to, begin_method(channel, 85, 11));
      return 0;
    default: return get(method, 4) == (60 << 16 | 40);
  }
}

static void serve(int to) {
  static unsigned char buffer[1 << 20];
  size_t have = 0;
  for (uint64_t tag = 0, confirmed = 0;;) {
    ssize_t count = read(to, buffer + have, sizeof buffer - have);
    if (count <= 0) return;
    have += count;
    const unsigned char *at = buffer, *end = buffer + have;
    while (end - at > FRAME_HEAD && (size_t)(end - at) > FRAME_HEAD + get(at + 3, 4)) {
      if (at[0] == METHOD) tag += take_method(to, get(at + 1, 2), at + FRAME_HEAD);
      at += FRAME_HEAD + get(at + 3, 4) + 1;
    }
    memmove(buffer, at, have = end - at);
    if (tag == confirmed) continue;
    size_t frame = begin_method(1, 60, 80);
    put(confirmed = tag, 8), put(1, 1); /* with all before */
    answer(to, frame);
  }
}

static void greet(int to) {
  int on = 1;
  setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  read_all(to, in, 8);
  size_t frame = begin_method(0, 10, 10);
  put(0, 1), put(9, 1), put(0, 4), put_text("PLAIN", 5, 4), put_text("en_US", 5, 4);
  answer(to, frame);
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 16) < 0) fail("listen");
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    int to = accept(listener, NULL, NULL);
    if (to < 0) fail("accept");
    greet(to);
    serve(to);
    close(to);
  }
}
