/**
 * Topic patterns: words between dots, `*` for one word, `#` for any number of words.
 *
 * A tree holds what comes before the first `#` of each pattern, so that a publish does not look at
 * every binding. What comes behind it is matched by itself: between two `#` the earliest place is as
 * good as any, so nothing is tried twice. The work for a pattern grows with its words times those of
 * the key, whatever stands in them.
 */

/** Most nodes have one of these: an empty map or set takes as much memory as all the rest. */
interface Node<T> {
  children: Map<string, Node<T>> | undefined;
  /** Of patterns that end here. */
  values: Set<T> | undefined;
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
  readonly #root: Node<T> = createNode();

  add(pattern: string, value: T): void {
    const { head, tail } = split(pattern);
    let node = this.#root;
    for (const word of head) {
      node.children ??= new Map();
      let child = node.children.get(word);
      if (child === undefined) node.children.set(word, child = createNode());
      node = child;
    }
    if (tail === undefined) return void (node.values ??= new Set()).add(value);
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

  /** Adds the values of all patterns that match `key` to `found`. */
  match(key: string, found: Set<T>): void {
    const words = wordsOf(key);
    let nodes = [this.#root];
    for (let index = 0; nodes.length > 0; index++) {
      const next: Node<T>[] = [];
      const word = words[index];
      for (const node of nodes) {
        for (const tail of node.tails?.values() ?? []) {
          if (matchesTail(tail, words, index)) addAll(found, tail.values);
        }
        if (word === undefined) {
          if (node.values !== undefined) addAll(found, node.values);
          continue;
        }
        const child = node.children?.get(word);
        if (child !== undefined) next.push(child);
        const any = word === "*" ? undefined : node.children?.get("*");
        if (any !== undefined) next.push(any);
      }
      nodes = next;
    }
  }
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

function createNode<T>(): Node<T> {
  return { children: undefined, values: undefined, tails: undefined };
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
  return { runs: [...runs.filter((run) => run.length > 0), last], length, values: new Set() };
}

function addAll<T>(found: Set<T>, values: Set<T>): void {
  for (const value of values) found.add(value);
}

/** Whether the words from an index on match what comes behind a `#`. */
function matchesTail<T>({ runs, length }: Tail<T>, words: string[], from: number): boolean {
  if (words.length - from < length) return false;
  const last = runs.length - 1;
  const end = words.length - runs[last]!.length;
  if (!isAt(runs[last]!, words, end)) return false;
  let at = from;
  for (let index = 0; index < last; index++) {
    const run = runs[index]!;
    while (at + run.length <= end && !isAt(run, words, at)) at++;
    if (at + run.length > end) return false;
    at += run.length;
  }
  return true;
}

function isAt(run: readonly string[], words: string[], at: number): boolean {
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
    if (tail === undefined) return removeValue(node, value);
    const known = node.tails?.get(tail);
    known?.values.delete(value);
    if (known?.values.size === 0) node.tails!.delete(tail);
    if (node.tails?.size === 0) node.tails = undefined;
    return;
  }
  const word = head[index]!;
  const child = node.children?.get(word);
  if (child === undefined) return;
  removeFrom(child, head, index + 1, tail, value);
  if (child.children !== undefined || child.values !== undefined || child.tails !== undefined) {
    return;
  }
  node.children!.delete(word);
  if (node.children!.size === 0) node.children = undefined;
}

function removeValue<T>(node: Node<T>, value: T): void {
  node.values?.delete(value);
  if (node.values?.size === 0) node.values = undefined;
}
