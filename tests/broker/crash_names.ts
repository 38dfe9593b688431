/**
 * What the queues of a crash test are called on the wire: random characters, NUL among them, and for
 * all of them the same ones before the first NUL.
 */
import { Random } from "../support/random.ts";

/** The exchange that leads to the queues by their keys. */
export const EXCHANGE = "crash\0\u{10ffff}\0";

const names = new Map<string, string>();
let random = new Random(0);

/** Gives all queues other names from now on. */
export function rename(seed: number): void {
  names.clear();
  random = new Random(seed);
}

/** The name of a queue. */
export function nameOf(queue: string): string {
  return remembered(`queue ${queue}`, "crash");
}

/** Its routing key in {@link EXCHANGE}. */
export function keyOf(queue: string): string {
  return remembered(`key ${queue}`, "");
}

function remembered(what: string, prefix: string): string {
  let name = names.get(what);
  const others = new Set(names.values());
  while (name === undefined || (!names.has(what) && others.has(name))) {
    name = `${prefix}\0${random.list(12, character).join("")}`;
  }
  names.set(what, name);
  return name;
}

function character(): string {
  if (random.below(3) === 0) return "\0";
  const code = random.below(2) === 0 ? random.below(0x80) : random.below(0x11_0000);
  // Line breaks are taken out of names, and surrogates are no characters.
  const isUsable = code !== 10 && code !== 13 && (code < 0xd800 || code > 0xdfff);
  return String.fromCodePoint(isUsable ? code : 1);
}
