/** What a search finds. */
import { useState } from "preact/hooks";
import type { SearchPage } from "../../observe/board.ts";
import { get } from "./api.ts";
import { count, plural } from "./format.ts";
import { live } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { desk, Empty, useAsked } from "./ui.tsx";

export function SearchView({ text }: { text: string }) {
  const path = `/search?q=${encodeURIComponent(text)}`;
  const { value, error, again } = useAsked(() => get<SearchPage>(path), [path]);
  const [more, setMore] = useState<SearchPage[]>([]);
  const [busy, setBusy] = useState(false);
  const pages = value === undefined ? [] : [value, ...more];
  const found = pages.flatMap(({ found }) => found);
  const looked = pages.reduce((sum, page) => sum + page.looked, 0);
  const skipped = pages.reduce((sum, page) => sum + page.skipped, 0);
  const next = pages.at(-1)?.next;
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Search for &#x201c;{text}&#x201d;</h1>
      </div>
      {!live.overview?.can.includes("search")
        ? <Empty title="This broker cannot be searched" />
        : (
          <section class="card" aria-label="What was found">
            <div class="toolbar">
              <span class="muted" role="status">
                {value === undefined && !error
                  ? "Looking\u2026"
                  : `${plural(found.length, "task")} found among ${count(looked)}${
                    skipped > 0 ? `; ${count(skipped)} larger than 1 MB were left out` : ""
                  }`}
              </span>
              <span class="space" />
              <button
                type="button"
                class="quiet"
                onClick={() => {
                  setMore([]);
                  again();
                }}
              >
                Refresh
              </button>
            </div>
            {error && <p class="none error-text">{error.message}</p>}
            {value && found.length === 0 && next === undefined && (
              <Empty title="No task has this text">
                Ids, properties, headers and bodies are looked through, as they are.
              </Empty>
            )}
            {found.length > 0 && <MessageList messages={found} onDone={again} />}
            {next !== undefined && (
              <div class="toolbar">
                <button
                  type="button"
                  disabled={busy}
                  onClick={async () => {
                    setBusy(true);
                    await desk.attempt(async () => {
                      const page = await get<SearchPage>(
                        `${path}&from=${encodeURIComponent(next)}`,
                      );
                      setMore([...more, page]);
                      return `${count(page.looked)} more were looked at.`;
                    });
                    setBusy(false);
                  }}
                >
                  Look further
                </button>
              </div>
            )}
          </section>
        )}
    </>
  );
}
