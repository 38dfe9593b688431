/** The broker as a whole: what it is made of, its start and its end. */

import { Alarms } from "./store/alarms.ts";
import { Bell } from "./net/bell.ts";
import { clockShift, noticeClockSet } from "../time/clock.ts";
import { DeadLetters } from "./routing/dead_letters.ts";
import { Deadlines } from "../time/deadlines.ts";
import { Fault } from "./wire/faults.ts";
import { createFolder } from "./store/file/folder.ts";
import { Reception } from "./connection/reception.ts";
import { Rooms } from "./connection/rooms.ts";
import { loadServing } from "./connection/serving.ts";
import type { MemoryUse } from "./queue/memory_use.ts";
import type { Limits } from "./net/limits.ts";
import { Looks } from "./net/looks.ts";
import { Listeners } from "./net/listeners.ts";
import type { Inside } from "./admin/inside.ts";
import type { DeathReason } from "./message/deaths.ts";
import type { Message } from "./message/message.ts";
import type { Queue } from "./queue/queue.ts";
import type { QueueHost } from "./queue/host.ts";
import { ReplyTo } from "./channel/reply_to.ts";
import type { HandshakeHost } from "./connection/handshake.ts";
import type { SessionHost } from "./connection/session.ts";
import { storageErrorOf } from "./store/file/storage_error.ts";
import { Scheduler } from "../time/scheduler.ts";
import { StrangersLog } from "./net/strangers_log.ts";
import { StrangersTurns } from "./net/strangers_turns.ts";
import { DATA_FILE, DataFile } from "./store/file/data_file.ts";
import { Store } from "./store/store.ts";
import { Upkeep } from "./store/upkeep.ts";
import type { Certificate } from "./net/tls.ts";
import { GroupCommit } from "./store/group_commit.ts";
import type { PageAddress } from "./connection/server_properties.ts";
import { Users } from "./connection/users.ts";
import { restore } from "./routing/restoring.ts";
import { VirtualHost } from "./routing/virtual_host.ts";
import { after } from "../time/timer.ts";
import type { Logger } from "../observe/log.ts";

export interface BrokerOptions {
  /** Addresses to listen on; default both loopbacks, as far as the machine has them. */
  hosts?: string[];
  /** 0 for a free one. */
  port: number;
  /** Folder of the data; it is created if need be. Absent: everything is only in memory. */
  folder?: string;
  /** Virtual hosts besides "/". */
  vhosts?: string[];
  /** A user to add, or whose password to change. Without any user there is guest. */
  user?: { name: string; password: string };
  /** Certificate chain and key in PEM: the listeners speak TLS. */
  tls?: Certificate;
  limits?: Partial<Limits>;
  /** What this host has memory for of them; asked before anybody needs much. */
  fit?: (limits: Limits) => Limits;
  /** What becomes of a publish while the disk is almost full; default block. */
  whenFull?: "block" | "reject";
  /** For connection.start. */
  version: string;
  log: Logger;
}

/** Milliseconds from the start to the first look at the disk, unless somebody connects before. */
const FIRST_LOOK_MS = 200;

/** Milliseconds for the dead letters so far at the end; the rest stays stored. */
const LAST_LETTERS_MS = 500;

