/** Chromium, for tests of the page. */
import { type Browser, chromium, type Page } from "playwright-core";
import { assertEquals } from "@std/assert";
import type { Paged } from "./paged.ts";

/** Milliseconds that the page may take to show something. */
export const SHOWN = { timeout: 30_000 };

export const CHROMIUM = "/usr/bin/chromium";

/** A page that fails the test for every error in it, and for every request to somebody else. */
export class Tab {
  readonly page: Page;
  readonly #faults: string[] = [];

  private constructor(page: Page) {
    this.page = page;
  }

  static async open(browser: Browser, url: string, options = {}): Promise<Tab> {
    const tab = new Tab(
      await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options }),
    );
    const { origin } = new URL(url);
    tab.page.on("pageerror", ({ message }) => tab.#faults.push(`error: ${message}`));
    tab.page.on("console", (line) => {
      if (/Content Security Policy|Refused to/.test(line.text())) tab.#faults.push(line.text());
    });
    tab.page.on("request", (request) => {
      const asked = new URL(request.url());
      if (asked.origin !== origin && asked.protocol !== "data:") {
        tab.#faults.push(`asks ${request.url()}`);
      }
    });
    await tab.page.goto(url);
    return tab;
  }

  async close(): Promise<void> {
    await this.page.close();
    assertEquals(this.#faults, []);
  }
}

/** @param hash the view, as {@link hashOf} gives it */
export async function inTab(
  browser: Browser,
  paged: Paged,
  hash: string,
  test: (page: Page) => Promise<void>,
): Promise<void> {
  const tab = await Tab.open(browser, `${paged.url}/${hash}`);
  await test(tab.page);
  await tab.close();
}

/** The address of a part of a queue, below that of the page. */
export function hashOf(queue: string, tab = "waiting"): string {
  return `#/queue/%2F/${encodeURIComponent(queue)}/${tab}`;
}

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

let axe: string | undefined;

/** What axe-core finds, in lines: rule, and where. */
export async function violationsOf(page: Page): Promise<string[]> {
  axe ??= (await import("axe-core")).default.source;
  await page.evaluate(axe);
  const found = await page.evaluate("axe.run()") as {
    violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
  };
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`)
  );
}
