/**
 * What the clients of a crash test were told, and what a broker that starts again must therefore
 * have: the broker's own word is not asked.
 */

/** A message's fate as its clients know it. */
interface Entry {
  /** The queue that it was published to. */
  readonly queue: string;
  readonly persistent: boolean;
  confirmed: boolean;
  /** sent: the acknowledgement is on its way; settled: a later confirm says that it was committed. */
  acked: "no" | "sent" | "settled";
  /** It was found before: it must still be there, and is counted no more. */
  readonly old?: true;
}

/** Violated promises, counted, and what they are counted of. */
export interface Verdict {
  rounds: number;
  confirmed: number;
  lost: number;
  settled: number;
  redelivered: number;
  /** Messages found in two queues, or twice in one. */
  doubled: number;
  /** Transient or purged messages that came back. */
  revived: number;
  transactions: number;
  /** Transactions, and publishes to several queues, of which only a part was found. */
  torn: number;
  /** Messages that a backup must have. */
  backedUp: number;
  /** A pause, or the end of one, that was answered and forgotten. */
  forgotten: number;
}

export function noVerdict(): Verdict {
  return {
    rounds: 0,
    confirmed: 0,
    lost: 0,
    settled: 0,
    redelivered: 0,
    doubled: 0,
    revived: 0,
    transactions: 0,
    torn: 0,
    backedUp: 0,
    forgotten: 0,
  };
}

/** Everything that must be 0. */
export function violations(
  { lost, redelivered, doubled, revived, torn, forgotten }: Verdict,
): number {
  return lost + redelivered + doubled + revived + torn + forgotten;
}

/** A commit takes one message off a queue and puts these onto another. */
interface Transaction {
  readonly taken: string;
  readonly published: readonly string[];
  committed: boolean;
}

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  readonly #transactions: Transaction[] = [];
  /** Copies of one publish. */
  readonly #together: (readonly string[])[] = [];
  #confirms = 0;
  #onConfirms: { count: number; resolve: () => void } | undefined;

  published(id: string, queue: string, persistent: boolean): void {
    this.#entries.set(id, { queue, persistent, confirmed: false, acked: "no" });
  }

  /** They were published as one, and nobody takes them. */
  together(ids: readonly string[]): void {
    this.#together.push(ids);
  }

  confirmed(id: string): void {
    this.#entries.get(id)!.confirmed = true;
    if (++this.#confirms === this.#onConfirms?.count) this.#onConfirms.resolve();
  }

  /** Resolves when so many more messages were confirmed. */
  afterConfirms(more: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onConfirms = { count: this.#confirms + more, resolve };
    });
  }

  acked(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.acked = "sent";
  }

  /** What may be in a queue, as far as it was published there. */
  idsIn(queue: string): string[] {
    const ids: string[] = [];
    for (const [id, entry] of this.#entries) {
      if (entry.queue === queue && entry.acked !== "settled") ids.push(id);
    }
    return ids;
  }

  /** What must be there now. */
  promised(): string[] {
    const taken = new Set(this.#transactions.map(({ taken }) => taken));
    const ids: string[] = [];
    for (const [id, { acked, confirmed, persistent }] of this.#entries) {
      if (confirmed && persistent && acked === "no" && !taken.has(id)) ids.push(id);
    }
    return ids;
  }

  settled(ids: Iterable<string>): void {
    for (const id of ids) {
      const entry = this.#entries.get(id);
      if (entry !== undefined) entry.acked = "settled";
    }
  }

  /** Tells when the transaction is committed. */
  transaction(taken: string, published: readonly string[]): () => void {
    const transaction = { taken, published, committed: false };
    this.#transactions.push(transaction);
    return () => transaction.committed = true;
  }

  /**
   * Compares with what a started broker has, and goes on from that.
   * @param found ids by queue
   * @param say told about each violation
   */
  compare(
    found: ReadonlyMap<string, readonly string[]>,
    verdict: Verdict,
    say: (sentence: string) => void,
  ): void {
    const places = new Map<string, string[]>();
    for (const [queue, ids] of found) {
      for (const id of ids) places.set(id, [...places.get(id) ?? [], queue]);
    }
    verdict.rounds++;
    const inTransaction = new Set(this.#transactions.map(({ taken }) => taken));
    for (const [id, entry] of this.#entries) {
      const here = places.get(id) ?? [];
      const text = `${id} of ${entry.queue}: ${JSON.stringify(entry)}, found in [${here}]`;
      if (here.length > 1) verdict.doubled++, say(`doubled: ${text}`);
      if (!entry.persistent) {
        if (here.length > 0) verdict.revived++, say(`revived: ${text}`);
        continue;
      }
      if (entry.acked === "settled") {
        verdict.settled++;
        if (here.length > 0) verdict.redelivered++, say(`redelivered: ${text}`);
      } else if (entry.confirmed && entry.acked === "no" && !inTransaction.has(id)) {
        if (!entry.old) verdict.confirmed++;
        if (here.length === 0) verdict.lost++, say(`lost: ${text}`);
      }
    }
    this.#compareTransactions(places, verdict, say);
    for (const ids of this.#together) {
      const there = ids.filter((id) => places.has(id)).length;
      const isWhole = there === 0 || there === ids.length;
      if (!isWhole) verdict.torn++, say(`torn: ${there} of ${ids}`);
    }
    for (const id of places.keys()) {
      const known = this.#entries.has(id) ||
        this.#transactions.some(({ published }) => published.includes(id));
      if (!known) verdict.revived++, say(`revived: ${id} in [${places.get(id)}]`);
    }
    this.#startAgain(found);
  }

  #compareTransactions(
    places: ReadonlyMap<string, readonly string[]>,
    verdict: Verdict,
    say: (sentence: string) => void,
  ): void {
    for (const { taken, published, committed } of this.#transactions) {
      verdict.transactions++;
      const there = published.filter((id) => places.has(id)).length;
      // A transient message is gone with the process, taken or not.
      const isThere = places.has(taken) || this.#entries.get(taken)?.persistent === false;
      const undone = there === 0 && !committed && isThere;
      const whole = undone || (there === published.length && !places.has(taken));
      if (!whole) verdict.torn++, say(`torn: ${taken}, ${there} of ${published.length}`);
    }
  }

  #startAgain(found: ReadonlyMap<string, readonly string[]>): void {
    this.#entries.clear();
    this.#transactions.length = this.#together.length = 0;
    for (const [queue, ids] of found) {
      for (const id of ids) {
        this.#entries.set(id, { queue, persistent: true, confirmed: true, acked: "no", old: true });
      }
    }
  }

  /** These must not come back. */
  purged(ids: Iterable<string>): void {
    for (const id of ids) this.#entries.delete(id);
  }
}
