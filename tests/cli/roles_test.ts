import { assertEquals } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { findCall, permissionsIn, type Role, ROLES } from "../../src/cli/roles.ts";
import { permissionsOf, type Program } from "../../scripts/tasks.ts";
import { run } from "../support/process.ts";

const root = new URL("../../", import.meta.url).pathname;

Deno.test("findCall() knows the program by the name of the binary, or else by the first word", () => {
  const rows: [name: string, args: string[], role: Role | undefined, rest: string[]][] = [
    ["worker", ["-q", "x"], "worker", ["-q", "x"]],
    ["./worker", [], "worker", []],
    ["/usr/bin/new_task", ["worker"], "new_task", ["worker"]],
    ["C:\\tools\\Broker.exe", [], undefined, []],
    ["C:\\tools\\broker.exe", ["-p", "1"], "broker", ["-p", "1"]],
    ["workqueue", ["worker", "broker"], "worker", ["broker"]],
    ["workqueue", ["new_task"], "new_task", []],
    ["", ["broker"], "broker", []],
    ["workqueue", [], undefined, []],
    ["workqueue", ["toString"], undefined, []],
    ["a\nworker/b", ["--", "worker"], undefined, []],
  ];
  for (const [name, args, role, rest] of rows) {
    const call = findCall(name, args);
    assertEquals([call?.role, call?.args ?? []], [role, rest], `${name} ${args.join(" ")}`);
  }
});

Deno.test("the one binary may do what any of its programs may, and nothing else", () => {
  const all = permissionsIn(config.tasks.workqueue);
  const needed = new Map<string, Set<string>>();
  for (const role of ROLES) {
    for (const [name, list] of permissionsIn(config.tasks[role])) {
      needed.set(name, new Set([...needed.get(name) ?? [], ...list.length > 0 ? list : ["*"]]));
    }
  }
  assertEquals([...all.keys()].sort(), [...needed.keys()].sort());
  for (const [name, list] of all) {
    const wanted = needed.get(name)!;
    assertEquals(wanted.has("*") ? [] : [...wanted].sort(), [...list].sort(), name);
  }
});

/** What a program could ask for, and what only one of them may have. */
const PROBES: readonly Deno.PermissionDescriptor[] = [
  ...(["net", "read", "write", "env", "run", "sys", "ffi", "import"] as const)
    .map((name) => ({ name }) as Deno.PermissionDescriptor),
  ...["AMQP_URL", "WORK_QUEUE", "BROKER_DATA", "NOTIFY_SOCKET", "WATCHDOG_USEC", "HOME", "PATH"]
    .map((variable) => ({ name: "env", variable }) as const),
  ...(["hostname", "statfs", "osRelease", "systemMemoryInfo"] as const)
    .map((kind) => ({ name: "sys", kind }) as Deno.PermissionDescriptor),
  { name: "run", command: "/bin/true" },
  { name: "net", host: "127.0.0.1:1" },
  { name: "read", path: "/" },
  { name: "write", path: "/" },
];

const PROBE = `
const probes = JSON.parse(Deno.args[1]);
const { giveUpOthers } = await import(Deno.args[2]);
const read = (name) => Deno.env.get(name);
const env = Deno.args[0] === "" ? read : giveUpOthers(Deno.args[0], read);
const states = probes.map((probe) => [
  Deno.permissions.querySync(probe).state === "granted",
  Deno.permissions.requestSync(probe).state === "granted",
]);
const attempt = (action) => { try { return String(action()); } catch (error) { return error.name; } };
console.log(JSON.stringify({
  states,
  url: attempt(() => env("AMQP_URL")),
  data: attempt(() => env("BROKER_DATA")),
  run: attempt(() => new Deno.Command("/bin/true").outputSync().success),
  hostname: attempt(() => Deno.hostname().length > 0),
}));`;

interface Found {
  states: [held: boolean, obtained: boolean][];
  url: string;
  data: string;
  run: string;
  hostname: string;
}

/** Runs the probe with the permissions of a task; `role` "" gives nothing up. */
async function probe(task: Program, role: Role | ""): Promise<Found> {
  const flags = permissionsOf(task);
  const code = `data:text/javascript;base64,${btoa(PROBE)}`;
  const roles = `${root}src/cli/roles.ts`;
  const { code: status, stdout, stderr } = await run(Deno.execPath(), {
    args: ["run", "--quiet", ...flags, code, role, JSON.stringify(PROBES), `file://${roles}`],
    cwd: root,
    env: { AMQP_URL: "amqp://a", BROKER_DATA: "b" },
  });
  assertEquals(status, 0, stderr);
  return JSON.parse(stdout);
}

for (const role of ROLES) {
  Deno.test(`${role} of the one binary has none of the others' permissions, and cannot get them`, async () => {
    const [single, alone] = await Promise.all([
      probe("workqueue", role),
      probe(role, ""),
    ]);
    const runs = role === "worker";
    assertEquals(
      [single.run, single.hostname],
      runs ? ["true", "true"] : Array(2).fill("NotCapable"),
    );
    assertEquals(single.url, role === "broker" ? "undefined" : "amqp://a");
    assertEquals(single.data, role === "new_task" ? "undefined" : "b");
    for (const [i, descriptor] of PROBES.entries()) {
      const mine = single.states[i]!;
      const what = JSON.stringify(descriptor);
      assertEquals(mine[0], mine[1], `${what} is only asked for`);
      // What of the environment it may know, it has read: no variable is open to it any more.
      const expected = descriptor.name === "env" && !runs ? [false, false] : alone.states[i];
      assertEquals(mine, expected, what);
    }
  });
}
