/** Who is told about the end of a channel. */
import type { ChannelError, ConnectionError } from "../errors.ts";

/** Told about the end of a channel or of its consumer; at most one call each. */
export interface ChannelWatcher {
  /** The broker closed the channel, or the connection has ended. */
  ended(error: ChannelError | ConnectionError): void;
  /** The broker cancelled the consumer, for instance because its queue was deleted. */
  cancelled?(consumerTag: string): void;
}

export class ChannelWatchers {
  /** By the number of their channel. */
  readonly #watchers = new Map<number, ChannelWatcher>();

  add(channelId: number, watcher: ChannelWatcher): void {
    this.#watchers.set(channelId, watcher);
  }

  /** Takes the watcher of a channel that has ended, to be told. */
  take(channelId: number): ChannelWatcher | undefined {
    const watcher = this.#watchers.get(channelId);
    this.#watchers.delete(channelId);
    return watcher;
  }

  cancelled(channelId: number, consumerTag: string): void {
    this.#watchers.get(channelId)?.cancelled?.(consumerTag);
  }

  /** The connection has ended. */
  endAll(error: ConnectionError): void {
    const watchers = [...this.#watchers.values()];
    this.#watchers.clear();
    for (const watcher of watchers) watcher.ended(error);
  }
}
