/** What a channel asks of its connection. */

import type { Budget, Taker } from "./budget.ts";
import type { ReplyTo } from "./reply_to.ts";
import type { Limits } from "../net/limits.ts";
import type { Outbox } from "../net/outbox.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import type { GroupCommit } from "../store/group_commit.ts";
import type { Fault } from "../wire/faults.ts";
import type { Arguments, MethodName } from "../wire/methods.ts";
import type { Deadlines } from "../../time/deadlines.ts";
import type { Work } from "../../time/scheduler.ts";

/** A connection, as its channels see it. */
export interface ChannelHost extends Taker {
  readonly id: number;
  readonly user: string;
  readonly vhost: VirtualHost;
  readonly outbox: Outbox;
  readonly frameMax: number;
  readonly limits: Limits;
  readonly pending: Budget;
  readonly groupCommit: GroupCommit;
  readonly deadlines: Deadlines;
  readonly replyTo: ReplyTo;
  /** The client wants to hear when the broker cancels a consumer. */
  readonly cancelNotify: boolean;
  /** To the client a basic.qos that is not global means the channel, and not consumers to come. */
  readonly qosForChannel: boolean;
  send<N extends MethodName>(channel: number, name: N, args: Arguments<N>): void;
  /** Whether an answer that nobody asked for at this moment can be written to the outbox. */
  hasRoomForReply(bytes: number): boolean;
  /** Something was written to the outbox. */
  touch(): void;
  /** What is answered now must be on disk before it is sent. */
  mustBeSafe(): void;
  /** A publish begins: while an alarm is on, its content is not read. */
  publishes(): void;
  /** A publish has so many copies: it takes as long as many others. */
  spread(copies: number): void;
  /**
   * The method that is being done cannot be done at once: `then` does it, after the work, unless its
   * channel ends before. The connection's next frame waits.
   */
  finishFirst(channel: number, work: Work, then: () => void): void;
  /** Ends a channel outside of any method. */
  fail(channel: number, fault: Fault): void;
}
