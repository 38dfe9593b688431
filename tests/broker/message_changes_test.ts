/** What a commit would cost. */
import { assert, assertGreater, assertLess } from "@std/assert";
import { Content } from "../../src/broker/message/content.ts";
import { type LaneRecord, Message } from "../../src/broker/message/message.ts";
import { DataFile } from "../../src/broker/store/file/data_file.ts";
import { MessageChanges } from "../../src/broker/store/messages/message_changes.ts";
import { MessageTable } from "../../src/broker/store/messages/message_table.ts";
import { tempDir } from "../support/temp.ts";

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

/** Bytes of a page in the log. */
const FRAME_BYTES = 4096 + 24;

/** Pages of any commit besides those of messages, at most. */
const OTHER_PAGES = 8;

Deno.test("the pages that a commit writes to the log are about as many as are counted", async () => {
  await using dir = await tempDir();
  for (const [size, count] of [[130, 500], [600, 500], [3_000, 300], [10_000, 300]] as const) {
    const folder = dir.file(`${size}`);
    await Deno.mkdir(folder);
    const file = new DataFile(folder);
    const { database } = file;
    database.exec("PRAGMA wal_autocheckpoint = 0");
    const table = new MessageTable(database, { onDamage: () => {} });
    const content = () => new Content(new Uint8Array(size), 10, 20);
    const messages = Array.from(
      { length: count },
      (_, index) => new Message(lane, 1 + index, content(), 0, true),
    );
    const commit = () => {
      const counted = table.pendingPages;
      const before = Deno.statSync(`${folder}/broker.db-wal`).size;
      database.exec("BEGIN");
      table.write();
      database.exec("COMMIT");
      table.written();
      return {
        counted,
        written: (Deno.statSync(`${folder}/broker.db-wal`).size - before) / FRAME_BYTES,
      };
    };
    const near = ({ counted, written }: ReturnType<typeof commit>) =>
      counted > 0.6 * written - OTHER_PAGES && counted < 1.5 * written + OTHER_PAGES;

    for (const message of messages) table.insert(message, undefined);
    const inserted = commit();
    assert(near(inserted), `insert ${size}: ${JSON.stringify(inserted)}`);
    for (const message of messages) table.remove(message);
    const removed = commit();
    assert(near(removed), `remove ${size}: ${JSON.stringify(removed)}`);
    file.close();
  }
});
