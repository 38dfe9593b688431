/**
 * Runs deliveries at the same time, as many as allowed. The broker's prefetch alone does not keep
 * them in bounds: it starts anew with every connection, while a task whose connection was lost
 * still runs, and it does not count what was acknowledged early.
 */
import type { Delivery } from "../amqp/consumption.ts";
import { EXIT } from "../errors.ts";
import { type History, readHistory } from "../task/headers.ts";
import type { Outcome } from "../task/handler.ts";
import { admit, decide, type Decision, giveBack, isSuspect } from "../task/retry.ts";
import { Chain } from "./chain.ts";
import type { RunRules } from "./run.ts";
import { Job, type JobOwner, type Start, startOf } from "./job.ts";
import type { Execution, PoolCounts, PoolOptions } from "./pool_options.ts";
import { freeBody } from "./free_body.ts";
import { Runs } from "./runs.ts";
import { fateOf, TaskLog } from "./task_log.ts";
import { Turns } from "./turns.ts";
import { waitedMs } from "../task/waiting.ts";
import { sleep } from "../time/sleep.ts";
import { turnTime } from "../time/turn_time.ts";

/** From the suspicion of a crash loop to the second look at it, in milliseconds. */
const SECOND_LOOK_MS = 3_000;

/** What the work gave is forgotten. */
const SKIPPED = { body: new Uint8Array(), cut: false, skipped: true };

