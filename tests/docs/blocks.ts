/**
 * The fenced blocks of README.md and of the pages of docs/. The words after "```" say what becomes
 * of one:
 * - `sh`: is run by bash, and must end with status 0
 * - `sh background`: is started, and ended with SIGTERM at the end of the page; must end with 0
 * - `text output`: lines that the background block before it prints, in this order
 * - `sh host`, `sh host background`: the same on a host of the test's own (host.ts); in the second
 *   every command of the block is started, in turn. With `alone` it ends what was started before.
 * - `conf host`: is written there to the path that its first line names
 * - `ini host`: its ExecStart= is started there
 * - any other word names a language: there is nothing to run
 */

export interface Block {
  /** The words after the fence: ["sh", "background"]. */
  readonly tags: readonly string[];
  /** 1-based line of the fence. */
  readonly line: number;
  readonly text: string;
}

/** A block that no test of these runs, and what does instead. */
export interface NotRun {
  readonly page: string;
  /** The block's first line. */
  readonly begins: string;
  readonly because: string;
}

/** All of them: any other block of commands is run. */
export const NOT_RUN: readonly NotRun[] = [
  {
    page: "README.md",
    begins: "npx -y deno task test",
    because: "it is the suite itself: the gate runs it",
  },
  {
    page: "docs/install.md",
    begins: "dpkg -i workqueue_0.1.0_amd64.deb",
    because: "it needs a booted systemd: `deno task test:debian` has one",
  },
  {
    page: "docs/install.md",
    begins: "curl -fsSLO https://releases.example.org/workqueue/install.sh",
    because: "it needs a release: `deno task test:compiled` makes and serves one",
  },
  {
    page: "docs/install.md",
    begins: "deno task release --offline --out first",
    because: "it takes minutes: `deno task test:compiled` makes a release twice",
  },
  {
    page: "docs/install.md",
    begins: "systemctl enable --now broker worker@thumbnails",
    because: "it needs a booted systemd: `deno task test:debian` has one",
  },
  {
    page: "docs/install.md",
    begins: "systemctl enable --now new_task@reports",
    because: "the same",
  },
];

/** Words that are no commands. */
const LANGUAGES = [
  "text",
  "text output",
  "conf",
  "ini",
  "json",
  "http",
  "nginx",
  "ts",
  "properties",
];

const root = new URL("../../", import.meta.url).pathname;

/** Pages and their blocks, README.md first. */
export async function readPages(): Promise<Map<string, readonly Block[]>> {
  const found = new Map<string, readonly Block[]>();
  for (const page of await pagePaths()) {
    found.set(page, findBlocks(await Deno.readTextFile(root + page)));
  }
  return found;
}

/** From the project's folder, README.md first. */
export async function pagePaths(): Promise<string[]> {
  const pages = ["README.md"];
  for await (const { name } of Deno.readDir(`${root}docs`)) {
    if (name.endsWith(".md")) pages.push(`docs/${name}`);
  }
  return pages.sort();
}

export function findBlocks(markdown: string): Block[] {
  const blocks: Block[] = [];
  for (const match of markdown.matchAll(/^```([^\n`]*)\n(.*?)\n```$/gms)) {
    blocks.push({
      tags: match[1]!.split(" "),
      line: markdown.slice(0, match.index).split("\n").length,
      text: match[2]!,
    });
  }
  return blocks;
}

/** Whether a block is one of the list. */
export function isListed(page: string, { text }: Block): boolean {
  return NOT_RUN.some((each) => each.page === page && each.begins === text.split("\n")[0]);
}

/** Whether a block is for readme_test.ts, with a broker at AMQP_URL. */
export function isForCopy({ tags }: Block): boolean {
  return tags.join(" ") === "text output" || tags[0] === "sh" && !isForHost({ tags });
}

/** Whether a block is for host_test.ts. */
export function isForHost({ tags }: Pick<Block, "tags">): boolean {
  return tags.includes("host");
}

/** @returns what is wrong with the words of a block */
export function faultOfTags({ tags }: Block): string | undefined {
  const words = tags.join(" ");
  const known = /^sh(?: background)?$|^sh host(?: background(?: alone)?)?$|^(?:conf|ini) host$/;
  if (known.test(words) || LANGUAGES.includes(words)) return undefined;
  return words === "" ? "it must say what it is: commands are `sh`" : `what is "${words}"?`;
}
