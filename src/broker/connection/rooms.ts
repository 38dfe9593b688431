/** How much clients may take, and the memory that there is for each kind of it. */
import type { Deadlines } from "../../time/deadlines.ts";
import type { Scheduler } from "../../time/scheduler.ts";
import { Budget, type Taker } from "../channel/budget.ts";
import { ClientRoom } from "../channel/client_room.ts";
import { DeliveryRoom } from "../channel/delivery_room.ts";
import { FrameRoom } from "../net/frame_room.ts";
import { DEFAULT_LIMITS, type Limits } from "../net/limits.ts";
import { OutboxRoom } from "../net/outbox_room.ts";
import { MemoryUse } from "../queue/memory_use.ts";

export interface RoomsOptions {
  readonly limits?: Partial<Limits> | undefined;
  /** What this host has memory for of them; asked before anybody needs much. */
  readonly fit?: ((limits: Limits) => Limits) | undefined;
  /** Folder of the data, or undefined when nothing is on disk. */
  readonly folder?: string | undefined;
}

/** A broker, as its rooms see it. */
export interface RoomsHost {
  readonly deadlines: Deadlines;
  readonly scheduler: Scheduler;
  readonly afterSockets: (run: () => void) => void;
  /** Bytes of messages that wait for a commit. */
  unwritten(): number;
  /** All connections. */
  takers(): Iterable<Taker>;
  /** Memory holds so many bytes of the store's pages at most. */
  limitPages(bytes: number): void;
}

export class Rooms {
  /** Once they are fit, no more than the memory of this host allows. */
  readonly limits: Limits;
  /** Of messages and definitions. */
  readonly memory: MemoryUse;
  /** Of contents and transactions that are not complete. */
  readonly pending: Budget;
  readonly clientRoom: ClientRoom;
  readonly deliveryRoom: DeliveryRoom;
  readonly frameRoom: FrameRoom;
  readonly outboxRoom: OutboxRoom;
  readonly #host: RoomsHost;
  readonly #fitTo: RoomsOptions["fit"];
  #isFit = false;

  constructor({ limits: given, fit, folder }: RoomsOptions, host: RoomsHost) {
    const { deadlines, scheduler } = host;
    const limits = this.limits = { ...DEFAULT_LIMITS, ...given };
    this.#host = host;
    this.#fitTo = fit;
    this.memory = new MemoryUse(limits.memoryBytes, limits.keyBytes, limits.definitionBytes);
    this.clientRoom = new ClientRoom(limits.clientBytes);
    this.deliveryRoom = new DeliveryRoom(limits.allUnacked, scheduler);
    this.frameRoom = new FrameRoom(limits, deadlines);
    this.outboxRoom = new OutboxRoom(limits, folder, host);
    this.pending = new Budget(limits, deadlines, () => host.unwritten(), () => host.takers());
  }

  /** Makes them as large as this host has memory for, once: to find that out takes its time. */
  fit(): void {
    if (this.#isFit) return;
    this.#isFit = true;
    const limits = Object.assign(this.limits, this.#fitTo?.(this.limits));
    this.#host.limitPages(limits.pageBytes);
    this.memory.limitTo(limits.memoryBytes, limits.keyBytes, limits.definitionBytes);
    this.pending.limitTo(limits.pendingBytes);
    this.clientRoom.limitTo(limits.clientBytes);
    this.frameRoom.limitTo(limits.frameBytes);
    this.outboxRoom.limitTo(limits.outboxBytes);
  }
}
