/** Dead letters: where a message goes that its queue gives up, and what is written on it. */

import { Content } from "../message/content.ts";
import { shownCopies } from "../message/copies.ts";
import { ContentHeader } from "../message/content_header.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import { type Field, type Table } from "../wire/fields.ts";
import { type Message, type Publication, publicationOf } from "../message/message.ts";
import { addressOf, readAddress } from "../message/address.ts";
import { deathHeaders, type DeathReason, isCycle, recordDeath } from "../message/deaths.ts";
import type { Queue } from "../queue/queue.ts";
import type { Slice, Work } from "../../time/scheduler.ts";
import type { VirtualHost } from "./virtual_host.ts";

/** Milliseconds after which a letter is tried again whose target was missing or full. */
const RETRY_MS = 1_000;

/** Queues that take a letter in one go. Where there are more it goes on after what that has caused. */
const PIECE = 256;

/** Letters that may wait, of all queues together, before those who cause more are held back. */
const MOST_WAITING = 10_000;

interface DeadLetter {
  queue: Queue;
  message: Message;
  reason: DeathReason;
  /** Queues that have it, while others refuse it. */
  readonly takenBy: Set<Queue>;
}

interface Level {
  letters: DeadLetter[];
  /** Index of the first one that is not sent. */
  next: number;
}

/**
 * The letters that wait. What dies of sending one is sent before the next: so those that wait are
 * few, even where each death causes ten others, and come in the order of their deaths.
 */
export class DeadLetters implements Work {
  readonly #vhosts: Map<string, VirtualHost>;
  readonly #deadlines: Deadlines;
  readonly #schedule: () => void;
  readonly #onKept: (message: Message, reason: DeathReason) => void;
  readonly #onFault: (error: unknown) => void;
  /** What died of its own, and what died of the letters sent before; the last is the next. */
  #levels: Level[] = [{ letters: [], next: 0 }];
  /** How many wait, those that are kept not counted. */
  #waiting = 0;
  /** What the letter that is being sent has caused. */
  #caused: DeadLetter[] | undefined;
  /** At-least-once letters that had nowhere to go; their messages stay stored in their queues. */
  #kept: DeadLetter[] = [];

  /**
   * @param schedule asks for a turn of the event loop that calls {@link work}
   * @param onKept told of a message that has nowhere to go
   * @param onFault told of a letter that cannot be made
   */
  constructor(
    vhosts: Map<string, VirtualHost>,
    deadlines: Deadlines,
    schedule: () => void,
    onKept: (message: Message, reason: DeathReason) => void,
    onFault: (error: unknown) => void,
  ) {
    this.#onKept = onKept;
    this.#onFault = onFault;
    this.#vhosts = vhosts;
    this.#deadlines = deadlines;
    this.#schedule = schedule;
  }

  /** So many letters wait that no more should be caused. */
  get isCrowded(): boolean {
    return this.#waiting >= MOST_WAITING;
  }

  add(queue: Queue, message: Message, reason: DeathReason): void {
    queue.dying++;
    this.#waiting++;
    this.#push({ queue, message, reason, takenBy: new Set() });
  }

  /** One that had nowhere to go before the restart. */
  keep(queue: Queue, message: Message, reason: DeathReason): void {
    this.#keep({ queue, message, reason, takenBy: new Set() });
  }

  #push(letter: DeadLetter): void {
    if (this.#caused !== undefined) return void this.#caused.push(letter);
    this.#levels[0]!.letters.push(letter);
    this.#schedule();
  }

  get isEmpty(): boolean {
    return this.#levels.length === 1 && this.#levels[0]!.letters.length === 0;
  }

  /** Publishes what died so far, and what dies of that. */
  work(slice: Slice): boolean {
    for (;;) {
      const letter = this.#next();
      if (letter === undefined) return false;
      const caused: DeadLetter[] = this.#caused = [];
      let isDone = true;
      try {
        isDone = this.#send(letter);
      } catch (error) {
        // Its message stays stored.
        this.#onFault(error);
      }
      this.#caused = undefined;
      if (isDone) {
        this.#waiting--;
        letter.queue.dying--;
        letter.queue.sentLetters++;
      } else this.#levels.at(-1)!.next--;
      if (caused.length > 0) this.#levels.push({ letters: caused, next: 0 });
      if (slice.isOver) return !this.isEmpty;
    }
  }

