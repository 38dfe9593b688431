/** Who may log in. Passwords are kept as scrypt hashes only. */

import type { Definitions } from "./definitions.ts";
import { FairQueue } from "./fair_queue.ts";
import { isLoopback } from "../amqp/loopback.ts";

/** The login that exists when no user was named; only from this machine. */
const GUEST = "guest";

/** scrypt's cost: 32 MiB and some tens of milliseconds for one guess. */
const SCRYPT = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const KEY_BYTES = 32;

/** What a client says who it is. */
export interface Login {
  user: string;
  password: string;
  /** Where it comes from. */
  address: string;
  /** Whether it still waits for the answer. */
  isWanted: () => boolean;
}

export class Users {
  readonly #store: Definitions;
  /**
   * Digests of passwords that were right, so that not every connection costs a scrypt. The key of
   * the digests is this process's alone.
   */
  readonly #known = new Map<string, string>();
  readonly #digestKey = crypto.getRandomValues(new Uint8Array(32));
  /** One hash at a time: guesses wait for each other instead of filling the memory. */
  readonly #hashing = new FairQueue();

  constructor(store: Definitions) {
    this.#store = store;
  }

  /** Adds a user or changes a password. With any user there is no guest. */
  async add(name: string, password: string): Promise<void> {
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const key = await scrypt(password, salt);
    this.#store.setSecret(name, `scrypt$${encode(salt)}$${encode(key)}`);
    this.#known.set(name, await this.#digest(name, password));
  }

  async check({ user, password, address, isWanted }: Login): Promise<boolean> {
    if (!this.#store.hasUsers) {
      return isLoopback(address) && user === GUEST && password === GUEST;
    }
    const digest = await this.#digest(user, password);
    if (this.#known.get(user) === digest) return true;
    const secret = this.#store.secretOf(user);
    const [, salt, key] = secret?.split("$") ?? [];
    const isRight = await this.#hashing.add(address, async () => {
      if (!isWanted()) return false;
      // An unknown user costs as much time as a known one.
      const hash = await scrypt(password, salt === undefined ? new Uint8Array(16) : decode(salt));
      return key !== undefined && isEqual(hash, decode(key));
    });
    if (isRight) this.#known.set(user, digest);
    return isRight;
  }

  async #digest(name: string, password: string): Promise<string> {
    const key = await crypto.subtle.importKey(
      "raw",
      this.#digestKey,
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    );
    const text = new TextEncoder().encode(`${name}\0${password}`);
    return encode(new Uint8Array(await crypto.subtle.sign("HMAC", key, text)));
  }
}

/** node:crypto takes time to load, which only a broker with users pays. */
async function scrypt(password: string, salt: Uint8Array): Promise<Uint8Array> {
  const crypto = await import("node:crypto");
  return await new Promise((resolve, reject) => {
    crypto.scrypt(password, salt, KEY_BYTES, SCRYPT, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
}

function encode(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function decode(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Takes the same time wherever the difference is. */
function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let index = 0; index < one.length; index++) difference |= one[index]! ^ other[index]!;
  return difference === 0;
}
