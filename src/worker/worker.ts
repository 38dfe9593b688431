/**
 * A worker: consumers of its queues, the pool that runs what they bring, and the ways it ends.
 *
 * Running <-> quiet (takes no more tasks, stays) -> draining (finishes, then ends). `drain` may come
 * from a signal, a limit, or a host that cannot do the work; the first cause gives the status.
 */
import { ackTimeoutRemedy, isAckTimeout } from "../amqp/ack_timeout.ts";
import { Connector } from "../amqp/connection.ts";
import type { Consumer } from "../amqp/consumer.ts";
import type { Delivery } from "../amqp/consumption.ts";
import { EXIT, type ToolError } from "../errors.ts";
import { DEFAULT_POLICY } from "../task/retry.ts";
import { Answers } from "./answers.ts";
import { Drain } from "./drain.ts";
import { FinishedTasks } from "./finished.ts";
import { Copier } from "./copier.ts";
import { consumerOf } from "./intake.ts";
import { connectTimeout, Limits } from "./limits.ts";
import type { WorkerOptions, WorkerQueue } from "./options.ts";
import { Oversize } from "./oversize.ts";
import { Pace } from "./pace.ts";
import { Pool } from "./pool.ts";
import { ReturnLimits } from "./return_limits.ts";
import { Settler } from "./settle.ts";
import { Starts } from "./starts.ts";
import { StrictIntake } from "./strict_intake.ts";

const DEFAULT_STOP_MS = 10_000;
const DEFAULT_GRACE_MS = 25_000;
/** What a broker is asked to wait where tasks have no limit, in milliseconds. */
const UNLIMITED_TASK_MS = 86_400_000;
/** From the end of a task's time to its acknowledgement, with ease, in milliseconds. */
export const ACK_MARGIN_MS = 300_000;

