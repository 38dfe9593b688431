/**
 * Runs the tests of the programs on programs that are not run from source by this Deno:
 *
 *   deno task test:dist [--short] [FILE OR FOLDER]...     the binaries in dist/
 *   deno task test:single [--short] [FILE OR FOLDER]...   dist/workqueue, which is all of them
 *   deno task test:bundle [--short] [FILE OR FOLDER]...   the bundles that tasks run
 *   deno task test:oldest [--short] [FILE OR FOLDER]...   by the oldest Deno that is said to do,
 *                                                         which npm has
 *
 * The tests themselves are run by this Deno. Default: all of them; --short: those that show most.
 */
// deno-lint-ignore-file no-console
import { makeProgram } from "./program.ts";
import { NAMES } from "./tasks.ts";

const OLDEST = "2.4.0";

const ALL = [
  "tests/contract",
  "tests/e2e",
  "tests/nodes",
  "tests/worker",
  "tests/broker",
  "tests/amqp/broker_test.ts",
  "tests/amqp/network_test.ts",
  "tests/amqp/reach_test.ts",
];

/** What the gate runs; more of the binaries, which are what people get. */
const SHORT: Record<string, readonly string[]> = {
  dist: [
    "tests/contract",
    "tests/e2e/tutorial_test.ts",
    "tests/e2e/new_task_test.ts",
    "tests/e2e/lines_test.ts",
    "tests/e2e/bad_input_test.ts",
    "tests/e2e/worker_test.ts",
    "tests/e2e/dashboard_test.ts",
    "tests/e2e/http_test.ts",
    "tests/worker/outcomes_test.ts",
    "tests/worker/traps_test.ts",
    "tests/broker/backup_test.ts",
    "tests/broker/disk_test.ts",
    "tests/broker/operation_test.ts",
    "tests/broker/tls_test.ts",
    "tests/broker/users_test.ts",
    "tests/amqp/reach_test.ts",
  ],
  single: [
    "tests/e2e/tutorial_test.ts",
    "tests/worker/outcomes_test.ts",
    "tests/broker/operation_test.ts",
  ],
  bundle: [
    "tests/e2e/tutorial_test.ts",
    "tests/worker/outcomes_test.ts",
    "tests/broker/operation_test.ts",
  ],
  oldest: [
    "tests/e2e/tutorial_test.ts",
    "tests/worker/outcomes_test.ts",
    "tests/broker/disk_test.ts",
    "tests/broker/operation_test.ts",
    "tests/scripts/program_test.ts",
  ],
};

/** What tells the tests where the programs are. */
async function programs(kind: string | undefined): Promise<Record<string, string>> {
  if (kind === "dist") return { TEST_TOOLS: "compiled" };
  if (kind === "single") return { TEST_TOOLS: "single" };
  if (kind === "bundle") {
    for (const name of NAMES) await makeProgram(name);
    return { TEST_TOOLS: "bundle" };
  }
  if (kind === "oldest") return { TEST_DENO: await installOldest() };
  throw new Error(
    `the first argument must be dist, single, bundle or oldest, and is ${kind ?? "missing"}`,
  );
}

/** The path of the oldest Deno. */
async function installOldest(): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("npx", {
    args: ["-y", `deno@${OLDEST}`, "eval", "console.log(Deno.execPath())"],
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();
  if (success) return text(stdout);
  throw new Error(`Deno ${OLDEST} cannot be installed with npm: ${text(stderr)}`);
}

async function main(): Promise<number> {
  const [kind, ...args] = Deno.args;
  const env = await programs(kind);
  const named = args.filter((arg) => arg !== "--short");
  const tests = named.length > 0 ? named : args.length > 0 ? SHORT[kind!]! : ALL;
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-all", "tests/support/run.ts", ...tests],
    env: { ...env, TEST_BROKER: "embedded", CONTRACT_BROKER: "broker" },
  }).spawn().status;
  return code;
}

try {
  Deno.exit(await main());
} catch (error) {
  console.error(`test_programs: ${error instanceof Error ? error.message : error}`);
  Deno.exit(1);
}
