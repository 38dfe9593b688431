/** Signs of life in both directions (section 4.2.7). */
import { Type } from "@cloudamqp/amqp-client/amqp-frame";
import { after, type Timer } from "../time/timer.ts";
import type { FrameReader } from "./frame_reader.ts";
import type { Outbox } from "./outbox.ts";
import { FRAME_END } from "./protocol.ts";

const HEARTBEAT_FRAME = new Uint8Array([Type.HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END]);

export interface HeartbeatOptions {
  /** Milliseconds agreed with the broker; not 0. */
  readonly timeout: number;
  /** performance.now() of the last byte that left. */
  readonly lastWrite: () => number;
  /** Sends a heartbeat frame. */
  readonly beat: () => void;
  /** We do not listen now, by our own will: then nobody is silent. */
  readonly isDeaf?: () => boolean;
  /** The broker has been silent for too long. Called once. */
  readonly onSilence: () => void;
}

/**
 * Beats while nothing else is sent, and notices a broker that says nothing. Our own writes do not
 * count as a sign of life.
 *
 * RabbitMQ looks every half of the agreed time whether it has sent something since the last look,
 * and beats if not: between two signs of life there may be nearly the whole time, and on a slow
 * network a little more. So the broker is given up a quarter later.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #period: number;
  #timer: Timer;
  #lastTick = performance.now();
  /** performance.now() of the last byte from the broker, later by what we ourselves slept. */
  #lastRead = performance.now();

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#period = options.timeout / 4;
    this.#timer = this.#schedule();
  }

  /** Something has arrived from the broker. */
  heard(): void {
    this.#lastRead = performance.now();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #schedule(): Timer {
    return after(this.#period, () => this.#tick());
  }

  #tick(): void {
    const { timeout, lastWrite, beat, isDeaf, onSilence } = this.#options;
    const now = performance.now();
    if (isDeaf?.()) this.#lastRead = now;
    // If this process itself stood still, what the broker sent meanwhile is still unread.
    const stalled = Math.max(0, now - this.#lastTick - 2 * this.#period);
    this.#lastTick = now;
    this.#lastRead = Math.min(now, this.#lastRead + stalled);
    if (now - this.#lastRead >= timeout + this.#period) return onSilence();
    if (now - lastWrite() >= timeout / 2 - this.#period) beat();
    this.#timer = this.#schedule();
  }
}

/**
 * Signs of life for what is sent and read on one connection.
 *
 * @param seconds as agreed with the broker; not 0
 */
export function keepAlive(
  seconds: number,
  outbox: Outbox,
  reader: FrameReader,
  onSilence: () => void,
): Heartbeat {
  return new Heartbeat({
    timeout: seconds * 1000,
    lastWrite: () => outbox.lastWrite,
    beat: () => {
      // What waits to be sent is as good as a heartbeat, and must not grow by them.
      if (outbox.empty) outbox.add(HEARTBEAT_FRAME);
    },
    isDeaf: () => reader.paused,
    onSilence,
  });
}
