/**
 * What the forge's workflow runs (.github/workflows/release.yml), step after step in a clean clone
 * with an empty home; for this host alone, and without the gate, which is `.ci/run` (minutes).
 *
 *   deno task test:workflow
 *
 * Packages are not installed and nothing is uploaded: what would be is checked to be there.
 */
// deno-lint-ignore-file no-console
import { parse } from "@std/yaml/parse";
import config from "../deno.json" with { type: "json" };
import { shell } from "./release/shell.ts";

const project = new URL("../", import.meta.url).pathname;
const WORKFLOW = `${project}.github/workflows/release.yml`;

/** A step that runs a script. */
export interface Step {
  readonly job: string;
  /** In a container the forge takes sh instead of bash. */
  readonly shell: "bash" | "sh";
  readonly script: string;
  readonly env: Readonly<Record<string, string>>;
}

interface Job {
  readonly container?: string;
  readonly steps: readonly { run?: string; uses?: string; env?: Record<string, string> }[];
}

/** The steps of all jobs, in order. */
export async function readSteps(): Promise<Step[]> {
  const { jobs } = parse(await Deno.readTextFile(WORKFLOW)) as { jobs: Record<string, Job> };
  return Object.entries(jobs).flatMap(([job, { container, steps }]) =>
    steps.flatMap(({ run, env = {} }): Step[] =>
      run === undefined ? [] : [{
        job,
        shell: container === undefined ? "bash" : "sh",
        script: run,
        env: Object.fromEntries(
          Object.entries(env).map(([name, value]) => [name, value.replace(/\$\{\{.*?\}\}/g, "x")]),
        ),
      }]
    )
  );
}

/**
 * Runs a step as the forge does, for a tag of this version.
 *
 * @param folder has `home/`, and in `bin/` what stands in for programs of the system
 * @throws Error with what the step says
 */
export async function runStep(step: Step, folder: string, cwd: string): Promise<string> {
  return await shell(step.shell, ["-e", "-c", step.script], {
    cwd,
    env: {
      HOME: `${folder}/home`,
      PATH: `${folder}/bin:${Deno.env.get("PATH")}`,
      FOLDER: folder,
      GITHUB_SERVER_URL: "https://forge.example.org",
      GITHUB_REPOSITORY: "workqueue/tools",
      GITHUB_REF_NAME: `v${config.version}`,
      ...step.env,
    },
  });
}

/** Stands in for programs: each writes its name and arguments down, a line each, and does more. */
export async function standIn(folder: string, programs: Record<string, string>): Promise<void> {
  for (const name of ["home", "bin"]) await Deno.mkdir(`${folder}/${name}`);
  for (const [name, more] of Object.entries(programs)) {
    const text = `#!/bin/bash\nset -e\necho "${name} $*" >>"$FOLDER/called"\n${more}\n`;
    await Deno.writeTextFile(`${folder}/bin/${name}`, text, { mode: 0o755 });
  }
}

async function main(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "workflow-" });
  try {
    const npx = await shell("sh", ["-c", "command -v npx"]);
    await standIn(folder, {
      "apt-get": "",
      gh: 'for file; do case $file in release/*) test -s "$file"; esac; done',
      // Not every network has the runtimes of all targets.
      npx: `exec ${npx} "$@" --offline --fast`,
    });
    await shell("git", ["clone", "--quiet", project, `${folder}/clone`]);
    for (const step of await readSteps()) {
      if (step.script.includes(".ci/run")) continue;
      console.error(`${step.job}: ${step.script.trim()}`);
      await runStep(step, folder, `${folder}/clone`);
    }
    const called = await Deno.readTextFile(`${folder}/called`);
    const uploaded = /^gh release create .*? (release\/\S+.*)$/m.exec(called)?.[1]?.split(" ") ??
      [];
    const version = config.version;
    for (const name of ["SHA256SUMS", "install.sh", `workqueue_${version}_amd64.deb`]) {
      if (!uploaded.includes(`release/${name}`)) throw new Error(`${name} is not uploaded`);
    }
    console.log(`every step went well, and ${uploaded.length} files are uploaded`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(`test_workflow: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
