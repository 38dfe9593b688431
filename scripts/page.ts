/**
 * Bundles the page of the broker into src/web/assets.json, which the programs load when they serve
 * it: under `deno run`, and inside the compiled binaries.
 *
 *   deno task page
 */
// deno-lint-ignore-file no-console
import { createHash } from "node:crypto";

const client = new URL("../src/web/client/", import.meta.url);
const target = new URL("../src/web/assets.json", import.meta.url);

/** Of uPlot's own style sheet. */
const UPLOT_CSS = "uplot/dist/uPlot.min.css";

async function main(): Promise<void> {
  const script = await bundle(new URL("main.tsx", client));
  const { default: chartCss } = await import(UPLOT_CSS, { with: { type: "text" } });
  const read = (name: string) => Deno.readTextFile(new URL(name, client));
  const assets = {
    sources: await digestOfSources(),
    files: {
      "/": { type: "text/html; charset=utf-8", body: await read("index.html") },
      "/page.js": { type: "text/javascript; charset=utf-8", body: script },
      "/page.css": { type: "text/css; charset=utf-8", body: chartCss + await read("page.css") },
      "/icon.svg": { type: "image/svg+xml", body: await read("icon.svg") },
    },
  };
  await Deno.writeTextFile(target, JSON.stringify(assets, null, 2) + "\n");
  console.error(`${target.pathname}: ${(script.length / 1_000).toFixed(0)} KB of script`);
}

async function bundle(entry: URL): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".js" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", "--platform", "browser", "--minify", "-o", file, entry.pathname],
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return await Deno.readTextFile(file);
  } finally {
    await Deno.remove(file);
  }
}

/** Tells whether the bundle was made of what there is; bundlers differ in what they make of it. */
export async function digestOfSources(): Promise<string> {
  const read = (name: string) => Deno.readTextFile(new URL(name, client));
  const own = Array.from(Deno.readDirSync(client), ({ name }) => name).sort();
  const ownTexts = await Promise.all(own.map(read));
  // What it takes from other folders, but for types, takes nothing from others.
  const taken = ownTexts.flatMap((text) =>
    Array.from(text.matchAll(/^import (?!type )[^;]* from "(\.\.\/[^"]+)";/gm), ([, name]) => name!)
  );
  const others = [...new Set(taken)].sort();
  const names = [...own, ...others];
  const texts = [...ownTexts, ...await Promise.all(others.map(read))];
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  const packages = [imports.preact, imports.uplot];
  return createHash("sha256").update(JSON.stringify([names, texts, packages])).digest("hex");
}

if (import.meta.main) await main();
