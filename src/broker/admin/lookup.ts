/** Finds messages without taking them: lists, one by its key, all with a text, groups of the dead. */

import { type Content, LARGE_BYTES } from "../message/content.ts";
import type { Message } from "../message/message.ts";
import {
  beginningOf,
  describeMessage,
  errorOf,
  keyOf,
  open,
  placeOf,
  reasonOf,
} from "./messages.ts";
import { Refusal } from "./refusal.ts";
import type { Pieces } from "./slices.ts";
import type { Place } from "../queue/ready.ts";
import { Needle, unescaped } from "./text_search.ts";
import type { Queue } from "../queue/queue.ts";
import type {
  Found,
  Group,
  GroupPage,
  MessageInfo,
  MessagePage,
  SearchPage,
} from "../../observe/board.ts";

/** Messages of a queue that are read at once: a piece. */
const BATCH = 32;

/** Bytes of a message from which on it is not looked through. */
export const MOST_SEARCHED_BYTES = 1024 * 1024;

/** Answers of one search, and messages that it looks at before it says how far it came. */
const MOST_FOUND = 100;
const MOST_LOOKED = 50_000;

const MOST_GROUPED = 200_000;
const MOST_GROUPS = 500;

/** Milliseconds after which a search answers with what it has. */
const SEARCH_MS = 2_000;

/** All ready messages of a queue that are there at the beginning, in the order they are served. */
export function* readyOf(queue: Queue, from?: Place): Generator<Message | undefined> {
  const ends = new Map(queue.messages.lanes.map((lane) => [lane.priority, lane.view.next]));
  for (let place = from; !queue.deleted;) {
    const batch = queue.messages.after(place, BATCH);
    if (batch.length === 0) return;
    for (const message of atHand(queue, batch)) {
      if (message.position < (ends.get(message.lane.priority) ?? 0)) yield message;
      if (message.size >= LARGE_BYTES) yield undefined; // reading it was a piece by itself
    }
    place = placeAt(batch.at(-1)!);
    yield undefined; // others may go on
  }
}

/** Those of a batch that nobody has taken meanwhile: others may go on behind a large one. */
function* atHand(queue: Queue, batch: readonly Message[]): Generator<Message> {
  let isWaiting = false;
  for (const message of batch) {
    if (!isWaiting || queue.messages.again(message) !== undefined) yield message;
    isWaiting ||= message.size >= LARGE_BYTES;
  }
}

function placeAt({ lane: { priority }, position }: Message): Place {
  return { priority, position };
}

/** A page of a queue's ready messages. */
export function* listMessages(
  queue: Queue,
  end: "oldest" | "newest",
  limit: number,
  from: string | undefined,
): Pieces<MessagePage> {
  let place = from === undefined ? undefined : requirePlace(from);
  const messages: MessageInfo[] = [];
  while (messages.length < limit) {
    const most = Math.min(BATCH, limit - messages.length);
    const batch = end === "oldest"
      ? queue.messages.after(place, most)
      : queue.messages.before(place, most);
    if (batch.length === 0) return { messages };
    for (const message of atHand(queue, batch)) {
      messages.push(describeMessage(message, queue.contentOf(message)));
      if (message.size >= LARGE_BYTES) yield;
    }
    place = placeAt(batch.at(-1)!);
    yield;
  }
  return messages.length === 0 ? { messages } : { messages, next: messages.at(-1)!.key };
}

/** @throws {Refusal} it is no key */
export function requirePlace(key: string): Place {
  const place = placeOf(key);
  if (place !== undefined) return place;
  throw new Refusal(
    "invalid",
    `a key must be one that a list of messages has shown, and is ${JSON.stringify(key)}`,
  );
}

/**
 * Looks for a text in ids, properties, headers and bodies; upper and lower case are the same.
 * @param from the queue, and the message there, behind which to begin; of the first of `queues`
 */
export function* search(
  queues: readonly Queue[],
  text: string,
  from: Place | undefined,
): Pieces<SearchPage> {
  const wanted = wantedOf(text);
  const found: Found[] = [];
  const until = performance.now() + SEARCH_MS;
  let [looked, skipped] = [0, 0];
  for (const queue of queues) {
    const start = queue === queues[0] ? from : undefined;
    for (const message of readyOf(queue, start)) {
      if (message === undefined) {
        yield;
        continue;
      }
      looked++;
      if (message.size > MOST_SEARCHED_BYTES) skipped++;
      else {
        const content = queue.contentOf(message);
        if (content !== undefined && hasText(content, wanted)) {
          const { vhost, name } = queue;
          found.push({ vhost, queue: name, ...describeMessage(message, content) });
        }
      }
      if (found.length < MOST_FOUND && looked < MOST_LOOKED && performance.now() < until) continue;
      return {
        found,
        looked,
        skipped,
        next: JSON.stringify([queue.vhost, queue.name, keyOf(message)]),
      };
    }
    yield;
  }
  return { found, looked, skipped };
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Whether a message has a text, in a time that no content makes long.
 * @param wanted by {@link wantedOf}
 */
export function hasText(content: Content, wanted: Needle): boolean {
  const { bytes, addressLength, stored } = content;
  const head = decoder.decode(bytes.subarray(addressLength));
  // Of what is so large that it is in chunks, the first.
  const text = stored === undefined ? head : head + decoder.decode(beginningOf(content));
  if (wanted.isIn(foldCase(text))) return true;
  return NOT_ASCII.test(wanted.text) && text.includes("\\u") &&
    wanted.isIn(foldCase(unescaped(text)));
}

/** What {@link hasText} is asked for. */
export function wantedOf(text: string): Needle {
  return new Needle(foldCase(text));
}

// deno-lint-ignore no-control-regex
const NOT_ASCII = /[^\x00-\x7f]/;
/** Upper case: it has one form for what has two in lower case, as the final sigma and sharp s. */
function foldCase(text: string): string {
  return text.toUpperCase();
}

/** Dead letters by reason and type, the largest group first. */
export function* groupMessages(queue: Queue): Pieces<GroupPage> {
  const groups = new Map<string, { -readonly [K in keyof Group]: Group[K] }>();
  let looked = 0;
  for (const message of readyOf(queue)) {
    if (message === undefined) {
      yield;
      continue;
    }
    const content = queue.contentOf(message);
    if (content === undefined) continue;
    const { reason, type, error } = groupOf(content);
    const name = JSON.stringify([reason, type]);
    const group = groups.get(name);
    if (group !== undefined) group.count++;
    else if (groups.size < MOST_GROUPS) {
      groups.set(name, { reason, type, count: 1, ...(error === undefined ? {} : { error }) });
    }
    if (++looked === MOST_GROUPED) break;
  }
  const bySize = [...groups.values()].sort((one, other) => other.count - one.count);
  return { groups: bySize, looked, cut: looked === MOST_GROUPED || groups.size === MOST_GROUPS };
}

/** What a message is grouped by. */
export function groupOf(
  content: Content,
): { reason: string; type: string; error: string | undefined } {
  const { header, headers } = open(content);
  return {
    reason: reasonOf(headers),
    type: header.text("type") ?? "",
    error: errorOf(headers),
  };
}
