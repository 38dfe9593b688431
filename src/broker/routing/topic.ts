/**
 * Topic patterns: words between dots, `*` for one word, `#` for any number of words.
 *
 * A tree holds what comes before the first `#` of each pattern, so that a publish does not look at
 * every binding. What comes behind it is matched by itself: between two `#` the earliest place is as
 * good as any, so nothing is tried twice. Words between two `#` are looked for at 32 places of the key
 * at once: the work for a pattern grows with its words, whatever stands in them.
 */

import { added, all, type Few, removed } from "./few.ts";

/** Words behind a `#` that take as long as a node, as a power of two. */
const WORDS_SHIFT = 2;

/** Most nodes have one of these: an empty map or set takes as much memory as all the rest. */
interface Node<T> {
  /** The words that lead here from the node above, joined by dots; many where nothing branches. */
  label: string;
  /** By the first words of their labels. */
  children: Map<string, Node<T>> | undefined;
  /** Of patterns that end here. */
  values: Few<T>;
  /** Of patterns that go on with `#` here, by what comes behind it. */
  tails: Map<string, Tail<T>> | undefined;
}

interface Tail<T> {
  /** Runs of words between one `#` and the next one; the last run must end the key. */
  readonly runs: readonly (readonly string[])[];
  /** Words in all runs. */
  readonly length: number;
  readonly values: Set<T>;
}

export class TopicTrie<T> {
  readonly #root: Node<T> = createNode("");

  add(pattern: string, value: T): void {
    const { head, tail } = split(pattern);
    let node = this.#root;
    for (let at = 0; at < head.length;) {
      const child = node.children?.get(head[at]!);
      if (child === undefined) {
        node = addChild(node, head[at]!, createNode(head.slice(at).join(".")));
        break;
      }
      const label = child.label.split(".");
      let same = 1;
      while (same < label.length && label[same] === head[at + same]) same++;
      node = same === label.length ? child : branch(node, child, label, same);
      at += same;
    }
    if (tail === undefined) {
      node.values = added(node.values, value);
      return;
    }
    const key = keyOf(tail);
    node.tails ??= new Map();
    let known = node.tails.get(key);
    if (known === undefined) node.tails.set(key, known = createTail(tail));
    known.values.add(value);
  }

