/** What a commit would cost. */
import { assertGreater, assertLess } from "@std/assert";
import { type LaneRecord, Message } from "../../src/broker/message/message.ts";
import { MessageChanges } from "../../src/broker/store/messages/message_changes.ts";

const LENGTHS = { size: 100, addressLength: 10, headerLength: 20 };

const lane: LaneRecord = {
  id: 1,
  priority: 0,
  queueId: 1,
  depth: 0,
  bytes: 0,
  deliveredTo: 0,
  dropped: false,
  lastPosition: 100_000,
  forget() {},
};

/** The pages apart from one another in which messages at some positions are removed. */
function scattered(positions: number[]): number {
  const changes = new MessageChanges();
  for (const position of positions) {
    const message = new Message(lane, position, LENGTHS, 0, true);
    message.restore(0);
    changes.remove(message);
  }
  return changes.scattered;
}

Deno.test("acknowledgements far from one another count as a page each, those of many consumers do not", () => {
  const each = Array.from({ length: 1_000 }, (_, n) => n);
  assertLess(scattered(each), 3);
  // Fifty consumers, each with twenty deliveries, in turn.
  assertLess(scattered(each.map((n) => n % 50 * 20 + Math.floor(n / 50))), 50);
  assertGreater(scattered(each.map((n) => n * 30)), 999);
});
