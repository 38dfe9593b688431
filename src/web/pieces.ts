/** Long work in pieces: whoever serves the page serves others, too. */

import { Turns } from "./turns.ts";

/** Of all such work: a process has one event loop. */
export const turns = new Turns();

/** Of a part of an answer, about: as much as one write sends. */
const PART_LENGTH = 64 * 1024;

const encoder = new TextEncoder();

/** Does something with each value. */
export async function each<T>(values: Iterable<T>, act: (value: T) => void): Promise<void> {
  await turns.next();
  for (const value of values) {
    act(value);
    if (!turns.hasTime) await turns.next();
  }
}

/** Each as JSON. */
export async function textsOf(values: readonly unknown[]): Promise<string[]> {
  const texts: string[] = [];
  await each(values, (value) => texts.push(JSON.stringify(value)));
  return texts;
}

/** Texts, and lists of texts with commas between them, as bytes that many can be sent. */
export async function encodeParts(
  ...pieces: readonly (string | readonly string[])[]
): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  let text = "";
  const add = (more: string) => {
    text += more;
    if (text.length < PART_LENGTH) return;
    parts.push(encoder.encode(text));
    text = "";
  };
  for (const piece of pieces) {
    if (typeof piece === "string") add(piece);
    else {
      let isFirst = true;
      await each(piece, (one) => {
        add(isFirst ? one : `,${one}`);
        isFirst = false;
      });
    }
  }
  if (text !== "") parts.push(encoder.encode(text));
  return parts;
}
