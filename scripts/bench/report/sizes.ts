/** Programs, ours and others, by what they take of the disk. */
import { type Lab, output } from "./lab.ts";
import type { Row, Table } from "./table.ts";

/** The first rows of the table of sizes. */
const OURS = 4;

/** What has to be on the disk. */
export async function sizeTable(
  lab: Lab,
  binaries: ReadonlyMap<string, string> | string,
  goPeer: string | undefined,
): Promise<Table> {
  const fileMb = async (path: string) => (await Deno.stat(path)).size / 1e6;
  const ours = (name: string) => () => {
    if (typeof binaries === "string") throw new Error(binaries);
    return fileMb(binaries.get(name)!);
  };
  const programs: [name: string, size: (signal: AbortSignal) => Promise<number>][] = [
    ["workqueue, all three in one", ours("workqueue")],
    ["new_task", ours("new_task")],
    ["worker", ours("worker")],
    ["broker", ours("broker")],
    ["amqp-tools with librabbitmq", (signal) => packagesMb(["amqp-tools", "librabbitmq4"], signal)],
    ["a program on amqp091-go", () => {
      if (goPeer === undefined) throw new Error("not built");
      return fileMb(goPeer);
    }],
    [
      "python3-pika with Python",
      (signal) => packagesMb(["python3-pika", "python3*-minimal", "libpython3*-stdlib"], signal),
    ],
    [
      "rabbitmq-server with Erlang",
      (signal) => packagesMb(["rabbitmq-server", "erlang-*"], signal),
    ],
    ["beanstalkd", (signal) => packagesMb(["beanstalkd"], signal)],
    [
      "redis-server with redis-tools",
      (signal) => packagesMb(["redis-server", "redis-tools"], signal),
    ],
  ];
  const rows: Row[] = [];
  for (const [i, [name, size]] of programs.entries()) {
    rows.push({ name, cells: [await lab.measure(name, size)], isOurs: i < OURS });
  }
  return {
    id: "size",
    title: "What is on the disk",
    text: "Of our programs the file, which needs nothing but libc; of others the packages of " +
      "Debian as they are installed, without what every Debian has.",
    unit: "MB",
    columns: [{ title: "MB", better: "less" }],
    rows,
    chart: { kind: "bars", column: 0 },
    why: Object.fromEntries(
      programs.slice(OURS).map(([name]) => [name, "It brings no JavaScript engine."]),
    ),
  };
}

async function packagesMb(names: readonly string[], signal: AbortSignal): Promise<number> {
  const format = "-f=${db:Status-Abbrev}\t${Installed-Size}\n";
  const said = await output(["dpkg-query", "-W", format, ...names], signal);
  const sizes = said.split("\n").filter((line) => line.startsWith("ii"))
    .map((line) => Number(line.split("\t")[1]));
  if (sizes.length === 0) throw new Error("not installed");
  return sizes.reduce((sum, size) => sum + size, 0) * 1_024 / 1e6;
}
