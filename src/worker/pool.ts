/**
 * Runs deliveries at the same time, as many as allowed. The broker's prefetch alone does not keep
 * them in bounds: it starts anew with every connection, while a task whose connection was lost
 * still runs, and it does not count what was acknowledged early.
 */
import type { Delivery } from "../amqp/consumption.ts";
import { Waiters } from "../time/waiters.ts";
import { Chain } from "./chain.ts";
import type { Job } from "./job.ts";
import { Jobs } from "./jobs.ts";
import type { Execution, PoolCounts, PoolOptions } from "./pool_options.ts";
import { Turns } from "./turns.ts";

export class Pool {
  readonly #options: PoolOptions;
  readonly #jobs: Jobs;
  /** Taken and not settled yet. */
  readonly #taken = new Chain<Job>();
  readonly #idleWaiters = new Waiters();
  /** Deliveries beyond the concurrency. */
  readonly #turns = new Turns(() => this.#taken.values().map(({ delivery }) => delivery));

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#jobs = new Jobs(options, (job, fault) => this.#end(job, fault));
  }

  /** Tasks taken and not settled yet. */
  get taken(): number {
    return this.#taken.size;
  }

  /** What runs of them, oldest first. */
  get executing(): readonly Execution[] {
    return this.#taken.values().filter(({ isRunning }) => isRunning);
  }

  get counts(): PoolCounts {
    return this.#jobs.counts;
  }

  /** Tasks that had been finished and came back, because the broker had not heard of it. */
  get recognised(): number {
    return this.#jobs.recognised;
  }

  /** Runs a task and settles it. @param onOver told when that is over, maybe before this returns */
  run(delivery: Delivery, onOver: (delivery: Delivery) => void = () => {}): void {
    if (this.#mustWait(delivery)) this.#runInTurn(delivery, onOver);
    else this.#runNow(delivery, onOver);
  }

  async #runInTurn(delivery: Delivery, onOver: (delivery: Delivery) => void): Promise<void> {
    while (this.#mustWait(delivery) && !this.#jobs.isDraining && delivery.live) {
      await this.#turns.wait(delivery);
    }
    this.#runNow(delivery, onOver);
  }

  #runNow(
    delivery: Delivery,
    onOver: (delivery: Delivery) => void,
    isWanted = !this.#jobs.isDraining,
  ): void {
    const job = this.#take(delivery, onOver);
    if (job === undefined) return onOver(delivery);
    const isBegun = isWanted || delivery.passedOn !== undefined;
    let work: Promise<void> | undefined;
    try {
      work = isBegun ? this.#jobs.process(job) : this.#jobs.giveBack(delivery);
    } catch (error) {
      return this.#end(job, error);
    }
    work?.then(() => this.#end(job), (fault) => this.#end(job, fault));
  }

  #end(job: Job, fault?: unknown): void {
    if (fault !== undefined) {
      return void this.#onFault(job.delivery, fault).then(() => this.#end(job));
    }
    this.#letGo(job);
    job.onOver(job.delivery);
  }

  /** A task that came and is not to be begun. Never rejects. */
  giveBack(delivery: Delivery): Promise<void> {
    return new Promise((resolve) => this.#runNow(delivery, () => resolve(), false));
  }

  /** Counts a delivery as taken until it is settled; undefined: it is lost already. */
  #take(delivery: Delivery, onOver: (delivery: Delivery) => void): Job | undefined {
    if (delivery.live) {
      const job = this.#jobs.create(delivery, onOver);
      job.member = this.#taken.add(job);
      return job;
    }
    if (delivery.comesBack) this.#options.finished.comesBack(delivery.task);
    return undefined;
  }

  /** A fault of ours: the task must not be lost with it, nor the worker. */
  async #onFault(delivery: Delivery, error: unknown): Promise<void> {
    this.#options.log.error(`a fault in this program: ${error}`, { id: delivery.task.id });
    await this.#jobs.giveBack(delivery).catch(() => {});
  }

  #letGo({ delivery, member }: Job): void {
    if (delivery.comesBack) this.#options.finished.comesBack(delivery.task);
    this.#taken.delete(member!);
    this.#turns.ended(delivery);
    this.#options.onChange?.();
    if (this.#taken.size > 0) return;
    if (this.#jobs.isDraining) this.#jobs.rest();
    this.#idleWaiters.wake();
  }

  /** Resolves when no task is running. */
  idle(): Promise<void> {
    return this.#taken.size === 0 ? Promise.resolve() : this.#idleWaiters.wait();
  }

  /**
   * Starts no more tasks; those that come, or wait for their turn, go back.
   *
   * @param stopped resolves when the broker sends no more: what goes back earlier would return
   */
  drain(stopped: Promise<unknown>): void {
    this.#jobs.drain(stopped);
    this.#turns.wake();
  }

  /** Asks every running task to stop; they end as interrupted. */
  interrupt(): void {
    this.drain(Promise.resolve());
    this.#jobs.interrupt(this.#taken.values());
  }

  /** All places are taken, or one is by the same task. */
  #mustWait(delivery: Delivery): boolean {
    return this.#taken.size >= this.#options.concurrency || this.#turns.isUnderWay(delivery);
  }
}
