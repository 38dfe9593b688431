/** Topic patterns: words between dots, `*` for one word, `#` for any number of words. */

interface Node<T> {
  children: Map<string, Node<T>>;
  values: Set<T>;
  /** Ends with `#`: takes any further word. */
  readonly takesAll: boolean;
}

/** A trie of patterns, so that a publish does not look at every binding. */
export class TopicTrie<T> {
  readonly #root: Node<T> = createNode("");

  add(pattern: string, value: T): void {
    let node = this.#root;
    for (const word of wordsOf(pattern)) {
      let child = node.children.get(word);
      if (child === undefined) node.children.set(word, child = createNode(word));
      node = child;
    }
    node.values.add(value);
  }

  remove(pattern: string, value: T): void {
    removeFrom(this.#root, wordsOf(pattern), 0, value);
  }

  /** Adds the values of all patterns that match `key` to `found`. */
  match(key: string, found: Set<T>): void {
    let nodes = new Set<Node<T>>();
    enter(this.#root, nodes);
    for (const word of wordsOf(key)) nodes = step(nodes, word);
    for (const { values } of nodes) {
      for (const value of values) found.add(value);
    }
  }
}

/** The empty key has no words, not one empty word. */
function wordsOf(key: string): string[] {
  return key === "" ? [] : key.split(".");
}

function createNode<T>(word: string): Node<T> {
  return { children: new Map(), values: new Set(), takesAll: word === "#" };
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

/**
 * The nodes that one more word leads to. All at once: following each `#` by itself would take time
 * exponential in their number.
 */
function step<T>(nodes: Set<Node<T>>, word: string): Set<Node<T>> {
  const next = new Set<Node<T>>();
  for (const node of nodes) {
    if (node.takesAll) enter(node, next);
    enter(node.children.get(word), next);
    enter(node.children.get("*"), next);
  }
  return next;
}

/** Adds a node, and those that it leads to without a word. */
function enter<T>(node: Node<T> | undefined, nodes: Set<Node<T>>): void {
  while (node !== undefined && !nodes.has(node)) {
    nodes.add(node);
    node = node.children.get("#");
  }
}
