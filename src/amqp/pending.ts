/**
 * A publication that the broker has not confirmed yet. One object for all that is known of it: a
 * thousand are on their way at a time, and V8 copies what stays.
 */
export abstract class Pending {
  /** How it was sent last; the publisher's own, as are all that follow. */
  exchange = "";
  routingKey = "";
  /** As the broker sends it back; "" of one that was sent as bytes. */
  messageId = "";
  /** Bytes of its body. */
  size = 0;
  /** Whole milliseconds of performance.now() from which the broker could have read it. */
  since = 0;
  /** The broker's words, once it has returned the task. */
  returned: string | undefined = undefined;

  /** Its message id where it was sent as bytes: read only when it is asked for. */
  get encodedId(): string {
    return "";
  }

  /** Called once each time it was sent, or `onFailed` is. */
  abstract onConfirmed(): void;
  /** @param error as `Publisher.publish` throws it */
  abstract onFailed(error: unknown): void;
}

/** One for which there are two functions to be told. */
export class Told extends Pending {
  readonly onConfirmed: () => void;
  readonly onFailed: (error: unknown) => void;

  constructor(onConfirmed: () => void, onFailed: (error: unknown) => void) {
    super();
    this.onConfirmed = onConfirmed;
    this.onFailed = onFailed;
  }
}