export class Pool {
  readonly #options: PoolOptions;
  readonly #abort = new AbortController();
  /** The drain has begun. */
  readonly #drained = new AbortController();
  readonly #owner: JobOwner;
  readonly #tasks: TaskLog;
  readonly #counts = { started: 0, done: 0, delayed: 0, dead: 0, returned: 0 };
  /** Taken and not settled yet. */
  readonly #taken = new Chain<Job>();
  #draining = false;
  #stopped: Promise<unknown> | undefined;
  #idleWaiters: (() => void)[] = [];
  /** Deliveries beyond the concurrency. */
  readonly #turns = new Turns(() => this.#taken.values().map(({ delivery }) => delivery));
  #recognised = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
    const { bulk = false, log, policy, stopMs, summarize = false, timeoutMs } = options;
    this.#tasks = new TaskLog({ bulk, log, summarize });
    const rules: RunRules = {
      maxAttempts: policy.maxAttempts,
      runs: new Runs(timeoutMs),
      stopMs,
      onHung: (task) => {
        const reason = "the handler of a task does not stop when it is told to";
        log.error(reason, { id: task.id });
        options.onUnable?.(EXIT.internal, reason);
      },
    };
    this.#owner = { rules, ran: (job, outcome) => this.#onRunEnd(job, outcome) };
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
    return this.#counts;
  }

  /** Tasks that had been finished and came back, because the broker had not heard of it. */
  get recognised(): number {
    return this.#recognised;
  }

  /** Runs a task and settles it. @param onOver told when that is over, maybe before this returns */
  run(delivery: Delivery, onOver: (delivery: Delivery) => void = () => {}): void {
    if (this.#mustWait(delivery)) this.#runInTurn(delivery, onOver);
    else this.#runNow(delivery, onOver);
  }

  async #runInTurn(delivery: Delivery, onOver: (delivery: Delivery) => void): Promise<void> {
    while (this.#mustWait(delivery) && !this.#draining && delivery.live) {
      await this.#turns.wait(delivery);
    }
    this.#runNow(delivery, onOver);
  }

  #runNow(
    delivery: Delivery,
    onOver: (delivery: Delivery) => void,
    isWanted = !this.#draining,
  ): void {
    const job = this.#take(delivery, onOver);
    if (job === undefined) return onOver(delivery);
    const isBegun = isWanted || delivery.passedOn !== undefined;
    let work: Promise<void> | undefined;
    try {
      work = isBegun ? this.#process(job) : this.#giveBack(delivery);
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
      const job = new Job(this.#owner, delivery, onOver);
      job.member = this.#taken.add(job);
      return job;
    }
    if (delivery.comesBack) this.#options.finished.comesBack(delivery.task);
    return undefined;
  }

  /** A fault of ours: the task must not be lost with it, nor the worker. */
  async #onFault(delivery: Delivery, error: unknown): Promise<void> {
    this.#options.log.error(`a fault in this program: ${error}`, { id: delivery.task.id });
    await this.#giveBack(delivery).catch(() => {});
  }

  #letGo({ delivery, member }: Job): void {
    if (delivery.comesBack) this.#options.finished.comesBack(delivery.task);
    this.#taken.delete(member!);
    this.#turns.ended(delivery);
    this.#options.onChange?.();
    if (this.#taken.size > 0) return;
    if (this.#draining) this.#owner.rules.runs.rest();
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resume of waiters) resume();
  }

  /** Resolves when no task is running. */
  idle(): Promise<void> {
    if (this.#taken.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /**
   * Starts no more tasks; those that come, or wait for their turn, go back.
   *
   * @param stopped resolves when the broker sends no more: what goes back earlier would return
   */
  drain(stopped: Promise<unknown>): void {
    this.#stopped ??= stopped;
    this.#draining = true;
    this.#drained.abort();
    this.#turns.wake();
    this.#options.pace?.stop();
    this.#owner.rules.runs.rest();
  }

  /** Asks every running task to stop; they end as interrupted. */
  interrupt(): void {
    this.drain(Promise.resolve());
    this.#abort.abort();
    for (const job of this.#taken.values()) if (job.isRunning) job.interrupt();
  }

  /** All places are taken, or one is by the same task. */
  #mustWait(delivery: Delivery): boolean {
    return this.#taken.size >= this.#options.concurrency || this.#turns.isUnderWay(delivery);
  }

  /** @returns undefined: its end comes when it is settled, and maybe came already */
  #process(job: Job): Promise<void> | undefined {
    const { delivery } = job;
    if (delivery.leftOut > 0) return this.#refuse(delivery);
    const { policy } = this.#options;
    const settling = this.#settleDone(delivery);
    if (settling !== undefined) return settling;
    const history = readHistory(delivery.task);
    if (isSuspect(history, policy)) return this.#admit(job, history, true);
    const admission = admit(history, 0, policy);
    if (admission.kind !== "run") return this.#admit(job, history, false);
    const start = startOf(history, admission.attempt);
    const { ackEarly, pace, tracing } = this.#options;
    const isPlain = pace === undefined && tracing === undefined && ackEarly !== true;
    return isPlain ? this.#start(job, start) : this.#begin(job, start);
  }

  /** Begins a task if it may be begun. @param suspect its starts are written down */
  async #admit(job: Job, history: History, suspect: boolean): Promise<void> {
    const { policy, starts } = this.#options;
    const { delivery, task } = job;
    // Nobody could tell its starts from those of others; its copy gets an id.
    if (suspect && task.id === "") return await this.#settle(delivery, { kind: "renew" });
    let counted = suspect ? await starts.count(task) : 0;
    let admission = admit(history, earlierOf(counted), policy);
    if (admission.kind === "bury" && admission.reason === "crash-loop") {
      // A worker that lives takes its start back when it notices that its connection is lost.
      await sleep(SECOND_LOOK_MS, delivery.lost);
      counted = await starts.count(task);
      admission = admit(history, earlierOf(counted), policy);
    }
    if (admission.kind === "run") {
      const isCounted = suspect && typeof counted === "number";
      const { attempt } = admission;
      return await this.#begin(job, {
        history,
        attempt,
        earlier: earlierOf(counted),
        isCounted,
      });
    }
    await this.#settle(delivery, admission);
    if (suspect && admission.kind === "bury") await starts.forget(task);
  }

  /** Settles a task that was done before; undefined: it was not. */
  #settleDone(delivery: Delivery): Promise<void> | undefined {
    const { bulk, dedupe, finished, settler } = this.#options;
    const { task } = delivery;
    const remembered = finished.take(task);
    if (remembered !== undefined) {
      this.#recognised++;
      if (!bulk) this.#tasks.skipped("a finished task has come back and is not run again", task);
      // It was counted when it was decided.
      return settler.settle(delivery, remembered, this.#abort.signal) ?? Promise.resolve();
    }
    if (!dedupe?.has(task)) return undefined;
    this.#tasks.skipped("a task has already succeeded on this host and is skipped", task);
    return this.#settle(delivery, { kind: "ack", answer: SKIPPED });
  }

  /** Runs a task when it is its turn, if it is wanted then, and writes its start down before. */
  async #begin(job: Job, start: Start): Promise<void> {
    const { pace, settler, starts } = this.#options;
    const { delivery, task } = job;
    const { isCounted } = start;
    if (pace !== undefined) await pace.turn(delivery.lost);
    if (isCounted && !this.#draining && delivery.live) await starts.note(task);
    if (this.#draining) {
      await this.#giveBack(delivery, start.earlier);
      if (isCounted) await starts.forget(task);
      return;
    }
    if (!delivery.live) {
      if (isCounted) await starts.takeBack(task);
      return;
    }
    job.early = this.#options.ackEarly === true;
    if (job.early && !settler.acknowledgeEarly(delivery)) return;
    const traced = job.traced = this.#options.tracing?.attempt(task, start.attempt);
    const settled = () =>
      new Promise<void>((resolve, reject) => {
        job.onSettled = (fault?: unknown) => fault === undefined ? resolve() : reject(fault);
        this.#start(job, start);
      });
    if (traced === undefined) return await settled();
    try {
      await traced.within(settled);
    } finally {
      traced.end();
    }
  }

  /** Runs a task, and settles it then. */
  #start(job: Job, start: Start): undefined {
    const { answers, handler, killOnDisconnect, starts } = this.#options;
    const { delivery, task } = job;
    job.start = start;
    if (killOnDisconnect) job.lost = delivery.lost;
    // A handler may take long before it gives its promise: then it is late for the next one.
    job.startedAt = typeof handler === "function" ? performance.now() : turnTime();
    if (start.isCounted) {
      // Whoever lives has not crashed, and the next worker may have the task before this one ends it.
      job.onLost = () => void starts.takeBack(task);
      delivery.lost.addEventListener("abort", job.onLost);
    }
    this.#counts.started++;
    this.#options.onChange?.();
    job.isRunning = true;
    job.reporting = answers?.progress(task, start.attempt);
    job.begin(handler);
  }

  #onRunEnd(job: Job, outcome: Outcome): void {
    let settling: Promise<void> | undefined;
    try {
      job.reporting?.end();
      if (job.onLost !== undefined) job.delivery.lost.removeEventListener("abort", job.onLost);
      job.isRunning = false;
      const noting = outcome.kind === "done" ? this.#options.dedupe?.add(job.task) : undefined;
      settling = noting?.then(() => this.#settleRun(job, outcome)) ?? this.#settleRun(job, outcome);
    } catch (error) {
      return this.#settled(job, error);
    }
    if (settling === undefined) this.#settled(job);
    else settling.then(() => this.#settled(job), (fault) => this.#settled(job, fault));
  }

  #settled(job: Job, fault?: unknown): void {
    if (job.onSettled === undefined) this.#end(job, fault);
    else job.onSettled(fault);
  }

  /** @returns undefined: nothing is to be waited for */
  #settleRun(job: Job, outcome: Outcome): Promise<void> | undefined {
    const { policy } = this.#options;
    const { start, traced } = job;
    const decision = decide(outcome, start.history, policy, Math.random(), start.earlier);
    this.#count(decision);
    traced?.ran(outcome, fateOf(decision));
    this.#tell(job, outcome, decision);
    if (outcome.kind === "unable") {
      return Promise.resolve(this.#options.onUnable?.(outcome.exitCode, outcome.reason))
        .then(() => this.#carryOut(job, decision));
    }
    return this.#carryOut(job, decision);
  }

  #carryOut({ delivery, early, start }: Job, decision: Decision): Promise<void> | undefined {
    const { settler, starts } = this.#options;
    const settling = settler.settle(delivery, decision, this.#abort.signal, early);
    if (settling === undefined && !start.isCounted) {
      this.#release(delivery, decision);
      return undefined;
    }
    return (async () => {
      await settling;
      if (start.isCounted) await starts.forget(delivery.task);
      this.#release(delivery, decision);
    })();
  }

  #release(delivery: Delivery, decision: Decision): void {
    // Of a copy that was refused there may be parts that are still to be sent.
    if (decision.kind !== "ack" || delivery.comesBack) return;
    const { finished, freeBodies } = this.#options;
    if (freeBodies === true) freeBody(delivery, finished);
  }

  /** Its body does not fit into the memory of this host; another one may have room. */
  async #refuse(delivery: Delivery): Promise<void> {
    const { oversize, settler } = this.#options;
    const signals = { ending: this.#drained.signal, over: this.#abort.signal };
    const decision = await oversize.refuse(delivery, signals);
    if (decision === undefined) return await this.#giveBack(delivery);
    this.#count(decision);
    this.#tasks.buried(delivery.task, decision);
    await settler.moved(delivery, decision, this.#abort.signal);
  }

  /** A task that was not begun: it is nobody's fault. */
  async #giveBack(delivery: Delivery, starts = 0): Promise<void> {
    await this.#stopped;
    if (!delivery.live) return;
    await this.#settle(
      delivery,
      giveBack(readHistory(delivery.task), this.#options.policy, starts),
    );
  }

  async #settle(delivery: Delivery, decision: Decision): Promise<void> {
    this.#count(decision);
    if (decision.kind === "bury") this.#tasks.buried(delivery.task, decision);
    await this.#options.settler.settle(delivery, decision, this.#abort.signal);
  }

  #count(decision: Decision): void {
    this.#counts[fateOf(decision)]++;
  }

  /** Tells of a run. How long the task waited before is read only for those who listen. */
  #tell({ attempt, startedAt, task }: Job, outcome: Outcome, decision: Decision): void {
    const { onRun, summarize } = this.#options;
    if (onRun === undefined && !summarize && outcome.kind === "done") return;
    const ms = performance.now() - startedAt;
    const run = { task, attempt, outcome, decision, ms, waitedMs: waitedMs(task, Date.now() - ms) };
    onRun?.(run);
    this.#tasks.ended(run);
  }
}

/** Starts as the rules take them: what cannot be known now is nothing to the task's harm. */
function earlierOf(counted: number | undefined | "unknown"): number | undefined {
  return counted === "unknown" ? 0 : counted;
}
