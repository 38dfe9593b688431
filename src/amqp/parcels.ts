/** What is to be published, in order, and how far that is. */
import { Pending } from "./pending.ts";
import type { Publication } from "./publisher.ts";
import type { OpenLink } from "./publishing_link.ts";
import type { Transport } from "./transport.ts";
import type { ToolError } from "../errors.ts";

/** So many that are settled are forgotten at once. */
const FORGOTTEN_AT_ONCE = 1_024;

/** Something to publish, where it is, and whom to tell what became of it. */
export abstract class Parcel extends Pending {
  /** Where it is; the relay's own, as are all that follow. */
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
  link: OpenLink | undefined = undefined;
  /** Told what becomes of it. */
  carrier: Carrier | undefined = undefined;

  /** A queue that has to be there for it, besides what `prepare` makes sure of. */
  abstract readonly need:
    | { readonly name: string; ensure(transport: Transport): Promise<unknown> }
    | undefined;
  /** Called each time it is sent; undefined: it is not to be sent any more, and settled. */
  abstract load(): Publication | undefined;
  abstract onArrived(): void;
  /** It can never be published. */
  abstract onRefused(error: ToolError): void;
  /** Nobody will send it (again); it may be there if it was sent. */
  abstract onGivenBack(): void;

  onConfirmed(): void {
    this.carrier!.onConfirmed(this.link!, this);
  }

  onFailed(error: unknown): void {
    this.carrier!.onFailed(this.link!, this, error);
  }
}

/** Is told of each parcel what became of it. */
interface Carrier {
  onConfirmed(link: OpenLink, parcel: Parcel): void;
  onFailed(link: OpenLink, parcel: Parcel, error: unknown): void;
}

/** Settled ones are skipped wherever they are. */
export class Parcels {
  readonly #carrier: Carrier;
  /** Undefined: settled, and of no use any more. */
  #all: (Parcel | undefined)[] = [];
  /** Those before it are settled or sent. */
  #next = 0;
  /** Those before it are settled. */
  #first = 0;
  #open = 0;

  constructor(carrier: Carrier) {
    this.#carrier = carrier;
  }

  /** Those that are not settled. */
  get open(): number {
    return this.#open;
  }

  add(parcel: Parcel): void {
    parcel.carrier = this.#carrier;
    this.#all.push(parcel);
    this.#open++;
  }

  /** The first that is neither settled nor sent. */
  get next(): Parcel | undefined {
    this.#next = Math.max(this.#next, this.#first);
    while (this.#all[this.#next]?.isSettled) this.#next++;
    return this.#all[this.#next];
  }

  /** The next one is on its way. */
  sent(): void {
    this.#all[this.#next++]!.isSent = true;
  }

  /** @returns false: it was settled before */
  settle(parcel: Parcel): boolean {
    if (parcel.isSettled) return false;
    parcel.isSettled = true;
    this.#open--;
    while (this.#all[this.#first]?.isSettled) this.#all[this.#first++] = undefined;
    if (this.#first >= FORGOTTEN_AT_ONCE || this.#open === 0) {
      this.#all.splice(0, this.#first);
      this.#next = Math.max(0, this.#next - this.#first);
      this.#first = 0;
    }
    return true;
  }

  /** Those that are not settled, at this moment. */
  unsettled(): Parcel[] {
    return this.#all.filter((parcel): parcel is Parcel => parcel?.isSettled === false);
  }

  /** None is on its way any more: the first that is not settled is the next one. */
  rewind(): void {
    const unsettled = this.unsettled();
    for (const parcel of unsettled) parcel.isSent = false;
    this.#all = unsettled;
    this.#next = this.#first = 0;
  }
}
