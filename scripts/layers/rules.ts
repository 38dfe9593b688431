/**
 * The floors of src/, and what breaks their order. An import goes down to a lower floor or stays in
 * its room; rooms of one floor know nothing of each other. No chain of imports comes back to where
 * it began, imports of types counted.
 */
import type { Import } from "./imports.ts";

/** Names of rooms, the top floor first. */
export type Floors = readonly (readonly string[])[];

/** The folders of src/. Its own files are entries, but for errors.ts and what holds all programs. */
export const FLOORS: Floors = [
  ["workqueue"],
  ["entry"],
  ["cli"],
  ["front", "web"],
  ["worker", "broker", "handlers"],
  ["amqp"],
  ["task", "observe"],
  ["time"],
  ["errors"],
];

/** Files of src/ that are a room each. */
const OWN_ROOMS: ReadonlyMap<string, string> = new Map([
  ["workqueue.ts", "workqueue"],
  ["errors.ts", "errors"],
]);

/** Folders that have floors of their own: of their folders and of the files beside those. */
export const INNER_FLOORS: ReadonlyMap<string, Floors> = new Map([
  ["broker", [
    ["server.ts"],
    ["admin"],
    ["connection"],
    ["channel"],
    ["routing"],
    ["queue"],
    ["store"],
    ["net", "message"],
    ["wire"],
  ]],
  ["broker/store", [
    ["still"],
    ["group_commit.ts", "upkeep.ts"],
    ["store.ts"],
    ["store_writer.ts", "alarms.ts"],
    ["messages", "definitions"],
    ["file"],
    ["refusals.ts"],
  ]],
]);

/** Lines from which on a file of src/ is two things. */
export const MOST_LINES = 400;

/** Rooms from which on a folder that has floors of its own is two houses. */
export const MOST_ROOMS = 10;

/** What an entry must not reach; `lazily` tells whether `await import()` may. */
const UNREACHABLE: readonly { from: string; to: RegExp; lazily: boolean }[] = [
  { from: "src/workqueue.ts", to: /^src\/(new_task|worker|broker)\.ts$/, lazily: true },
  { from: "src/new_task.ts", to: /^src\/broker\b/, lazily: false },
  { from: "src/new_task.ts", to: /^src\/front\b/, lazily: true },
  {
    from: "src/new_task.ts",
    to: /^src\/cli\/(bulk|schedules|progress|wait|wait_many|http)\.ts$/,
    lazily: true,
  },
  { from: "src/new_task.ts", to: /^node:http$/, lazily: true },
  { from: "src/worker.ts", to: /^src\/broker\b/, lazily: false },
  { from: "src/worker.ts", to: /^src\/front\b/, lazily: false },
  { from: "src/new_task.ts", to: /^node:sqlite$/, lazily: true },
  { from: "src/worker.ts", to: /^node:sqlite$/, lazily: true },
  { from: "src/worker.ts", to: /^node:http$/, lazily: true },
  { from: "src/broker.ts", to: /^(src\/(web|broker\/admin)\/|node:http$)/, lazily: true },
  // Loading it takes as long as half a start.
  ...["new_task", "worker", "broker"].map((name) => ({
    from: `src/${name}.ts`,
    to: /^node:process$/,
    lazily: true,
  })),
];

/** The sentences to print, one for each import that breaks a rule; none when all is well. */
export function findViolations(imports: readonly Import[]): string[] {
  return [
    ...imports.flatMap(checkDirection),
    ...UNREACHABLE.flatMap(checkReach),
    ...findCircles(imports),
  ];

  function checkReach(rule: typeof UNREACHABLE[number]): string[] {
    const way = findWay(imports, rule.from, rule.to, !rule.lazily);
    return way ? [`${rule.from} must not reach ${way.at(-1)}: ${way.join(" > ")}`] : [];
  }
}

