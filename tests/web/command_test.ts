import { assert, assertEquals } from "@std/assert";
import { queue } from "../../src/cli/queue_names.ts";
import { queueOption } from "../../src/web/client/command.ts";
import { run } from "../support/process.ts";

Deno.test("a queue's name in a command that is copied is one word, whatever it is", async () => {
  const names = [
    ...["plain-name_1.x:y/z@%+", "two words", "; touch owned", "$(touch owned)", "`touch owned`"],
    ...['it\'s "quoted"', "back\\slash", "a=3,b", "--help", "-x y", "~", "*", "#", "!x", "{a,b}"],
    ...[
      "\u00fc\u65e5",
      "bell\u0007 \u009b31m",
      "\u202egnihton",
      "it's\n no",
    ],
  ];
  for (const name of names) {
    const option = queueOption(name);
    assert(!/[^\x20-\x7e\u00fc\u65e5]/.test(option), JSON.stringify(option));
    const { code, stdout } = await run("bash", {
      args: ["-c", `printf '%s\\n--\\n' ${option}`],
      env: { LC_ALL: "C.UTF-8" },
    });
    const words = stdout.slice(0, -"\n--\n".length).split("\n--\n");
    const value = words.length === 1 ? words[0]!.replace(/^--queue=/, "") : words[1]!;
    assertEquals([code, words.length], [0, name.startsWith("-") ? 1 : 2], option);
    assertEquals(name.includes("\n") ? unescaped(value) : queue.parse([value], "--queue"), name);
  }
});

/** No work queue has a line break in its name. */
function unescaped(text: string): string {
  return text.replace(/\\(.)/g, "$1");
}
