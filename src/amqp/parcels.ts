/** What is to be published, in order, and how far that is. */
import type { Publication, Waiter } from "./publisher.ts";
import type { OpenLink } from "./publishing_link.ts";
import type { Transport } from "./transport.ts";
import type { ToolError } from "../errors.ts";

/** So many that are settled are forgotten at once. */
const FORGOTTEN_AT_ONCE = 1_024;

/** Something to publish, and whom to tell what became of it. */
export interface Parcel {
  /** A queue that has to be there for it, besides what `prepare` makes sure of. */
  readonly need:
    | { readonly name: string; ensure(transport: Transport): Promise<unknown> }
    | undefined;
  /** Called each time it is sent; undefined: it is not to be sent any more, and settled. */
  load(): Publication | undefined;
  onConfirmed(): void;
  /** It can never be published. */
  onRefused(error: ToolError): void;
  /** Nobody will send it (again); it may be there if it was sent. */
  onGivenBack(): void;
}

/** A parcel and where it is. */
export class Entry implements Waiter {
  isSettled = false;
  isSent = false;
  /** Nothing else was on its way with it. */
  isAlone = false;
  /** It is to be given back, and neither it nor what is behind it is sent before. */
  isKept = false;
  /** Nobody knows whether it is there. */
  inDoubt = false;
  returns = 0;
  kills = 0;
  /** What it was sent on last. */
  link: OpenLink | undefined;
  readonly parcel: Parcel;
  readonly #listener: EntryListener;

  constructor(parcel: Parcel, listener: EntryListener) {
    this.parcel = parcel;
    this.#listener = listener;
  }

  onConfirmed(): void {
    this.#listener.onConfirmed(this.link!, this);
  }

  onFailed(error: unknown): void {
    this.#listener.onFailed(this.link!, this, error);
  }
}

/** Is told of each entry what became of it. */
interface EntryListener {
  onConfirmed(link: OpenLink, entry: Entry): void;
  onFailed(link: OpenLink, entry: Entry, error: unknown): void;
}

/** Settled ones are skipped wherever they are. */
export class Parcels {
  readonly #listener: EntryListener;
  #entries: Entry[] = [];
  /** Those before it are settled or sent. */
  #next = 0;
  /** Those before it are settled. */
  #first = 0;
  #open = 0;

  constructor(listener: EntryListener) {
    this.#listener = listener;
  }

  /** Those that are not settled. */
  get open(): number {
    return this.#open;
  }

  add(parcel: Parcel): void {
    this.#entries.push(new Entry(parcel, this.#listener));
    this.#open++;
  }

  /** The first that is neither settled nor sent. */
  get next(): Entry | undefined {
    while (this.#entries[this.#next]?.isSettled) this.#next++;
    return this.#entries[this.#next];
  }

  /** The next one is on its way. */
  sent(): void {
    this.#entries[this.#next++]!.isSent = true;
  }

  /** @returns false: it was settled before */
  settle(entry: Entry): boolean {
    if (entry.isSettled) return false;
    entry.isSettled = true;
    this.#open--;
    while (this.#entries[this.#first]?.isSettled) this.#first++;
    if (this.#first >= FORGOTTEN_AT_ONCE || this.#open === 0) {
      this.#entries.splice(0, this.#first);
      this.#next = Math.max(0, this.#next - this.#first);
      this.#first = 0;
    }
    return true;
  }

  /** Those that are not settled, at this moment. */
  unsettled(): Entry[] {
    return this.#entries.filter((entry) => !entry.isSettled);
  }

  /** None is on its way any more: the first that is not settled is the next one. */
  rewind(): void {
    this.#entries = this.unsettled();
    for (const entry of this.#entries) entry.isSent = false;
    this.#next = this.#first = 0;
  }
}
