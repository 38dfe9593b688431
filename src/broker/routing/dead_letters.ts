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
import type { Author } from "../store/refusals.ts";
import type { VirtualHost } from "./virtual_host.ts";
import { Way } from "./way.ts";

/** Milliseconds after which a letter is tried again whose target was missing or full. */
const RETRY_MS = 1_000;

/** How often the pause doubles of a letter that the store refuses. */
const MOST_DOUBLED = 10;

/** Queues that take a letter in one go. Where there are more it goes on after what that has caused. */
const PIECE = 256;

/** Letters that may wait, of all queues together, before those who cause more are held back. */
const MOST_WAITING = 10_000;

/** What dead letters use and whom they tell. */
export interface DeadLetterHost {
  readonly deadlines: Deadlines;
  /** Asks for a turn of the event loop that calls {@link DeadLetters.work}. */
  schedule(): void;
  /** A message has nowhere to go. */
  onKept(message: Message, reason: DeathReason): void;
  /** A letter cannot be made. */
  onFault(error: unknown): void;
  /** Runs what somebody asks for, who is told when the store refuses it. */
  actFor(author: Author, run: () => boolean): boolean;
}

interface DeadLetter {
  queue: Queue;
  message: Message;
  reason: DeathReason;
  /** Queues that have it, while others refuse it. Very many letters may be kept, and most have none. */
  takenBy: Set<Queue> | undefined;
  /** Queues whose copy of it the store refuses. */
  unstoredBy: Set<Queue> | undefined;
  /** How often it was kept for that. */
  unstored: number;
  /** Its message is gone. */
  isBuried: boolean;
  /** Its way to its queues, while it goes it. */
  way: Way | undefined;
}

function letterOf(queue: Queue, message: Message, reason: DeathReason): DeadLetter {
  const none = { takenBy: undefined, unstoredBy: undefined, way: undefined };
  return { queue, message, reason, ...none, unstored: 0, isBuried: false };
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
  readonly #host: DeadLetterHost;
  /** What died of its own, and what died of the letters sent before; the last is the next. */
  #levels: Level[] = [{ letters: [], next: 0 }];
  /** How many wait, those that are kept not counted. */
  #waiting = 0;
  /** What the letter that is being sent has caused. */
  #caused: DeadLetter[] | undefined;
  /** At-least-once letters that had nowhere to go; their messages stay stored in their queues. */
  #kept: DeadLetter[] = [];

  constructor(vhosts: Map<string, VirtualHost>, host: DeadLetterHost) {
    this.#vhosts = vhosts;
    this.#host = host;
  }

  /** So many letters wait that no more should be caused. */
  get isCrowded(): boolean {
    return this.#waiting >= MOST_WAITING;
  }

  add(queue: Queue, message: Message, reason: DeathReason): void {
    queue.dying++;
    this.#waiting++;
    this.#push(letterOf(queue, message, reason));
  }

  /** One that had nowhere to go before the restart. */
  keep(queue: Queue, message: Message, reason: DeathReason): void {
    this.#keep(letterOf(queue, message, reason));
  }

  #push(letter: DeadLetter): void {
    if (this.#caused !== undefined) return void this.#caused.push(letter);
    this.#levels[0]!.letters.push(letter);
    this.#host.schedule();
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
        isDone = this.#send(letter, slice);
      } catch (error) {
        // Its message stays stored.
        this.#host.onFault(error);
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
  #send(letter: DeadLetter, slice: Slice): boolean {
    const { queue, message, reason } = letter;
    // What is stored goes with its queue.
    const content = queue.deleted ? message.content : queue.contentOf(message);
    if (content !== null && content !== undefined) {
      const taken = this.#publish(letter, content, slice);
      if (taken === "by some") return false;
      letter.way = undefined;
      const mustStay = queue.arguments.deadLetterAtLeastOnce || letter.unstoredBy !== undefined;
      if (taken === "not by all" && mustStay && !queue.deleted) {
        this.#host.onKept(message, reason);
        this.#keep(letter);
        return true;
      }
    } else if (!queue.deleted) {
      queue.setAside(message);
      return true;
    }
    letter.isBuried = true;
    queue.bury(message);
    return true;
  }

  #keep(letter: DeadLetter): void {
    letter.queue.keptLetters++;
    letter.queue.release(letter.message);
    if (letter.unstoredBy !== undefined) {
      const pause = RETRY_MS * 2 ** Math.min(letter.unstored++, MOST_DOUBLED);
      return void this.#host.deadlines.after(pause, () => this.#tryAgain(letter));
    }
    if (this.#kept.push(letter) > 1) return;
    this.#host.deadlines.after(RETRY_MS, () => {
      for (const kept of this.#kept.splice(0)) this.#tryAgain(kept);
    });
  }

  #tryAgain(letter: DeadLetter): void {
    letter.unstoredBy = undefined;
    letter.queue.keptLetters--;
    letter.queue.dying++;
    this.#waiting++;
    this.#push(letter);
  }

  /** The store has refused the copy of a queue, and has kept the source. */
  #unstored(letter: DeadLetter, target: Queue): void {
    letter.takenBy?.delete(target);
    (letter.unstoredBy ??= new Set()).add(target);
    if (!letter.isBuried) return;
    letter.isBuried = false;
    if (letter.queue.deleted) return;
    this.#host.onKept(letter.message, letter.reason);
    this.#keep(letter);
  }

  /** @returns whether it is in a queue, and in all that it belongs in; or in some, and to go on */
  #publish(
    letter: DeadLetter,
    content: Content,
    slice: Slice,
  ): "by all" | "not by all" | "by some" {
    const { queue, reason } = letter;
    const vhost = this.#vhosts.get(queue.vhost)!;
    const exchange = vhost.findExchange(queue.arguments.deadLetterExchange!);
    if (exchange === undefined) return "not by all";
    const { publication, keys, headers, deaths } = rewrite(letter, content);
    const way = letter.way ??= new Way(vhost, exchange, keys, () => headers);
    if (way.work(slice)) return "by some";
    const targets = way.queues;
    const takenBy = letter.takenBy ?? new Set();
    if (targets.size > 1) publication.content.share();
    const most = takenBy.size + PIECE;
    for (const target of targets) {
      if (takenBy.size >= most) return "by some";
      // Since it was found.
      if (target.deleted) targets.delete(target);
      // A cycle that no consumer took part in would never end.
      else if (reason !== "rejected" && isCycle(target.name, deaths)) targets.delete(target);
      else if (!takenBy.has(target) && letter.unstoredBy?.has(target) !== true) {
        const author = {
          source: { message: letter.message, content },
          unstored: () => this.#unstored(letter, target),
        };
        if (this.#host.actFor(author, () => target.publish(publication))) {
          letter.takenBy = takenBy.add(target);
        }
      }
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
