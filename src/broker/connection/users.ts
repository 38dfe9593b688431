/** Who may log in. Passwords are kept as scrypt hashes only. */

import { now } from "../../time/clock.ts";
import type { Store } from "../store/store.ts";
import type { Credentials } from "./credentials.ts";
import { CrowdedError, LoginLine } from "./login_line.ts";
import { isPasswordOf, secretOf } from "./secret.ts";
import { networkOf } from "./network.ts";
import { isLoopback } from "../../amqp/loopback.ts";

/** The login that exists when no user was named; only from this machine. */
const GUEST = "guest";

/** Hashes at a time: they run beside the event loop, and each takes 32 MiB. */
const HASHES = Math.min(Math.max(navigator.hardwareConcurrency - 1, 2), 4);

/** Hashes that wait, about as many as are done while a client waits for one. */
const MOST_WAITING = 128;

/**
 * Logins for which there was no time that are remembered, and how often one that comes again gets
 * before others for it. Who guesses tries each password once; who knows it comes again with it.
 */
const MOST_RETURNING = 16_384;
const MOST_RETURNS = 4;

/** Wrong logins, and networks that sent one, that are remembered. */
const MOST_WRONG = 4_096;

/** Milliseconds for which a network that sent a wrong login waits behind those that did not. */
const DISTRUST_MS = 600_000;

/** Somebody wants to log in. */
export interface LoginAttempt extends Credentials {
  /** Where it comes from. */
  address: string;
  /** Whether it still waits for the answer. */
  isWanted: () => boolean;
}

interface Guess {
  readonly verdict: Promise<boolean>;
  /** Who waits for it. */
  readonly askers: LoginAttempt[];
}

export class Users {
  readonly #store: Store;
  /**
   * Digests of passwords that were right, by user: not every connection costs a hash, and neither
   * does a wrong guess at a password that is known. The key of the digests is this process's alone.
   */
  readonly #known = new Map<string, string>();
  /** Digests of logins that were wrong, the oldest first. */
  readonly #wrong = new Map<string, true>();
  /** When each network sent its last wrong login, the oldest first; by the clock of `clock.ts`. */
  readonly #distrusted = new Map<string, number>();
  /** How often there was no time for a login, by its digest; the oldest first. */
  readonly #returning = new Map<string, number>();
  /** Hashes under way, by the digest of their login: many clients may come with the same one. */
  readonly #guesses = new Map<string, Guess>();
  #stopped = false;
  #digestKey: Promise<CryptoKey> | undefined;
  readonly #hashing = new LoginLine(HASHES, MOST_WAITING);

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Adds a user or changes a password. With any user there is no guest. Nothing is written when it
   * is there with this password: the disk may be full.
   */
  async add(name: string, password: string): Promise<void> {
    const secret = this.#store.users.secretOf(name);
    if (secret === undefined || !await isPasswordOf(secret, password)) {
      this.#store.setSecret(name, await secretOf(password));
    }
    this.#wrong.clear();
    this.#known.set(name, await this.#digest(name, password));
  }

  /** The broker ends: nothing is hashed any more. */
  stop(): void {
    this.#stopped = true;
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Others wait for their passwords to be hashed. */
  get isCrowded(): boolean {
    return this.#hashing.waiting >= HASHES;
  }

  /**
   * An unknown user is refused without a hash: whoever tells a client of a refusal does so no sooner
   * than a hash takes.
   * @throws {CrowdedError} when nobody can tell now: too many other guesses wait to be hashed
   */
  async check(attempt: LoginAttempt): Promise<boolean> {
    const { user, password, address } = attempt;
    if (!this.#store.users.any) {
      return isLoopback(address) && user === GUEST && password === GUEST;
    }
    const network = networkOf(address);
    const isRight = await this.#verify(attempt, await this.#digest(user, password), network);
    this.#distrusted.delete(network);
    if (!isRight) remember(this.#distrusted, network, now());
    return isRight;
  }

  async #verify(attempt: LoginAttempt, digest: string, network: string): Promise<boolean> {
    const { user } = attempt;
    const secret = this.#store.users.secretOf(user);
    if (secret === undefined) return false;
    const remembered = this.#recall(user, digest);
    if (remembered !== undefined) return remembered;
    const underWay = this.#guesses.get(digest);
    if (underWay !== undefined) {
      underWay.askers.push(attempt);
      return await underWay.verdict;
    }
    const askers = [attempt];
    const returns = this.#returning.get(digest) ?? 0;
    const rank = this.#isDistrusted(network) ? 0 : 1 + returns;
    const owner = { subject: user, asker: network, rank };
    const verdict = this.#hashing.add(owner, async () => {
      if (this.#stopped || !askers.some(({ isWanted }) => isWanted())) throw new CrowdedError();
      return this.#recall(user, digest) ?? await this.#hash(attempt, secret, digest);
    }).finally(() => this.#guesses.delete(digest));
    this.#guesses.set(digest, { verdict, askers });
    try {
      return await verdict;
    } catch (error) {
      this.#returning.delete(digest);
      remember(this.#returning, digest, Math.min(returns + 1, MOST_RETURNS), MOST_RETURNING);
      throw error;
    }
  }

  /** What is known without a hash. A user has one password: when it is known, others are wrong. */
  #recall(user: string, digest: string): boolean | undefined {
    const known = this.#known.get(user);
    if (known !== undefined) return known === digest;
    return this.#wrong.has(digest) ? false : undefined;
  }

  async #hash({ user, password }: Credentials, secret: string, digest: string): Promise<boolean> {
    const isRight = await isPasswordOf(secret, password);
    // Unless the password was changed meanwhile.
    if (this.#store.users.secretOf(user) !== secret) return isRight;
    if (isRight) this.#known.set(user, digest);
    else remember(this.#wrong, digest, true);
    return isRight;
  }

  #isDistrusted(network: string): boolean {
    const since = this.#distrusted.get(network);
    return since !== undefined && now() - since < DISTRUST_MS;
  }

  async #digest(name: string, password: string): Promise<string> {
    const key = await (this.#digestKey ??= crypto.subtle.generateKey(
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    ));
    const text = new TextEncoder().encode(`${name}\0${password}`);
    return btoa(
      String.fromCharCode(...new Uint8Array(await crypto.subtle.sign("HMAC", key, text))),
    );
  }
}

/** Puts an entry behind the others, of which the oldest go. */
function remember<T>(map: Map<string, T>, key: string, value: T, most = MOST_WRONG): void {
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value!);
}
