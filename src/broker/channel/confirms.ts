/** The publishes of a channel that are to be confirmed: each is numbered, acked or nacked once. */

import type { ChannelHost, Promised } from "./host.ts";

export class Confirms {
  readonly #session: ChannelHost;
  readonly #channel: number;
  /** The number of the last publish, and of the last one that the client was told about. */
  #published = 0;
  #confirmed = 0;
  /** Those between them that a queue refused, in order. */
  #refused: number[] = [];
  /** Nothing is confirmed any more: its number may be another channel's by now. */
  #ended = false;

  constructor(session: ChannelHost, channel: number) {
    this.#session = session;
    this.#channel = channel;
  }

  /** A message was published: its sender is told what became of it. */
  add(result: "accepted" | "refused" | "unrouted"): void {
    const number = ++this.#published;
    // What no queue got has no commit to wait for.
    if (result === "unrouted" && this.#confirmed === number - 1) {
      return this.#confirmUpTo(number, "nothing");
    }
    if (result === "refused") this.#refused.push(number);
    this.#session.groupCommit.confirm(this);
  }

  /** Everything published so far is safe: tells the publisher. */
  confirm(): void {
    if (this.#ended) return;
    for (const refused of this.#refused.splice(0)) {
      this.#confirmUpTo(refused - 1, "everything");
      this.#session.send(this.#channel, "basic.nack", {
        deliveryTag: refused,
        multiple: false,
        requeue: true, // means nothing to a publisher; RabbitMQ sends it so
      });
      this.#confirmed = refused;
    }
    this.#confirmUpTo(this.#published, "everything");
  }

  /** One acknowledgement for all: what was refused is never among them. */
  #confirmUpTo(last: number, promised: Promised): void {
    if (last <= this.#confirmed) return;
    const multiple = last > this.#confirmed + 1;
    this.#session
      .answerAfterCommit(this.#channel, "basic.ack", { deliveryTag: last, multiple }, promised);
    this.#confirmed = last;
  }

  /** The channel is over. */
  end(): void {
    this.#ended = true;
  }
}
