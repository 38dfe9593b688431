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
#include "amqp.h"
#include <poll.h>

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
