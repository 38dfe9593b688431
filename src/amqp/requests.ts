/** What a connection has asked the broker for and has no answer to yet. */
import { ChannelError, ConnectionError, reason, ToolError } from "../errors.ts";
import { formatDuration } from "../task/duration.ts";
import { deadline } from "../time/deadline.ts";

/** How long the broker may take to answer a method, in milliseconds. */
const REPLY_TIMEOUT_MS = 20_000;

class Late extends Error {}

export class Requests {
  readonly #where: string;
  readonly #onSilence: (error: ConnectionError) => void;
  readonly #isDeaf: () => boolean;
  readonly #waiting = new Set<(error: ConnectionError) => void>();
  /** Why no answer comes any more. */
  #ended: ConnectionError | undefined;

  /**
   * @param where the broker, for the error
   * @param onSilence told that the broker does not answer
   * @param isDeaf whether we do not listen now: an answer may have come
   */
  constructor(
    where: string,
    onSilence: (error: ConnectionError) => void,
    isDeaf: () => boolean = () => false,
  ) {
    this.#where = where;
    this.#onSilence = onSilence;
    this.#isDeaf = isDeaf;
  }

  /**
   * Waits for an answer.
   *
   * @param what the action, for the error: "declaring the queue"
   * @throws {ChannelError | ConnectionError}
   */
  async answer<T>(what: string, reply: Promise<T>): Promise<T> {
    const { promise: ended, reject } = Promise.withResolvers<never>();
    this.#waiting.add(reject);
    if (this.#ended !== undefined) reject(this.#ended);
    try {
      return await this.#inTime(what, Promise.race([ended, reply]));
    } catch (error) {
      if (error instanceof ToolError) throw error;
      throw new ChannelError(`${what} failed: ${reason(error)}`, 0, "", { cause: error });
    } finally {
      this.#waiting.delete(reject);
    }
  }

  /** Nobody is late while we do not listen. */
  async #inTime<T>(what: string, answer: Promise<T>): Promise<T> {
    for (let wasDeaf = true; wasDeaf;) {
      wasDeaf = this.#isDeaf();
      try {
        return await deadline(answer, REPLY_TIMEOUT_MS, () => new Late());
      } catch (error) {
        if (!(error instanceof Late)) throw error;
        wasDeaf ||= this.#isDeaf();
      }
    }
    const error = new ConnectionError(
      `${this.#where} did not answer ${what} within ${formatDuration(REPLY_TIMEOUT_MS)}`,
    );
    this.#onSilence(error);
    throw error;
  }

  /** No answer comes any more: everything that waits, and whatever is asked later, rejects. */
  end(error: ConnectionError): void {
    this.#ended = error;
    for (const reject of this.#waiting) reject(error);
  }
}
