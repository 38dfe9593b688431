import { assert, assertEquals } from "@std/assert";
import { TopicTrie } from "../../src/broker/routing/topic.ts";
import { Random } from "../support/random.ts";
import { ownThreadTime } from "../support/thread_time.ts";

/** The same on every run; TEST_SEED tries others. */
const SEED = Number(Deno.env.get("TEST_SEED") ?? 1);

/** Word by word, from the definition. */
function matches(pattern: string[], key: string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return key.length === 0;
  if (first === "#") {
    return matches(rest, key) || (key.length > 0 && matches(pattern, key.slice(1)));
  }
  return key.length > 0 && (first === "*" || first === key[0]) && matches(rest, key.slice(1));
}

function words(text: string): string[] {
  return text === "" ? [] : text.split(".");
}

Deno.test("a trie finds what matches pattern by pattern, also after removals", () => {
  const random = new Random(SEED);
  for (let run = 0; run < 200; run++) {
    const patterns = random.list(
      12,
      () => random.list(5, () => random.pick(["a", "b", "*", "#", ""])).join("."),
    );
    const trie = new TopicTrie<string>();
    for (const pattern of patterns) trie.add(pattern, pattern);
    const removed = patterns.filter(() => random.below(4) === 0);
    for (const pattern of removed) trie.remove(pattern, pattern);
    const left = [...new Set(patterns)].filter((pattern) => !removed.includes(pattern));
    for (let keys = 0; keys < 10; keys++) {
      const key = random.list(5, () => random.pick(["a", "b", "c", "", "#", "*"])).join(".");
      const found = new Set<string>();
      trie.match(key, found);
      const expected = left.filter((pattern) => matches(words(pattern), words(key)));
      assertEquals([...found].sort(), expected.sort(), `TEST_SEED=${SEED}, key ${key}`);
    }
  }
});

Deno.test("a long key is looked through as a short one", () => {
  const random = new Random(SEED);
  const wordsOf = (most: number) => random.list(most, () => random.below(8) === 0 ? "b" : "a");
  for (let run = 0; run < 300; run++) {
    const trie = new TopicTrie<string>();
    const patterns = Array.from({ length: 8 }, () => {
      const words = ["#", ...wordsOf(40), "#", ...wordsOf(8), "#"];
      if (random.below(2) === 0) words[1] = "*";
      return words.join(".");
    });
    for (const pattern of patterns) trie.add(pattern, pattern);
    const key = wordsOf(120).join(".");
    const found = new Set<string>();
    trie.match(key, found);
    const expected = new Set(patterns.filter((pattern) => isLike(pattern, key)));
    assertEquals([...found].sort(), [...expected].sort(), `TEST_SEED=${SEED}, key ${key}`);
  }
});

/** The same by a regular expression, of patterns without empty words. */
function isLike(pattern: string, key: string): boolean {
  const words = pattern.split(".").map((word) =>
    word === "#" ? "(?:[^.]+\\.)*" : word === "*" ? "[^.]+\\." : `${word}\\.`
  );
  return new RegExp(`^${words.join("")}$`).test(`${key}.`);
}

Deno.test("a pattern of nothing but wildcards does not take for ever", () => {
  const trie = new TopicTrie<number>();
  trie.add(Array(128).fill("#").join("."), 1);
  trie.add([...Array(127).fill("#"), "b"].join("."), 2);
  trie.add(Array(64).fill("#.*").join("."), 3);
  const found = new Set<number>();
  trie.match(Array(128).fill("a").join("."), found);
  assertEquals([...found], [1, 3]);
});

Deno.test("2,000 patterns of 60 words with many # are matched in a moment", () => {
  const trie = new TopicTrie<number>();
  for (let n = 0; n < 2_000; n++) {
    const words = Array.from({ length: 60 }, (_, at) => (n >> (at % 11)) & 1 ? "#" : "a");
    trie.add([...words, `z${n}`].join("."), n);
  }
  const found = new Set<number>();
  const start = ownThreadTime().computed;
  for (let n = 0; n < 20; n++) trie.match(`${Array(120).fill("a").join(".")}.z${n}`, found);
  // Following every # took 34 s for 20 keys.
  assert(ownThreadTime().computed - start < 5_000);
  // The first one has no #, and less words than the keys.
  assertEquals(found.size, 19);
});
