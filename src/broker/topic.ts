/** Topic patterns: words between dots, `*` for one word, `#` for any number of words. */

interface Node<T> {
  children: Map<string, Node<T>>;
  values: Set<T>;
}

/** A trie of patterns, so that a publish does not look at every binding. */
export class TopicTrie<T> {
  readonly #root: Node<T> = createNode();

  add(pattern: string, value: T): void {
    let node = this.#root;
    for (const word of wordsOf(pattern)) {
      let child = node.children.get(word);
      if (child === undefined) node.children.set(word, child = createNode());
      node = child;
    }
    node.values.add(value);
  }

  remove(pattern: string, value: T): void {
    removeFrom(this.#root, wordsOf(pattern), 0, value);
  }

  /** Adds the values of all patterns that match `key` to `found`. */
  match(key: string, found: Set<T>): void {
    matchFrom(this.#root, wordsOf(key), 0, found);
  }
}

/** The empty key has no words, not one empty word. */
function wordsOf(key: string): string[] {
  return key === "" ? [] : key.split(".");
}

function createNode<T>(): Node<T> {
  return { children: new Map(), values: new Set() };
}

function removeFrom<T>(node: Node<T>, words: string[], index: number, value: T): void {
  if (index === words.length) {
    node.values.delete(value);
    return;
  }
  const child = node.children.get(words[index]!);
  if (child === undefined) return;
  removeFrom(child, words, index + 1, value);
  if (child.children.size === 0 && child.values.size === 0) node.children.delete(words[index]!);
}

function matchFrom<T>(node: Node<T>, words: string[], index: number, found: Set<T>): void {
  const rest = node.children.get("#");
  if (rest !== undefined) {
    for (let end = index; end <= words.length; end++) matchFrom(rest, words, end, found);
  }
  if (index === words.length) {
    for (const value of node.values) found.add(value);
    return;
  }
  const exact = node.children.get(words[index]!);
  if (exact !== undefined) matchFrom(exact, words, index + 1, found);
  const any = node.children.get("*");
  if (any !== undefined) matchFrom(any, words, index + 1, found);
}