/** @param lines the number of lines of every file of src/ */
export function findLongFiles(lines: ReadonlyMap<string, number>): string[] {
  return [...lines].filter(([, count]) => count > MOST_LINES)
    .map(([file, count]) => `${file} must have at most ${MOST_LINES} lines, and has ${count}`);
}

/** @param files the paths of all files of src/ */
export function findCrowdedFolders(files: Iterable<string>): string[] {
  const rooms = new Map([...INNER_FLOORS.keys()].map((folder) => [folder, new Set<string>()]));
  for (const file of files) {
    const way = roomOf(file);
    way.slice(1).forEach((room, depth) => rooms.get(way.slice(0, depth + 1).join("/"))!.add(room));
  }
  return [...rooms].filter(([, { size }]) => size > MOST_ROOMS)
    .map(([folder, { size }]) =>
      `src/${folder} must have at most ${MOST_ROOMS} entries, and has ${size}`
    );
}

/**
 * The room of a file: ["amqp"]; in a folder with floors of its own also the room there, as
 * ["broker", "queue"] and ["broker", "store", "file"].
 */
export function roomOf(path: string): [outer: string, ...inner: string[]] {
  const [, first, ...rest] = path.split("/") as [string, string, ...string[]];
  if (rest.length === 0) return [OWN_ROOMS.get(first) ?? "entry"];
  const way: [string, ...string[]] = [first];
  while (INNER_FLOORS.has(way.join("/"))) way.push(rest.shift()!);
  return way;
}

function checkDirection({ from, to, line }: Import): string[] {
  if (!from.startsWith("src/") || to.includes(":") || to === "deno.json") return [];
  const begin = `${from}:${line} imports ${to}: `;
  if (!to.startsWith("src/")) return [`${begin}src/ must stand without the rest of the project`];
  const source = roomOf(from);
  const target = roomOf(to);
  // No entry knows another one.
  const parting = source[0] === "entry" ? 0 : source.findIndex((room, i) => room !== target[i]);
  if (parting === -1) return [];
  const folder = source.slice(0, parting).join("/");
  const floors = parting === 0 ? FLOORS : INNER_FLOORS.get(folder)!;
  return compare(
    floors,
    parting === 0 ? "src" : `src/${folder}`,
    source[parting]!,
    target[parting]!,
  )
    .map((reason) => begin + reason);
}

function compare(floors: Floors, folder: string, source: string, target: string): string[] {
  const floorOf = (room: string) => floors.findIndex((rooms) => rooms.includes(room));
  const unknown = [source, target].find((room) => floorOf(room) === -1);
  if (unknown !== undefined) {
    return [`${folder}/${unknown} has no floor in scripts/layers/rules.ts`];
  }
  return floorOf(source) < floorOf(target) ? [] : [`${source} must not import ${target}`];
}

/** One sentence for each group of files that reach each other. */
function findCircles(imports: readonly Import[]): string[] {
  const inside = imports.filter(({ from, to }) => from.startsWith("src/") && to.startsWith("src/"));
  const circles: string[] = [];
  const told = new Set<string>();
  for (const { from, to } of inside) {
    if (told.has(from)) continue;
    const back = findWay(inside, to, (file) => file === from, true, true);
    if (back === undefined) continue;
    for (const file of back) told.add(file);
    circles.push(`these files import each other in a circle: ${[from, ...back].join(" > ")}`);
  }
  return circles;
}

/** The shortest chain of imports from a file to one that matches; or nothing. */
function findWay(
  imports: readonly Import[],
  from: string,
  to: RegExp | ((file: string) => boolean),
  followDynamic: boolean,
  followTypes = false,
): string[] | undefined {
  const matches = to instanceof RegExp ? (file: string) => to.test(file) : to;
  const ways = new Map([[from, [from]]]);
  for (const [file, way] of ways) {
    if (matches(file)) return way;
    for (const next of imports) {
      if (next.from !== file || ways.has(next.to)) continue;
      if (next.typeOnly && !followTypes || next.dynamic && !followDynamic) continue;
      ways.set(next.to, [...way, next.to]);
    }
  }
  return undefined;
}