export class Worker {
  readonly #options: WorkerOptions;
  readonly #finished: FinishedTasks;
  readonly #copier: Copier;
  readonly #returnLimits: ReturnLimits;
  readonly #answers: Answers | undefined;
  readonly #oversize: Oversize;
  readonly #pool: Pool;
  readonly #consumers: readonly Consumer[];
  readonly #strict: StrictIntake | undefined;
  readonly #limits: Limits;
  /** Undefined: nothing ends. */
  #drain: Drain | undefined;
  #draining: Promise<void> | undefined;
  /** Of what asked for the end first; a limit that is reached leaves it to the tasks that run. */
  #status: number | undefined;
  /** Of the limit that asked for the end, if one did. */
  #limitStatus: number | undefined;
  #fault: string | undefined;
  #quiet = false;
  /** Who holds it, and what is away. */
  readonly #holders = new Map<object, string>();
  #waitingForReady: number;
  #connectionsLost = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { log } = options;
    this.#finished = new FinishedTasks(undefined, options.window?.tasks);
    this.#copier = new Copier({ connector: this.#connector(), log });
    this.#returnLimits = new ReturnLimits(this.#connector());
    if (options.reply !== false) {
      this.#answers = new Answers({ connector: this.#connector(), log });
    }
    this.#oversize = this.#createOversize();
    this.#pool = this.#createPool();
    this.#waitingForReady = options.queues.length;
    this.#consumers = options.queues.map((queue, i) => this.#consumer(queue, i));
    this.#strict = this.#strictIntake();
    this.#limits = this.#createLimits();
  }

  /**
   * It cannot work here: ends with that status. Resolves when no more tasks come. Logs the reason,
   * once.
   */
  async giveUp(status: number, reason: string): Promise<void> {
    // All that run may find the same.
    if (reason !== this.#fault) this.#options.log.error(`the worker ends: ${reason}`);
    this.#fault ??= reason;
    this.#status ??= status;
    this.#end();
    await this.#drain?.stopped;
  }

  #createPool(): Pool {
    const options = this.#options;
    const { log, window } = options;
    return new Pool({
      answers: this.#answers,
      tracing: options.tracing,
      starts: new Starts(this.#copier, log),
      handler: options.handler,
      freeBodies: options.freeBodies ?? false,
      concurrency: options.strictPlaces ??
        options.queues.reduce((sum, { prefetch }) => sum + (window?.tasks ?? prefetch), 0),
      bulk: window !== undefined,
      policy: options.retries ?? DEFAULT_POLICY,
      finished: this.#finished,
      oversize: this.#oversize,
      settler: this.#createSettler(),
      log,
      stopMs: options.stopMs ?? DEFAULT_STOP_MS,
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
      ackEarly: options.ackEarly ?? false,
      killOnDisconnect: options.killOnDisconnect ?? false,
      ...(options.rate === undefined ? {} : { pace: new Pace(options.rate) }),
      ...(options.dedupe === undefined ? {} : { dedupe: options.dedupe }),
      summarize: options.summarize ?? false,
      ...(options.onRun === undefined ? {} : { onRun: options.onRun }),
      onChange: () => this.#limits.changed(),
      onUnable: (status, reason) => this.giveUp(status, reason),
    });
  }

  #createSettler(): Settler {
    const { deadTtlMs, hostname, log, queueType = "quorum", retries, window } = this.#options;
    return new Settler({
      copier: this.#copier,
      finished: this.#finished,
      returnLimits: this.#returnLimits,
      answers: this.#answers,
      queueType,
      ...(deadTtlMs === undefined ? {} : { deadTtlMs }),
      host: hostname,
      log,
      bulk: window !== undefined,
      mostReturns: retries?.mostReturns,
      onRefused: (status, reason) => this.giveUp(status, reason),
      onOrphaned: () => {
        // Nobody connects again for it.
        if (this.#draining === undefined || this.#status !== undefined) return;
        this.giveUp(EXIT.temporary, "the broker went away before a finished task was acknowledged");
      },
    });
  }

  #createOversize(): Oversize {
    const { deadTtlMs, hostname, log, queueType = "quorum", retries } = this.#options;
    return new Oversize({
      connector: this.#connector(),
      returnLimits: this.#returnLimits,
      maxAttempts: (retries ?? DEFAULT_POLICY).maxAttempts,
      queueType,
      deadTtlMs,
      host: hostname,
      log,
      onRefused: (status, reason) => this.giveUp(status, reason),
    });
  }

  #createLimits(): Limits {
    const options = this.#options;
    return new Limits({
      ...options,
      activity: () => ({ running: this.#pool.taken, started: this.#pool.counts.started }),
      ...connectTimeout(options),
      ready: () => this.ready(),
      consuming: () => this.consuming,
      onEnd: (why, away) => {
        if (away) {
          const [what = "the broker"] = this.#holders.values();
          this.giveUp(EXIT.temporary, `${what} could not be reached within ${why}`);
          return;
        }
        options.log.info(`the worker ends by ${why}`);
        this.#limitStatus = options.limitExitCode;
        if (why === "--max-memory") this.#limitStatus ||= EXIT.temporary;
        // These say how much is done, and not how long it may take.
        this.#end(why === "--max-tasks" || why === "--max-memory");
      },
    });
  }

  /**
   * Works until `drain`.
   *
   * @returns the exit status: 0, or the one of the command that stopped it
   * @throws {ToolError} what somebody has to change before the first task can come
   */
  async run(): Promise<number> {
    try {
      await Promise.all(this.#consumers.map((consumer) => consumer.run()));
    } catch (error) {
      await this.drain();
      throw error;
    } finally {
      this.#limits.dispose();
    }
    await this.#draining;
    this.#oversize.close();
    await Promise.all([this.#copier.close(), this.#answers?.close()]);
    return this.#status ?? this.#limitStatus ?? EXIT.ok;
  }

  /** Why `run` returned another status than 0. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * What it works with is away: takes no more tasks until {@linkcode release}, and is not ready.
   *
   * @param what is away, for the sentence when a limit on that ends it: "the broker"
   */
  hold(holder: object, what: string): void {
    this.#holders.set(holder, what);
    for (const consumer of this.#consumers) consumer.hold(holder);
    this.#limits.consumptionChanged();
  }

  /** Takes tasks again after {@linkcode hold}. */
  release(holder: object): void {
    this.#holders.delete(holder);
    for (const consumer of this.#consumers) consumer.resume(holder);
    this.#limits.consumptionChanged();
  }

  /** Takes no more tasks, finishes what is running within the grace, and ends `run`. */
  drain(): Promise<void> {
    if (this.#draining === undefined) this.#status ??= EXIT.ok;
    const drained = this.#end();
    this.#drain?.hurry();
    return drained;
  }

  /**
   * Takes no more tasks until `resume`, but stays, with what is running; no limit ends it meanwhile.
   *
   * @returns false when it did not take any
   */
  quiet(): boolean {
    if (this.#quiet || this.#draining !== undefined) return false;
    this.#quiet = true;
    this.#limits.hold();
    for (const consumer of this.#consumers) consumer.hold(this);
    return true;
  }

  /**
   * Takes tasks again.
   *
   * @returns false when it was not quiet
   */
  resume(): boolean {
    if (!this.#quiet || this.#draining !== undefined) return false;
    this.#quiet = false;
    for (const consumer of this.#consumers) consumer.resume(this);
    this.#limits.resume();
    return true;
  }

  /** Tasks may come from all its queues. */
  get consuming(): boolean {
    return !this.#quiet && this.#holders.size === 0 &&
      this.#consumers.every((consumer) => consumer.consuming);
  }

  /** How often consumption ended, but for the end of the worker. */
  get connectionsLost(): number {
    return this.#connectionsLost;
  }

  /** Tasks that came again though they were finished, and were not run again. */
  get recognised(): number {
    return this.#pool.recognised;
  }

  /** Facts for people, at this moment. */
  describe(): Readonly<Record<string, number>> {
    return { running: this.#pool.taken, ...this.#pool.counts };
  }

  /** What runs at this moment, for people. */
  running(): Readonly<Record<string, string | number>>[] {
    return this.#pool.executing.map(({ task, attempt, startedAt }) => ({
      id: task.id,
      queue: task.queue,
      attempt,
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    }));
  }

  /** @param patiently what runs takes the time it needs, until somebody calls `drain` */
  #end(patiently = false): Promise<void> {
    return this.#draining ??= this.#createDrain().finish(patiently);
  }

  #createDrain(): Drain {
    const { graceMs = DEFAULT_GRACE_MS, log, onDrain, stopMs = DEFAULT_STOP_MS } = this.#options;
    this.#limits.dispose();
    return this.#drain = new Drain({
      consumers: this.#consumers,
      pool: this.#pool,
      graceMs,
      stopMs,
      onDrain,
      onLate: () => {
        this.#copier.close();
        this.#answers?.close();
      },
      log,
    });
  }

  /** Tasks ready on all its queues; undefined when a broker cannot be asked now. */
  async ready(): Promise<number | undefined> {
    let sum = 0;
    for (const count of await Promise.all(this.#consumers.map((consumer) => consumer.ready()))) {
      if (count === undefined) return undefined;
      sum += count;
    }
    return sum;
  }

  #strictIntake(): StrictIntake | undefined {
    const { maxTasks = Infinity, strictPlaces } = this.#options;
    if (strictPlaces === undefined) return undefined;
    return new StrictIntake({
      consumers: this.#consumers,
      places: Math.min(strictPlaces, maxTasks),
      run: this.#runThrough,
      giveBack: (delivery) => this.#pool.giveBack(delivery),
    });
  }

  readonly #run = (delivery: Delivery, onOver: (delivery: Delivery) => void): void => {
    if (this.#drain === undefined) this.#pool.run(delivery, onOver);
    else this.#pool.giveBack(delivery).then(() => onOver(delivery));
  };

  /** Resolves at its end. */
  readonly #runThrough = (delivery: Delivery): Promise<void> =>
    new Promise((resolve) => this.#run(delivery, () => resolve()));

  /** @param index of the queue, in order */
  #consumer(queue: WorkerQueue, index: number): Consumer {
    const { name } = queue.policy;
    let connections = 0;
    return consumerOf(queue, this.#options, {
      connector: this.#connector(),
      passOn: (task, bytes, lost) => this.#oversize.passOn(task, bytes, lost),
      strict: this.#options.strictPlaces === undefined
        ? undefined
        : (delivery) => this.#strict!.take(index, delivery),
      run: this.#run,
      runThrough: this.#runThrough,
      onReady: () => {
        if (this.#options.retries?.mostReturns) this.#returnLimits.learn(name);
        if (connections++ > 0) this.#options.log.info("connected again", {}, { queue: name });
        else if (--this.#waitingForReady === 0) this.#options.onReady?.();
        if (this.#waitingForReady === 0) this.#strict?.look();
        this.#limits.consumptionChanged();
      },
      onLost: (cause) => {
        this.#connectionsLost++;
        this.#finished.channelLost();
        this.#explain(cause, name);
        this.#limits.consumptionChanged();
      },
    });
  }

  /** Adds what to do to a loss that comes again and again unless somebody does it. */
  #explain(cause: ToolError, queue: string): void {
    if (!isAckTimeout(cause)) return;
    const { endpoints, timeoutMs = UNLIMITED_TASK_MS, log } = this.#options;
    log.warn(
      "a task ran longer than the broker waits for its acknowledgement; it goes on, and the " +
        "broker delivers it again: keep --timeout below that, or " +
        ackTimeoutRemedy(queue, endpoints[0]!.vhost, timeoutMs + ACK_MARGIN_MS),
    );
  }

  #connector(): Connector {
    const { endpoints, identity, log, tracing } = this.#options;
    return new Connector({ endpoints, identity, log, tracing });
  }
}
