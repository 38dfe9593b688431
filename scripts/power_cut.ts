/**
 * Cuts the power of our broker at any moment of its work, on a recorded disk: of what was not synced
 * some is dropped, reordered or torn. What may be left is opened and compared with what clients were
 * told.
 *
 *   deno task power-cut [--images 500] [--seed N]
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { cutPower, type Verdict } from "../tests/broker/power_cut.ts";
import { seedOf } from "../tests/support/random.ts";

const { values: args } = parseArgs({
  args: Deno.args,
  options: {
    images: { type: "string" },
    seed: { type: "string" },
  },
});
const images = Number(args.images ?? 500);
const seed = seedOf(args.seed);

console.log(`${images} power cuts on a quick disk and on a slow one, seed ${seed}`);
let faults = 0;
for (const syncMs of [0, 1, 5, 20]) {
  const options = { messages: 1_500, images: Math.ceil(images / 4), seed: seed + syncMs, syncMs };
  const verdict: Verdict = await cutPower({ ...options, say: (fault) => console.log(fault) });
  faults += verdict.lost + verdict.torn;
  console.log(
    `sync ${syncMs} ms: ${verdict.images} images, ${verdict.rewritten} of them after a checkpoint ` +
      `began (${verdict.aside} with a thread); confirmed ${verdict.confirmed}, lost ${verdict.lost}, torn ${verdict.torn}`,
  );
}
Deno.exitCode = faults === 0 ? 0 : 1;
