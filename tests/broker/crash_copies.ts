/** Clients of the crash test whose messages have copies: those that must be there, or must not. */
import type { Peer } from "../support/protocol_peer.ts";
import type { Random } from "../support/random.ts";
import { bodyOf, publishForEver } from "./crash_publishing.ts";
import { nameOf } from "./crash_names.ts";
import type { Ledger } from "./ledger.ts";

/** The exchange that leads to all of {@link FANS}. */
export const FAN_EXCHANGE = "fan\0\0";
export const FANS = ["fan0", "fan1", "fan2"];
/** A queue without duplicates. */
export const ONCE = "once";

/** Messages of which one may be sent again. */
const MOST_AGAIN = 100;
const AGAIN = 4;

/** What the ledger calls a message that was found in a queue: copies have ids of their own. */
export function idIn(queue: string, id: string): string {
  return FANS.includes(queue) ? `${id}@${queue}` : id;
}

/** All queues have a publish, or none does. */
export async function fanOut(
  peer: Peer,
  ledger: Ledger,
  round: string,
  random: Random,
): Promise<never> {
  return await publishForEver(peer, ledger, (number) => {
    const id = `${round}.fan.${number}`;
    const ids = FANS.map((queue) => idIn(queue, id));
    for (const [n, one] of ids.entries()) ledger.published(one, FANS[n]!, true);
    ledger.together(ids);
    const body = bodyOf(id, random);
    return { ids, target: { exchange: FAN_EXCHANGE }, body, properties: { deliveryMode: 2 } };
  });
}

/** Sends messages to a queue without duplicates, some again, also of rounds before. */
export class Repeater {
  /** Confirmed: their keys are remembered, wherever they are now. */
  readonly #confirmed: string[] = [];

  async run(peer: Peer, ledger: Ledger, round: string, random: Random): Promise<never> {
    const sent: string[] = [];
    return await publishForEver(peer, ledger, (number) => {
      const known = random.below(2) === 0 ? sent : this.#confirmed;
      const isAgain = random.below(AGAIN) === 0 && known.length > 0;
      const id = isAgain ? random.pick(known.slice(-MOST_AGAIN)) : `${round}.once.${number}`;
      if (!isAgain) {
        ledger.published(id, ONCE, true);
        sent.push(id);
      }
      const headers = { "x-deduplication-header": id };
      return {
        ids: isAgain ? [] : [id],
        target: { routingKey: nameOf(ONCE) },
        body: bodyOf(id, random),
        properties: { deliveryMode: 2, headers },
      };
    }, (ids) => this.#confirmed.push(...ids));
  }
}