  remove(pattern: string, value: T): void {
    const { head, tail } = split(pattern);
    removeFrom(this.#root, head, 0, tail && keyOf(tail), value);
  }

  /**
   * Adds the values of all patterns that match `key` to `found`.
   * @returns how much was looked at: nodes, and what comes behind a `#`, the longer the more
   */
  match(key: string, found: Set<T>): number {
    return matchFrom(this.#root, new Key(key), 0, found);
  }
}

/** Places whose bits are in one number, as a power of two. */
const PLACES_SHIFT = 5;
const PLACES = 1 << PLACES_SHIFT;

/** A routing key. */
class Key {
  readonly words: readonly string[];
  /** For each word bits of the places where it stands, the first one's the lowest. */
  #places: Map<string, Int32Array> | undefined;

  constructor(key: string) {
    this.words = wordsOf(key);
  }

  get #placesOf(): ReadonlyMap<string, Int32Array> {
    if (this.#places !== undefined) return this.#places;
    this.#places = new Map();
    const { length } = this.words;
    for (let at = 0; at < length; at++) {
      const word = this.words[at]!;
      let bits = this.#places.get(word);
      // One more is read behind the last one.
      if (bits === undefined) {
        this.#places.set(word, bits = new Int32Array((length >> PLACES_SHIFT) + 2));
      }
      bits[at >> PLACES_SHIFT]! |= 1 << at % PLACES;
    }
    return this.#places;
  }

  /** The first place of some words, from one place on; behind `last`: there is none up to it. */
  find(run: readonly string[], from: number, last: number): number {
    for (let place = from; place <= last; place += PLACES) {
      const found = this.#findAmong(run, place);
      if (found !== 0) return place + PLACES - 1 - Math.clz32(found & -found);
    }
    return last + 1;
  }

  /** @returns bits of the places from one on where the words stand */
  #findAmong(run: readonly string[], place: number): number {
    let found = -1;
    for (let index = 0; index < run.length && found !== 0; index++) {
      const word = run[index]!;
      if (word === "*") continue;
      const bits = this.#placesOf.get(word);
      if (bits === undefined) return 0;
      const at = place + index;
      const shift = at % PLACES;
      const low = bits[at >> PLACES_SHIFT]! >>> shift;
      found &= shift === 0 ? low : low | bits[(at >> PLACES_SHIFT) + 1]! << PLACES - shift;
    }
    return found;
  }
}

/** @param index of the first word that does not lead to the node */
function matchFrom<T>(node: Node<T>, key: Key, index: number, found: Set<T>): number {
  const { words } = key;
  let looked = 1;
  for (const tail of node.tails?.values() ?? []) {
    looked += 1 + (tail.length >> WORDS_SHIFT);
    if (matchesTail(tail, key, index)) addAll(found, tail.values);
  }
  const word = words[index];
  if (word === undefined) {
    addAll(found, all(node.values));
    return looked;
  }
  if (node.children === undefined) return looked;
  looked += matchChild(node.children.get(word), key, index, found);
  if (word !== "*") looked += matchChild(node.children.get("*"), key, index, found);
  return looked;
}

/** @param index of the word that has led to the node */
function matchChild<T>(
  node: Node<T> | undefined,
  key: Key,
  index: number,
  found: Set<T>,
): number {
  const end = node === undefined ? undefined : endOf(node.label, key.words, index);
  return end === undefined ? 0 : matchFrom(node!, key, end, found);
}

/** Where the words of a label end among others, the first of which fits; undefined: they differ. */
function endOf(label: string, words: readonly string[], from: number): number | undefined {
  let index = from + 1;
  for (let dot = label.indexOf("."); dot >= 0;) {
    const next = label.indexOf(".", dot + 1);
    const length = (next < 0 ? label.length : next) - dot - 1;
    const word = words[index++];
    if (word === undefined) return undefined;
    const fits = word.length === length && label.startsWith(word, dot + 1);
    if (!fits && (length !== 1 || label[dot + 1] !== "*")) return undefined;
    dot = next;
  }
  return index;
}

/** The empty key has no words, not one empty word. */
function wordsOf(key: string): string[] {
  return key === "" ? [] : key.split(".");
}

/** What comes before the first `#`, and behind it. */
function split(pattern: string): { head: string[]; tail: string[] | undefined } {
  const words = wordsOf(pattern);
  const index = words.indexOf("#");
  if (index < 0) return { head: words, tail: undefined };
  return { head: words.slice(0, index), tail: words.slice(index + 1) };
}

/** No words and one empty word differ. */
function keyOf(words: readonly string[]): string {
  return words.map((word) => `.${word}`).join("");
}

function createNode<T>(label: string): Node<T> {
  return { label, children: undefined, values: undefined, tails: undefined };
}

/** @param first word of its label */
function addChild<T>(node: Node<T>, first: string, child: Node<T>): Node<T> {
  node.children ??= new Map();
  node.children.set(first, child);
  return child;
}

/** A node between two others, behind so many words of the label. */
function branch<T>(above: Node<T>, below: Node<T>, label: string[], count: number): Node<T> {
  const node = addChild<T>(above, label[0]!, createNode(label.slice(0, count).join(".")));
  below.label = label.slice(count).join(".");
  addChild(node, label[count]!, below);
  return node;
}

function createTail<T>(words: readonly string[]): Tail<T> {
  const runs: string[][] = [[]];
  let length = 0;
  for (const word of words) {
    if (word === "#") {
      runs.push([]);
      continue;
    }
    runs.at(-1)!.push(word);
    length++;
  }
  // "#.#" is "#"; only the last run may be empty, when the pattern ends with "#".
  const last = runs.pop()!;
  const whole = [...runs.filter((run) => run.length > 0), last];
  // An array that grew has room for more, which takes three times the memory.
  return { runs: whole.map((run) => run.slice()), length, values: new Set() };
}

function addAll<T>(found: Set<T>, values: Iterable<T>): void {
  for (const value of values) found.add(value);
}

/** Whether the words from an index on match what comes behind a `#`. */
function matchesTail<T>({ runs, length }: Tail<T>, key: Key, from: number): boolean {
  const { words } = key;
  if (words.length - from < length) return false;
  const last = runs.length - 1;
  const end = words.length - runs[last]!.length;
  if (!isAt(runs[last]!, words, end)) return false;
  let at = from;
  for (let index = 0; index < last; index++) {
    const run = runs[index]!;
    at = key.find(run, at, end - run.length) + run.length;
    if (at > end) return false;
  }
  return true;
}

function isAt(run: readonly string[], words: readonly string[], at: number): boolean {
  for (let index = 0; index < run.length; index++) {
    const word = run[index];
    if (word !== "*" && word !== words[at + index]) return false;
  }
  return true;
}

function removeFrom<T>(
  node: Node<T>,
  head: string[],
  index: number,
  tail: string | undefined,
  value: T,
): void {
  if (index === head.length) {
    if (tail === undefined) {
      node.values = removed(node.values, value);
      return;
    }
    const known = node.tails?.get(tail);
    known?.values.delete(value);
    if (known?.values.size === 0) node.tails!.delete(tail);
    if (node.tails?.size === 0) node.tails = undefined;
    return;
  }
  const first = head[index]!;
  const child = node.children?.get(first);
  if (child === undefined) return;
  const label = child.label.split(".");
  if (label.some((word, at) => word !== head[index + at])) return;
  removeFrom(child, head, index + label.length, tail, value);
  if (child.values !== undefined || child.tails !== undefined) return;
  const { children } = child;
  if (children === undefined) {
    node.children!.delete(first);
    if (node.children!.size === 0) node.children = undefined;
  } else if (children.size === 1) {
    const [below] = children.values();
    below!.label = `${child.label}.${below!.label}`;
    node.children!.set(first, below!);
  }
}
