/** Who may log in. Passwords are kept as scrypt hashes only. */

import type { Store } from "./store.ts";

/** The login that exists when no user was named; only from this machine. */
const GUEST = "guest";

/** scrypt's cost: 32 MiB and some tens of milliseconds for one guess. */
const SCRYPT = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const KEY_BYTES = 32;

export class Users {
  readonly #store: Store;
  /**
   * Digests of passwords that were right, so that not every connection costs a scrypt. The key of
   * the digests is this process's alone.
   */
  readonly #known = new Map<string, string>();
  readonly #digestKey = crypto.getRandomValues(new Uint8Array(32));
  /** One hash at a time: guesses wait for each other instead of filling the memory. */
  #hashing: Promise<unknown> = Promise.resolve();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Adds a user or changes a password. With any user there is no guest. */
  async add(name: string, password: string): Promise<void> {
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const key = await this.#hash(password, salt);
    this.#store.setSecret(name, `scrypt$${encode(salt)}$${encode(key)}`);
    this.#known.delete(name);
  }

  /** @param isLocal whether the client is on this machine */
  async check(name: string, password: string, isLocal: boolean): Promise<boolean> {
    if (!this.#store.hasUsers) return isLocal && name === GUEST && password === GUEST;
    const digest = await this.#digest(name, password);
    if (this.#known.get(name) === digest) return true;
    const secret = this.#store.secretOf(name);
    const [, salt, key] = secret?.split("$") ?? [];
    // An unknown user costs as much time as a known one.
    const hash = await this.#hash(password, salt === undefined ? new Uint8Array(16) : decode(salt));
    if (key === undefined || !isEqual(hash, decode(key))) return false;
    this.#known.set(name, digest);
    return true;
  }

  async #hash(password: string, salt: Uint8Array): Promise<Uint8Array> {
    const hashed = this.#hashing.then(() => scrypt(password, salt));
    this.#hashing = hashed.catch(() => undefined);
    return await hashed;
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
