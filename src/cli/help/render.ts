/** `--help` as text. */
import type { Flag } from "../flags.ts";
import type { HelpPage } from "./page.ts";

/** Renders a help page, at most 100 columns wide where the texts allow it. */
export function renderHelp(page: HelpPage): string {
  const rows = Object.entries(page.flags).map(([name, flag]) => [
    `  ${flag.short === undefined ? "" : `-${flag.short}, `}--${name}${
      flag.value === undefined ? "" : ` ${flag.value}`
    }`,
    flag.help + origin(flag),
  ]);
  const width = 26;
  const options = rows.flatMap(([left, right]) => {
    const lines = wrap(right!, 100 - width - 1);
    const first = left!.length < width ? `${left!.padEnd(width)} ${lines.shift()}` : left!;
    return [first, ...lines.map((line) => `${"".padEnd(width)} ${line}`)];
  });
  const usage = page.usage.map((line, i) => `${i === 0 ? "Usage: " : "       "}${line}`);
  const sections = (page.sections ?? []).flatMap(([title, body]) => ["", `${title}:`, body]);
  return [...usage, "", page.about, "", "Options:", ...options, ...sections, ""].join("\n");
}

function origin(flag: Flag<unknown>): string {
  const facts = [
    flag.repeatable ? "repeatable" : "",
    flag.env === undefined ? "" : `env ${flag.env}`,
    flag.shown === undefined ? "" : `default ${flag.shown}`,
  ].filter((fact) => fact !== "");
  return facts.length === 0 ? "" : ` (${facts.join(", ")})`;
}

function wrap(paragraph: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of paragraph.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