/** A running broker. */
export class Broker implements QueueHost<Queue> {
  readonly store: Store;
  readonly memory: MemoryUse;
  /** Told to clients of this machine. */
  page: PageAddress | undefined;
  readonly #bell = new Bell();
  readonly #looks = new Looks(this.#bell);
  readonly #turns = new StrangersTurns(this.#bell);
  readonly afterSockets = (run: () => void): void => this.#bell.afterSockets(run);
  readonly #logFault = (error: unknown): void => {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    this.#options.log.error("a fault in the broker", { error: text });
  };
  readonly deadlines = new Deadlines(this.#logFault, this.afterSockets);
  readonly scheduler = new Scheduler(
    this.#logFault,
    () => this.#groupCommit.isCrowded || (this.store.isFull && !this.store.lastCommitFailed),
    this.afterSockets,
  );
  readonly #options: BrokerOptions;
  readonly #rooms: Rooms;
  readonly #vhosts = new Map<string, VirtualHost>();
  readonly #deadLetters: DeadLetters;
  readonly #groupCommit: GroupCommit;
  readonly #alarms: Alarms;
  readonly #users: Users;
  readonly #replyTo = new ReplyTo();
  readonly #reception: Reception;
  readonly #strangers: StrangersLog;
  #listeners: Listeners | undefined;
  #stopping = false;
  readonly #upkeep: Upkeep;

  /**
   * Opens the data and starts to listen.
   * @throws {ToolError} when the data or the address cannot be used
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const path = `${options.folder ?? ""}/${DATA_FILE}`;
    let broker: Broker;
    let file: DataFile | undefined;
    try {
      if (options.folder !== undefined) createFolder(options.folder);
      file = new DataFile(options.folder);
      broker = new Broker(options, file);
    } catch (error) {
      file?.close();
      throw storageErrorOf(path, error);
    }
    try {
      if (options.user !== undefined) {
        await broker.#users.add(options.user.name, options.user.password);
      }
      broker.#listen();
    } catch (error) {
      await broker.stop();
      throw storageErrorOf(path, error);
    }
    return broker;
  }

  private constructor(options: BrokerOptions, file: DataFile) {
    this.#options = options;
    this.#rooms = new Rooms(options, {
      deadlines: this.deadlines,
      scheduler: this.scheduler,
      afterSockets: this.afterSockets,
      unwritten: () => this.store.pendingBytes,
      takers: () => this.#reception.sessions,
      limitPages: (bytes) => this.store.file.limitPages(bytes),
    });
    this.memory = this.#rooms.memory;
    this.#reception = this.#createReception();
    this.store = new Store({
      file,
      onFailure: (reason) => this.#alarms.setStore(reason),
      onWritten: (bytes) => {
        this.#alarms.written(bytes);
        this.#rooms.pending.written();
      },
      onChange: () => this.#groupCommit.schedule(),
      onDiscard: () => this.#upkeep.sweep(),
      onRefusal: (what, reason) =>
        options.log.error("cannot store what a client sent", { what, reason }),
      onUnsaved: (vhost, subject) => this.#vhosts.get(vhost)?.forget(subject),
    });
    this.#deadLetters = new DeadLetters(this.#vhosts, {
      deadlines: this.deadlines,
      scheduler: this.scheduler,
      schedule: () => this.#groupCommit.schedule(),
      store: this.store,
      limits: this.#rooms.limits,
      onFault: this.#logFault,
    });
    if (this.store.file.isCopy) {
      options.log.warn(
        "the data are a copy of a broker's that was running or had crashed; they were checked and are whole",
        { folder: options.folder },
      );
    }
    // The letters of a turn go into its commit, as far as there is time.
    this.#groupCommit = new GroupCommit(this.store, {
      run: () => this.#deadLetters.isEmpty || this.scheduler.start(this.#deadLetters),
    });
    this.#alarms = this.#createAlarms();
    this.#upkeep = new Upkeep(
      this.store,
      this.#alarms,
      () => this.#groupCommit.schedule(),
      () => this.#lookAtClock(),
    );
    this.#strangers = new StrangersLog(options.log, this.deadlines);
    this.#users = new Users(this.store);
    for (const name of ["/", ...options.vhosts ?? []]) this.#vhost(name);
    restore(this.store, this.#deadLetters, (name) => this.#vhost(name));
    this.store.begin();
    noticeClockSet();
    this.#upkeep.start();
    after(FIRST_LOOK_MS, () => this.#prepare());
  }

  #createReception(): Reception {
    return new Reception({
      most: this.#rooms.limits.connections,
      deadlines: this.deadlines,
      log: this.#options.log,
      handshakeHost: () => this.#handshakeHost(),
      sessionHost: () => this.#sessionHost(),
      prepare: () => this.#prepare(),
      onFault: this.#logFault,
    });
  }

  #createAlarms(): Alarms {
    const { folder, log, whenFull } = this.#options;
    return new Alarms({
      folder,
      diskFreeBytes: this.#rooms.limits.diskFreeBytes,
      shareBytes: this.#rooms.limits.diskShareBytes,
      file: this.store.file,
      besideBytes: () => this.#rooms.outboxRoom.spill.bytes,
      whenFull: whenFull ?? "block",
      log,
      onFailure: () => this.#reception.sessions.forEach((session) => session.block()),
      onClear: () => this.#reception.sessions.forEach((session) => session.unblock()),
    });
  }

  /** The port that was taken. */
  get port(): number {
    return this.#listeners!.port;
  }

  /** Where clients connect to. */
  get urls(): string[] {
    return this.#listeners!.urls;
  }

  /** Facts for people, at this moment. */
  describe(): Readonly<Record<string, string | number>> {
    const queues = [...this.#vhosts.values()].flatMap((vhost) => [...vhost.queues]);
    const { reason } = this.#alarms;
    return {
      connections: this.#reception.sessions.size,
      queues: queues.length,
      ready: queues.reduce((sum, queue) => sum + queue.readyCount, 0),
      commit: this.store.isFailing ? "fails" : this.store.dirty ? "waits" : "done",
      ...(reason === undefined ? {} : { blocked: reason }),
    };
  }

  /** For those who look after it. */
  get inside(): Inside {
    return {
      version: this.#options.version,
      vhosts: this.#vhosts,
      sessions: this.#reception.sessions,
      store: this.store,
      groupCommit: this.#groupCommit,
      alarms: this.#alarms,
      scheduler: this.scheduler,
      memory: this.memory,
      outboxRoom: this.#rooms.outboxRoom,
      letters: this.#deadLetters,
      onFault: this.#logFault,
    };
  }

  // -- start --

  #vhost(name: string): VirtualHost {
    let vhost = this.#vhosts.get(name);
    if (vhost === undefined) this.#vhosts.set(name, vhost = new VirtualHost(name, this));
    return vhost;
  }

  #listen(): void {
    const { hosts, port, tls, log } = this.#options;
    const { deadlines } = this;
    this.#listeners = new Listeners({ hosts, port, tls, log, deadlines, bell: this.#bell });
    this.#listeners.acceptWith(
      loadServing(),
      (connection, serving) => this.#reception.admit(connection, serving),
    );
    if (this.#listeners.isOpen && !this.store.users.any) {
      log.warn(
        "other machines can connect but not log in: there is only guest, who is for this machine; " +
          "--user and --password-file add a user",
      );
    }
  }

  /**
   * Uses another certificate for new connections.
   * @throws {ToolError} when it cannot be used; the former one stays
   */
  renewCertificate(tls: Certificate): void {
    this.#listeners?.renew(tls);
  }

  /** What costs time, and is needed before somebody publishes. */
  #prepare(): Promise<void> {
    if (!this.#stopping) {
      this.store.prepare();
      this.#rooms.fit();
    }
    return this.#alarms.look();
  }

  #lookAtClock(): void {
    if (!noticeClockSet()) return;
    this.#options.log.info("the machine's clock was set", { ms: clockShift() });
    for (const vhost of this.#vhosts.values()) vhost.clockSet();
  }

  #handshakeHost(): HandshakeHost {
    return {
      limits: this.#rooms.limits,
      users: this.#users,
      vhosts: this.#vhosts,
      deadlines: this.deadlines,
      version: this.#options.version,
      page: this.page,
      strangers: this.#strangers,
      turns: this.#turns,
    };
  }

  #sessionHost(): SessionHost {
    const { limits, pending, clientRoom, deliveryRoom, frameRoom, outboxRoom } = this.#rooms;
    return {
      limits,
      groupCommit: this.#groupCommit,
      store: this.store,
      deadlines: this.deadlines,
      scheduler: this.scheduler,
      pending,
      clientRoom,
      deliveryRoom,
      frameRoom,
      looks: this.#looks,
      outboxRoom,
      replyTo: this.#replyTo,
      alarms: this.#alarms,
      log: this.#options.log,
    };
  }

  // -- what queues ask for --

  deadLetter(queue: Queue, message: Message, reason: DeathReason): void {
    this.#deadLetters.add(queue, message, reason);
  }

  get isDying(): boolean {
    return this.#deadLetters.isCrowded;
  }

  sendDeadLetters(): void {
    this.#deadLetters.hurry();
  }

  deleteQueue(queue: Queue): void {
    this.#vhosts.get(queue.vhost)!.deleteQueue(queue);
  }

  // -- end --

  /** Finishes the commit, tells clients with 320, and closes the data. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#upkeep.stop();
    this.#listeners?.close();
    this.#users.stop();
    const reason = new Fault(
      "connection-forced",
      "broker forced connection closure with reason 'shutdown'",
    );
    await this.#reception.close(reason);
    this.scheduler.stop();
    this.scheduler.rush(this.#deadLetters, LAST_LETTERS_MS);
    await this.#groupCommit.stop();
    this.#strangers.end();
    this.deadlines.stop();
    this.#bell.close();
    this.#alarms.stop();
    this.store.close();
    this.#rooms.outboxRoom.close();
  }
}