  #next(): DeadLetter | undefined {
    for (;;) {
      const level = this.#levels.at(-1)!;
      const letter = level.letters[level.next++];
      if (letter !== undefined) return letter;
      level.letters = [];
      level.next = 0;
      if (this.#levels.length === 1) return undefined;
      this.#levels.pop();
    }
  }

  /** @returns whether it is done; else there are more queues to have it */
  #send(letter: DeadLetter): boolean {
    const { queue, message, reason } = letter;
    // What is stored goes with its queue.
    const content = queue.deleted ? message.content : queue.contentOf(message);
    if (content !== null && content !== undefined) {
      const taken = this.#publish(letter, content);
      if (taken === "by some") return false;
      const isKept = taken === "not by all" && queue.arguments.deadLetterAtLeastOnce &&
        !queue.deleted;
      if (isKept) {
        this.#onKept(message, reason);
        this.#keep(letter);
        return true;
      }
    } else if (!queue.deleted) {
      queue.setAside(message);
      return true;
    }
    queue.bury(message);
    return true;
  }

  #keep(letter: DeadLetter): void {
    letter.queue.keptLetters++;
    letter.queue.release(letter.message);
    if (this.#kept.push(letter) > 1) return;
    this.#deadlines.after(RETRY_MS, () => {
      for (const kept of this.#kept.splice(0)) {
        kept.queue.keptLetters--;
        kept.queue.dying++;
        this.#waiting++;
        this.#push(kept);
      }
    });
  }

  /** @returns whether it is in a queue, and in all that it belongs in; or in some, and to go on */
  #publish(letter: DeadLetter, content: Content): "by all" | "not by all" | "by some" {
    const { queue, reason, takenBy } = letter;
    const vhost = this.#vhosts.get(queue.vhost)!;
    const exchange = vhost.findExchange(queue.arguments.deadLetterExchange!);
    if (exchange === undefined) return "not by all";
    const { publication, keys, headers, deaths } = rewrite(letter, content);
    const targets = new Set<Queue>();
    for (const routingKey of keys) {
      vhost.route(exchange, { routingKey, headers: () => headers }, targets);
    }
    if (targets.size > 1) publication.content.share();
    const most = takenBy.size + PIECE;
    for (const target of targets) {
      if (takenBy.size >= most) return "by some";
      // A cycle that no consumer took part in would never end.
      if (reason !== "rejected" && isCycle(target.name, deaths)) targets.delete(target);
      else if (!takenBy.has(target) && target.publish(publication)) takenBy.add(target);
    }
    return takenBy.size > 0 && targets.isSubsetOf(takenBy) ? "by all" : "not by all";
  }
}

/** What a dead message is published as, and what routes it. */
interface Rewritten {
  readonly publication: Publication;
  /** Routing keys; the first one is the address's. */
  readonly keys: string[];
  /** As they were before this death. */
  readonly headers: Table;
  /** The entries of x-death, this one included. */
  readonly deaths: Field[];
}

/** Notes the death in the headers of a message and gives it its new address. */
function rewrite({ queue, reason }: DeadLetter, content: Content): Rewritten {
  const { deadLetterExchange, deadLetterRoutingKey } = queue.arguments;
  const header = new ContentHeader().scanOf(content);
  const address = readAddress(content.address);
  const headers = header.headers();
  const routingKeys = [address.routingKey, ...shownCopies(headers)];
  const keys = deadLetterRoutingKey === undefined ? routingKeys : [deadLetterRoutingKey];
  const deaths = recordDeath(headers, {
    queue: queue.name,
    reason,
    exchange: address.exchange,
    routingKeys,
    expiration: header.text("expiration"),
  });
  const changed = header.rewrite({
    dropExpiration: true,
    set: deathHeaders(headers, deaths),
    drop: deadLetterRoutingKey === undefined ? [] : ["CC"],
  });
  const letter = Content.join(addressOf(deadLetterExchange!, keys[0]!), changed, content.body);
  return { publication: publicationOf(letter, header, undefined), keys, headers, deaths };
}
