/**
 * Checks the order of the house: imports in src/ only go down its floors, no circle, no file too
 * long, no folder with too many rooms. Prints the floors. scripts/layers/rules.ts has the rules.
 *
 *   deno run --allow-read --allow-run scripts/check_layers.ts [FOLDER]    default: this project
 *   deno task layers --draw    writes docs/floors.svg
 */
// deno-lint-ignore-file no-console
import { listModules, readImports } from "./layers/imports.ts";
import { describe, draw, housesOf } from "./layers/picture.ts";
import { findCrowdedFolders, findLongFiles, findViolations } from "./layers/rules.ts";

const folder = Deno.args.find((arg) => !arg.startsWith("--"));
const project = folder === undefined
  ? new URL("../", import.meta.url)
  : new URL(`file://${await Deno.realPath(folder)}/`);
const imports = await readImports(project);
const lines = await countLines();
const violations = [
  ...findViolations(imports),
  ...findLongFiles(lines),
  ...findCrowdedFolders(lines.keys()),
];
const houses = housesOf(imports);
for (const house of houses) console.error(describe(house));
if (Deno.args.includes("--draw")) {
  await Deno.writeTextFile(new URL("docs/floors.svg", project), draw(houses));
}
for (const violation of violations) console.error(violation);
console.error(`check_layers: ${imports.length} imports, ${violations.length} violations`);
Deno.exit(violations.length === 0 ? 0 : 1);

/** Of every file of src/, by its path in the project. */
async function countLines(): Promise<Map<string, number>> {
  const lines = new Map<string, number>();
  for (const file of await listModules(new URL("src/", project))) {
    const text = await Deno.readTextFile(file);
    lines.set(file.href.slice(project.href.length), text.split("\n").length - 1);
  }
  return lines;
}
