/** The steps of the forge's workflow are scripts that run, and name what there is. */
import { assertEquals, assertRejects } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { readOptions } from "../../scripts/release.ts";
import { readSteps, runStep, standIn } from "../../scripts/test_workflow.ts";
import { tempDir } from "../support/temp.ts";

const tag = `v${config.version}`;

/** Makes what `deno task release --out FOLDER` does, in small. */
const NPX = `while [[ $1 != --out ]]; do shift; done
mkdir "$2"
touch "$2/file" "$2/SHA256SUMS"`;

Deno.test("the workflow builds twice, compares and uploads, for the tag of this version alone", async () => {
  await using dir = await tempDir();
  await standIn(dir.path, { "apt-get": "", npx: NPX, gh: 'echo "$GH_TOKEN" >>"$FOLDER/called"' });
  const clone = dir.file("clone");
  await Deno.mkdir(`${clone}/.ci`, { recursive: true });
  await Deno.copyFile(new URL("../../deno.json", import.meta.url), `${clone}/deno.json`);
  await Deno.writeTextFile(`${clone}/.ci/run`, 'echo "the gate, CI=$CI" >>"$FOLDER/called"\n');
  const steps = await readSteps();
  for (const step of steps) await runStep(step, dir.path, clone);
  const called = (await Deno.readTextFile(dir.file("called"))).trimEnd().split("\n");
  const url = `https://forge.example.org/workqueue/tools/releases/download/${tag}`;
  assertEquals(called.filter((line) => !line.startsWith("apt-get ")), [
    "the gate, CI=true",
    `npx -y deno task release --out release --url ${url}`,
    `npx -y deno task release --out again --url ${url}`,
    `gh release create ${tag} --verify-tag --generate-notes release/SHA256SUMS release/file`,
    "x",
  ]);
  for (const line of called.filter((line) => line.startsWith("npx "))) {
    const args = line.split(" ").slice("npx -y deno task release".split(" ").length);
    assertEquals(readOptions(args).url, url);
  }
  // What differs is not uploaded.
  await Deno.writeTextFile(`${clone}/again/SHA256SUMS`, "other");
  const building = steps.find(({ script }) => script.includes("cmp "))!;
  const comparing = { ...building, script: /^cmp .*$/m.exec(building.script)![0] };
  await assertRejects(() => runStep(comparing, dir.path, clone), Error, "cmp: EOF");
  // Nor is a version that is another one than the tag says.
  const checking = steps.find(({ script }) => script.includes("deno.json"))!;
  const other = { ...checking, env: { GITHUB_REF_NAME: "v99.0.0" } };
  await assertRejects(() => runStep(other, dir.path, clone), Error, "v99.0.0");
});
