/** The floors of src/ as text and as a picture, with the rooms that each room really uses. */
import type { Import } from "./imports.ts";
import { FLOORS, type Floors, INNER_FLOORS, roomOf } from "./rules.ts";

/** A room with the lower ones that its files import. */
export interface Room {
  readonly name: string;
  readonly uses: readonly string[];
}

/** Rooms of one folder, the top floor first; `title` is the folder. */
export interface House {
  readonly title: string;
  readonly floors: readonly (readonly Room[])[];
}

/** src/ itself, then each folder that has floors of its own. Rooms without a file are left out. */
export function housesOf(imports: readonly Import[]): House[] {
  const inside = imports.filter(({ from, to }) => from.startsWith("src/") && to.startsWith("src/"))
    .map(({ from, to }) => [roomOf(from), roomOf(to)] as const);
  const houseAt = (folder: string, floors: Floors): House => {
    const names = folder === "" ? [] : folder.split("/");
    const depth = names.length;
    const isInside = (way: readonly string[]) =>
      way.length > depth && names.every((name, at) => way[at] === name);
    const lived = new Set(inside.flat().filter(isInside).map((way) => way[depth]!));
    const uses = inside.filter((ways) => ways.every(isInside))
      .map(([from, to]) => [from[depth]!, to[depth]!] as const);
    return house(["src", ...names].join("/"), floors, lived, uses);
  };
  return [
    houseAt("", FLOORS),
    ...[...INNER_FLOORS].map(([folder, floors]) => houseAt(folder, floors)),
  ];
}

function house(
  title: string,
  floors: Floors,
  lived: ReadonlySet<string>,
  uses: (readonly [string, string])[],
): House {
  const order = floors.flat();
  const roomsOf = (names: readonly string[]) =>
    names.filter((name) => lived.has(name)).map((name): Room => {
      const used = new Set(
        uses.filter(([from, to]) => from === name && to !== name).map(([, to]) => to),
      );
      return { name, uses: order.filter((other) => used.has(other)) };
    });
  return { title, floors: floors.map(roomsOf).filter((rooms) => rooms.length > 0) };
}

/** A line for each floor. */
export function describe({ title, floors }: House): string {
  const width = Math.max(...floors.map((rooms) => namesOf(rooms).length));
  return [
    `${title}/`,
    ...floors.map((rooms) => {
      const uses = new Set(rooms.flatMap((room) => room.uses));
      return `  ${namesOf(rooms).padEnd(width)}  > ${[...uses].join(", ")}`.replace(/ +> $/, "");
    }),
  ].join("\n");
}

function namesOf(rooms: readonly Room[]): string {
  return rooms.map(({ name }) => name).join(", ");
}

const ROOM_WIDTH = 236;
const ROOM_HEIGHT = 72;
const GAP = 14;
const MARGIN = 20;
const TITLE_HEIGHT = 30;
/** Characters of a line in a room. */
const LINE_CHARACTERS = 36;

/** An SVG picture; the same imports always give the same bytes. */
export function draw(houses: readonly House[]): string {
  const widths = houses.map(({ floors }) => {
    const most = Math.max(...floors.map((rooms) => rooms.length));
    return most * (ROOM_WIDTH + GAP) - GAP;
  });
  const heights = houses.map(({ floors }) =>
    TITLE_HEIGHT + floors.length * (ROOM_HEIGHT + GAP) - GAP
  );
  const width = widths.reduce((sum, w) => sum + w + MARGIN * 2, 0);
  const height = Math.max(...heights) + 2 * MARGIN;
  let left = 0;
  const parts = houses.map((house, index) => {
    const part = drawHouse(house, left + MARGIN, MARGIN, widths[index]!);
    left += widths[index]! + 2 * MARGIN;
    return part;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif">\n` +
    `<title>The floors of the source: imports only go down</title>\n` +
    `<rect width="100%" height="100%" fill="#ffffff"/>\n${parts.join("")}</svg>\n`;
}

function drawHouse({ title, floors }: House, x: number, y: number, width: number): string {
  const head = `<text x="${x}" y="${y + 16}" font-size="16" font-weight="600" fill="#1f2933">` +
    `${title}/</text>\n`;
  const rooms = floors.flatMap((rooms, floor) => {
    const span = rooms.length * (ROOM_WIDTH + GAP) - GAP;
    const begin = x + (width - span) / 2;
    const top = y + TITLE_HEIGHT + floor * (ROOM_HEIGHT + GAP);
    return rooms.map((room, index) => drawRoom(room, begin + index * (ROOM_WIDTH + GAP), top));
  });
  return head + rooms.join("");
}

function drawRoom({ name, uses }: Room, x: number, y: number): string {
  const lines = uses.length === 0 ? [] : wrap(`uses ${uses.join(", ")}`);
  const text = lines.map((line, index) =>
    `<text x="${x + 10}" y="${y + 37 + index * 14}" font-size="11" fill="#52606d">${line}</text>\n`
  );
  return `<rect x="${x}" y="${y}" width="${ROOM_WIDTH}" height="${ROOM_HEIGHT}" rx="6" ` +
    `fill="#eef4fb" stroke="#7b9cc4"/>\n` +
    `<text x="${x + 10}" y="${y + 20}" font-size="14" font-weight="600" fill="#1f2933">` +
    `${name}</text>\n${text.join("")}`;
}

function wrap(text: string): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + word.length >= LINE_CHARACTERS) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}
