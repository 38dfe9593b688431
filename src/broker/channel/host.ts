/** What a channel asks of its connection. */

import type { Budget, Taker } from "./budget.ts";
import type { ClientShare } from "./client_room.ts";
import type { DeliveryRoom } from "./delivery_room.ts";
import type { ReplyTo } from "./reply_to.ts";
import type { Limits } from "../net/limits.ts";
import type { Outbox } from "../net/outbox.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import type { Subject } from "../store/definitions/definition_changes.ts";
import type { GrowingBody } from "../store/messages/bodies.ts";
import type { GroupCommit } from "../store/group_commit.ts";
import type { Fault } from "../wire/faults.ts";
import type { FrameWriter } from "../wire/frames.ts";
import type { Arguments, PlainName, PromiseName } from "../wire/methods.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import type { Work } from "../../time/scheduler.ts";

/** Where a channel writes messages. Other methods it gives to the connection. */
export type MessageOutbox =
  & Pick<Outbox, "askForRoom" | "hasAnswerRoom" | "delivery" | "content" | "answered">
  & { readonly frames: Pick<FrameWriter, "addressed"> };

/**
 * What an answer says is so for good: one definition, or all that was asked for so far. Nothing: the
 * answer is about something that is never stored.
 */
export type Promised = Subject | "everything" | "nothing";

/** Of work that a method waits for. */
export interface WorkKind {
  /** It writes to the disk: it waits while publishers are blocked. */
  readonly writes?: boolean;
}

/** A connection, as its channels see it. */
export interface ChannelHost extends Taker {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: MessageOutbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly pending: Budget;
  readonly clientShare: ClientShare;
  readonly deliveryRoom: DeliveryRoom;
  readonly groupCommit: GroupCommit;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  /** The client wants to hear when the broker cancels a consumer. */
  readonly cancelNotify: boolean;
  /** To the client a basic.qos that is not global means the channel, and not consumers to come. */
  readonly qosForChannel: boolean;
  send<N extends PlainName>(channel: number, name: N, args: Arguments<N>): void;
  /**
   * Sends a method that promises something durable once that is on disk. Where nothing had to be
   * changed there is nothing to wait for: on a full disk consumers go on.
   */
  answerAfterCommit<N extends PromiseName>(
    channel: number,
    name: N,
    args: Arguments<N>,
    promised: Promised,
  ): void;
  /** Whether an answer that nobody asked for at this moment can be written to the outbox. */
  hasRoomForReply(bytes: number): boolean;
  /** Something was written to the outbox. */
  touch(): void;
  /**
   * A publish begins: while an alarm is on, its content is not read, unless it is to be refused.
   * @param isTold its channel hears what becomes of it
   */
  publishes(isTold: boolean): void;
  /** Publishes are refused for lack of disk. */
  readonly isRefusing: boolean;
  /** A publish has so many copies: it takes as long as many others. */
  spread(copies: number): void;
  /**
   * The method that is being done cannot be done at once: `then` does it, after the work, unless its
   * channel ends before. The connection's next frame waits.
   */
  finishFirst(channel: number, work: Work, then: () => void, kind?: WorkKind): void;
  /** A body in the store, to be brought there before the messages that have it. */
  beginBody(length: number, kind: "durable" | "transient"): GrowingBody;
  /** Work that goes on whatever becomes of its channel and connection. */
  outlive(work: Work): void;
  /** Ends a channel outside of any method. */
  fail(channel: number, fault: Fault): void;
}
