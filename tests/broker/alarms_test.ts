/** When the disk's alarms begin and end; what they make of publishers is in share_test, disk_test. */
import { assertEquals } from "@std/assert";
import { Alarms } from "../../src/broker/store/alarms.ts";
import { createLogger } from "../../src/observe/log.ts";
import { tempDir } from "../support/temp.ts";
import { within } from "../support/wait.ts";

const MB = 1024 * 1024;

Deno.test("a share of the disk that is full has to be left for good, not by some bytes", async () => {
  await using dir = await tempDir();
  let used = 0;
  let looked = Promise.withResolvers<void>();
  const lines: string[] = [];
  const alarms = new Alarms({
    folder: dir.path,
    diskFreeBytes: 0,
    shareBytes: 20 * MB,
    file: {
      get usedBytes() {
        // Told when the look that asks is over.
        queueMicrotask(looked.resolve);
        return used;
      },
      reusableBytes: 0,
      isInPlace: true,
      fitLog: () => {},
      shrinkLog: () => {},
    },
    besideBytes: () => 0,
    whenFull: "block",
    log: createLogger({ name: "broker", write: (line) => void lines.push(line) }),
    onFailure: () => {},
    onClear: () => {},
  });
  const nextLook = async (bytes: number) => {
    used = bytes;
    looked = Promise.withResolvers();
    await within("a look at the disk", looked.promise);
    return alarms.reason;
  };
  const full = "the data take their share of the disk";
  try {
    used = 18.1 * MB;
    await alarms.look();
    assertEquals(alarms.reason, full);
    assertEquals(await nextLook(17.9 * MB), full);
    assertEquals(await nextLook(17.4 * MB), undefined);
    // Publishers may use what they were given.
    used = 17.9 * MB;
    alarms.written(0.4 * MB);
    assertEquals(alarms.reason, undefined);
    assertEquals(lines.length, 2, lines.join(""));
  } finally {
    alarms.stop();
  }
});
