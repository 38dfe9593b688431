/**
 * What is done with a job: whether it is begun, its run, and how it is settled. Jobs know nothing of
 * each other: how many there are at a time is the pool's.
 */
import type { Delivery } from "../amqp/consumption.ts";
import { EXIT } from "../errors.ts";
import type { Outcome } from "../task/handler.ts";
import { type History, readHistory } from "../task/headers.ts";
import { admit, decide, type Decision, giveBack, isSuspect } from "../task/retry.ts";
import { waitedMs } from "../task/waiting.ts";
import { sleep } from "../time/sleep.ts";
import { turnTime } from "../time/turn_time.ts";
import { freeBody } from "./free_body.ts";
import { Job, type JobOwner, type Start, startOf } from "./job.ts";
import type { PoolCounts, PoolOptions } from "./pool_options.ts";
import type { RunRules } from "./run.ts";
import { Runs } from "./runs.ts";
import { fateOf, TaskLog } from "./task_log.ts";

/** From the suspicion of a crash loop to the second look at it, in milliseconds. */
const SECOND_LOOK_MS = 3_000;

/** What the work gave is forgotten. */
const SKIPPED = { body: new Uint8Array(), cut: false, skipped: true };

export class Jobs {
  readonly #options: PoolOptions;
  readonly #onOver: (job: Job, fault?: unknown) => void;
  readonly #owner: JobOwner;
  readonly #tasks: TaskLog;
  readonly #counts = { started: 0, done: 0, delayed: 0, dead: 0, returned: 0 };
  #recognised = 0;
  /** None begins any more. */
  readonly #drained = new AbortController();
  /** Those that run have to stop. */
  readonly #abort = new AbortController();
  /** Of the drain: resolves when the broker sends no more. */
  #stopped: Promise<unknown> | undefined;

  /** @param onOver told of a job that is settled, or why it could not be: what `process` gave no promise of */
  constructor(options: PoolOptions, onOver: (job: Job, fault?: unknown) => void) {
    this.#options = options;
    this.#onOver = onOver;
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

  get counts(): PoolCounts {
    return this.#counts;
  }

  /** Tasks that had been finished and came back, because the broker had not heard of it. */
  get recognised(): number {
    return this.#recognised;
  }

  /** None is to be begun any more. */
  get isDraining(): boolean {
    return this.#stopped !== undefined;
  }

  /** @param onOver told when the pool has let go of it */
  create(delivery: Delivery, onOver: (delivery: Delivery) => void): Job {
    return new Job(this.#owner, delivery, onOver);
  }

  /**
   * Begins none any more.
   *
   * @param stopped resolves when the broker sends no more: what goes back earlier would return
   */
  drain(stopped: Promise<unknown>): void {
    this.#stopped ??= stopped;
    this.#drained.abort();
    this.#options.pace?.stop();
    this.rest();
  }

  /** Asks those that run to stop; they end as interrupted. */
  interrupt(jobs: readonly Job[]): void {
    this.#abort.abort();
    for (const job of jobs) if (job.isRunning) job.interrupt();
  }

  /** Nothing runs, and nothing will: keeps no timer. */
  rest(): void {
    this.#owner.rules.runs.rest();
  }

  /** @returns undefined: its end comes when it is settled, and maybe came already */
  process(job: Job): Promise<void> | undefined {
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
    if (isCounted && !this.isDraining && delivery.live) await starts.note(task);
    if (this.isDraining) {
      await this.giveBack(delivery, start.earlier);
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
    if (job.onSettled === undefined) this.#onOver(job, fault);
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
    if (decision === undefined) return await this.giveBack(delivery);
    this.#count(decision);
    this.#tasks.buried(delivery.task, decision);
    await settler.moved(delivery, decision, this.#abort.signal);
  }

  /** A task that was not begun goes back: it is nobody's fault. @param starts see `giveBack` of retry.ts */
  async giveBack(delivery: Delivery, starts = 0): Promise<void> {
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
