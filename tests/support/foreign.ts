/** What other makers' clients need to run here: Go with amqp091-go, Python with pika. */
import { installed, run } from "./process.ts";

/** Where Debian's Go library packages put their source. */
const GO_PATH = "/usr/share/gocode";
export const AMQP091 = "github.com/rabbitmq/amqp091-go";
export const AMQP091_FOLDER = `${GO_PATH}/src/${AMQP091}`;

/** Why Go programs on amqp091-go cannot be built, or undefined. */
export const goMissing: string | undefined = !installed("go")
  ? "Go is not installed"
  : !installed(`${AMQP091_FOLDER}/client_test.go`)
  ? "golang-github-rabbitmq-amqp091-go-dev is not installed"
  : undefined;

/**
 * Builds a Go program with what Debian's packages hold, and nothing from elsewhere.
 *
 * @param args of `go`, without `-o`
 * @returns the program's path
 * @throws Error when it does not build
 */
export async function buildGo(program: string, ...args: readonly string[]): Promise<string> {
  const [verb, ...rest] = args as [string, ...string[]];
  const { code, stderr } = await run("go", {
    args: [verb, "-o", program, ...rest],
    env: { GO111MODULE: "off", GOPATH: GO_PATH, GOFLAGS: "" },
    // The first build on a machine compiles Go's own library.
    timeoutMs: 240_000,
  });
  if (code !== 0) throw new Error(`Cannot build ${program} with Go: ${stderr}`);
  return program;
}

/** Debian's python3, the one that python3-pika belongs to. */
export const PYTHON = "/usr/bin/python3";

/** Why Python programs on pika cannot run, or undefined. */
export async function pikaMissing(): Promise<string | undefined> {
  if (!installed(PYTHON)) return "python3 is not installed";
  const { code } = await run(PYTHON, { args: ["-c", "import pika"] });
  return code === 0 ? undefined : "python3-pika is not installed";
}

/** Why Celery cannot run, or undefined. */
export async function celeryMissing(): Promise<string | undefined> {
  if (!installed(PYTHON)) return "python3 is not installed";
  const { code } = await run(PYTHON, { args: ["-c", "import celery"] });
  return code === 0 ? undefined : "python3-celery is not installed";
}
