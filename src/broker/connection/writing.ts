/**
 * What a connection writes to its client, and when that leaves: with the turn, or, where an answer
 * promises something durable, when the commit is on disk. Nobody else has the whole outbox, so that
 * a promise has no other way out.
 */

import type { MessageOutbox, Promised } from "../channel/host.ts";
import type { ReplyTo } from "../channel/reply_to.ts";
import type { HeartbeatOutbox } from "./heartbeat.ts";
import { Outbox } from "../net/outbox.ts";
import type { OutboxRoom } from "../net/outbox_room.ts";
import type { Socket } from "../net/socket.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import type { State } from "./state.ts";
import type { Flushing, GroupCommit } from "../store/group_commit.ts";
import type { Arguments, PlainName, PromiseName } from "../wire/methods.ts";

/** A connection, as its writing sees it. */
export interface WritingSession {
  readonly state: State;
  readonly vhost: VirtualHost;
  readonly groupCommit: GroupCommit;
  readonly replyTo: ReplyTo;
  /** What was asked for is not on disk, and never will be. */
  unstored(reason: string): void;
  /** There is room to write again for those who asked in vain; or it is over. */
  drained(): void;
}

/** What others may do with the outbox of a connection. */
export type SharedOutbox =
  & MessageOutbox
  & HeartbeatOutbox
  & Pick<Outbox, "askForAnswerRoom" | "isClosed">;

export class Writing implements Flushing {
  readonly #session: WritingSession;
  readonly #outbox: Outbox;
  /** An answer in the outbox is only true with the next commit. Written here only. */
  needsCommit = false;
  /** Commits that answers in the outbox depend on, and that are not on disk yet. */
  #unsynced = 0;
  /** Bytes of direct replies that were written although much waited already. */
  #lateReplies = 0;

  constructor(session: WritingSession, connection: Socket, room: OutboxRoom) {
    this.#session = session;
    this.#outbox = new Outbox(connection, room, () => this.#drained());
  }

  get outbox(): SharedOutbox {
    return this.#outbox;
  }

  send<N extends PlainName>(channel: number, name: N, args: Arguments<N>): void {
    this.#outbox.frames.method(channel, name, args);
    this.touch();
  }

  /** {@link ChannelHost.answerAfterCommit} */
  answerAfterCommit<N extends PromiseName>(
    channel: number,
    name: N,
    args: Arguments<N>,
    promised: Promised,
  ): void {
    if (!this.#isSaved(promised)) this.needsCommit = true;
    this.#outbox.frames.promise(channel, name, args);
    this.touch();
  }

  #isSaved(promised: Promised): boolean {
    if (promised === "everything") return false;
    return promised === "nothing" || this.#session.vhost.isSaved(promised);
  }

  /** Something was written. */
  touch(): void {
    this.#session.groupCommit.flush(this);
  }

  flush(): void {
    if (!this.needsCommit && this.#unsynced === 0) this.#outbox.flush();
  }

  committed(): (isSafe: boolean) => void {
    this.needsCommit = false;
    this.#unsynced++;
    const { end } = this.#outbox;
    return (isSafe) => {
      this.#unsynced--;
      if (isSafe) this.#outbox.flushTo(end);
      else this.#lose();
      this.flush();
    };
  }

  /** Answers that wait for the disk are never true. */
  #lose(): void {
    if (this.#session.state !== "running") return;
    this.#session.unstored("the disk has failed");
    this.needsCommit = false;
  }

  /** Forgets what has not left and waits for the commit. */
  takeBack(): void {
    this.#outbox.takeBack();
  }

  /** {@link ChannelHost.hasRoomForReply} */
  hasRoomForReply(bytes: number): boolean {
    if (this.#outbox.hasReplyRoom()) return true;
    if (!this.#session.replyTo.takeRoom(bytes)) return false;
    this.#lateReplies += bytes;
    return true;
  }

  #drained(): void {
    this.#session.replyTo.giveRoom(this.#lateReplies);
    this.#lateReplies = 0;
    this.#session.drained();
  }

  /** Closes the socket once everything that was written has left. */
  finish(): void {
    this.#outbox.idle().then(() => this.close());
  }

  /** Closes the socket. What was not sent yet is lost. */
  close(): void {
    this.#outbox.close();
  }
}
