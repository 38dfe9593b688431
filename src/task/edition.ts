/** A task that somebody has edited, and sends in the place of the one that he was shown. */
import { readHistory, replayProperties } from "./headers.ts";
import type { TaskProperties } from "./task.ts";

/** Its properties: it was never tried, whatever its headers said of its past. */
export function editedProperties(given: TaskProperties): TaskProperties {
  const { replays } = readHistory({ properties: given, redelivered: false });
  const { expiration } = given;
  return {
    ...replayProperties(given, replays + 1),
    ...(expiration === undefined ? {} : { expiration }),
  };
}

/**
 * The headers that were left as they were shown. JSON has fewer types than AMQP: they stay what they
 * were.
 *
 * @param given as they came back
 * @param shown the old ones as JSON
 */
export function unedited(
  given: Readonly<Record<string, unknown>>,
  shown: Readonly<Record<string, unknown>>,
): string[] {
  return Object.keys(given).filter((name) => {
    return Object.hasOwn(shown, name) && jsonOf(given[name]) === jsonOf(shown[name]);
  });
}

function jsonOf(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner) => typeof inner === "bigint" ? `${inner}` : inner);
}
