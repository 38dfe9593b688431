/**
 * Headers bindings: what each wants of a message's headers, found by the headers themselves, so that
 * a publish does not look at every binding.
 */

import { added, type Few, removed } from "./few.ts";
import { bytesAsText, decodeText } from "../wire/text.ts";
import { preconditionFailed } from "../wire/faults.ts";
import {
  describeField,
  encodeTable,
  type Field,
  numberOf,
  type Table,
  textOf,
} from "../wire/fields.ts";

const MATCHES = ["all", "any", "all-with-x", "any-with-x"];

/** @throws {Fault} precondition-failed when the arguments of a headers binding make no sense */
export function checkHeadersBinding(table: Table): void {
  const match = table.get("x-match");
  if (match === undefined) return;
  if (match.type !== "longstr") {
    throw preconditionFailed(
      `Invalid x-match field type ${match.type} (value ${describeField(match)}); expected longstr`,
    );
  }
  if (MATCHES.includes(match.value)) return;
  throw preconditionFailed(
    `Invalid x-match field value <<"${match.value}">>; expected all, any, all-with-x, or any-with-x`,
  );
}

/** Letters of a key that take as long as a header, as a power of two. */
const LETTERS_SHIFT = 4;

/** A binding that wants headers. */
interface Candidate<T> {
  readonly value: T;
  /** How many of its headers a message must have. */
  readonly needed: number;
  /** The last search that has met it, and how many of its headers that has met. */
  search: number;
  met: number;
}

export class HeaderIndex<T> {
  /** How many demands there are by a header's name. */
  readonly #names = new Map<string, number>();
  /** Those that want a header with a value: {@link keyOf}. */
  readonly #byHeader = new Map<string, Few<Candidate<T>>>();
  /** Those that want a header, whatever its value is. */
  readonly #byName = new Map<string, Few<Candidate<T>>>();
  readonly #candidates = new Map<T, Candidate<T>>();
  /** Those that want nothing. */
  readonly #undemanding = new Set<T>();
  #searches = 0;

  /** @param wanted arguments of a binding */
  add(wanted: Table, value: T): void {
    const demands = [...demandsOf(wanted)];
    const matchesAny = textOf(wanted.get("x-match"))?.startsWith("any") ?? false;
    if (demands.length === 0 && !matchesAny) return void this.#undemanding.add(value);
    const needed = matchesAny ? 1 : demands.length;
    const candidate = { value, needed, search: 0, met: 0 };
    this.#candidates.set(value, candidate);
    for (const [name, field] of demands) {
      this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
      const { map, key } = this.#placeOf(name, field);
      if (key !== undefined) map.set(key, added(map.get(key), candidate));
    }
  }

  /** @param wanted as it was added */
  remove(wanted: Table, value: T): void {
    this.#undemanding.delete(value);
    const candidate = this.#candidates.get(value);
    if (candidate === undefined) return;
    this.#candidates.delete(value);
    for (const [name, field] of demandsOf(wanted)) {
      const others = this.#names.get(name)! - 1;
      if (others === 0) this.#names.delete(name);
      else this.#names.set(name, others);
      const { map, key } = this.#placeOf(name, field);
      if (key === undefined) continue;
      const left = removed(map.get(key), candidate);
      if (left === undefined) map.delete(key);
      else map.set(key, left);
    }
  }

  /** A void field in a binding asks only that the header is there. */
  #placeOf(name: string, field: Field) {
    if (field.type === "void") return { map: this.#byName, key: name };
    return { map: this.#byHeader, key: keyOf(name, field) };
  }

  get isEmpty(): boolean {
    return this.#candidates.size + this.#undemanding.size === 0;
  }

  /** Adds what matches to `found`. @returns how much it has looked at */
  match(headers: Table, found: Set<T>): number {
    for (const value of this.#undemanding) found.add(value);
    if (this.#names.size === 0) return 0;
    const search = ++this.#searches;
    let looked = headers.size;
    for (const [name, field] of headers) {
      if (!this.#names.has(name)) continue;
      looked += meet(this.#byName.get(name), search, found);
      const key = keyOf(name, field);
      if (key === undefined) continue;
      looked += meet(this.#byHeader.get(key), search, found) + (key.length >> LETTERS_SHIFT);
    }
    return looked;
  }
}

/** The message has a header that some want. @returns how many */
function meet<T>(few: Few<Candidate<T>>, search: number, found: Set<T>): number {
  if (few === undefined) return 0;
  if (!(few instanceof Set)) {
    meetOne(few, search, found);
    return 1;
  }
  for (const candidate of few) meetOne(candidate, search, found);
  return few.size;
}

function meetOne<T>(candidate: Candidate<T>, search: number, found: Set<T>): void {
  if (candidate.search !== search) {
    candidate.search = search;
    candidate.met = 0;
  }
  if (++candidate.met === candidate.needed) found.add(candidate.value);
}

/** The headers that a binding wants. */
function* demandsOf(wanted: Table): Generator<[name: string, field: Field]> {
  const withX = textOf(wanted.get("x-match"))?.endsWith("-with-x") ?? false;
  for (const demand of wanted) {
    const [name] = demand;
    if (name !== "x-match" && (withX || !name.startsWith("x-"))) yield demand;
  }
}

/**
 * The same for all headers that are equal, as RabbitMQ compares them: numbers by value and texts by
 * bytes, whatever their type. Undefined for what equals none.
 */
function keyOf(name: string, field: Field): string | undefined {
  switch (field.type) {
    case "longstr":
      return keyFor(name, "text", field.value);
    case "binary":
      return keyFor(name, "text", decodeText(field.value, 0, field.value.length));
    case "bool":
      return keyFor(name, "bool", `${field.value}`);
    case "decimal":
      return keyFor(name, "decimal", `${field.scale},${field.value}`);
    case "void":
      return undefined;
    case "table":
    case "array":
      return keyFor(name, "bytes", bytesAsText(encodeTable(new Map([["", field]]))));
    default:
      return numberKey(name, field);
  }
}

/** All digits of it: floats that are whole are as large as integers. */
function numberKey(name: string, field: Field): string | undefined {
  const number = numberOf(field);
  if (Number.isNaN(number)) return undefined;
  return keyFor(name, "number", `${Number.isInteger(number) ? BigInt(number!) : number}`);
}

/** By its length: any character may be in a name. */
function keyFor(name: string, kind: string, value: string): string {
  return `${name.length}${kind}${name}${value}`;
}
