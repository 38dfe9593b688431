/** What a search finds. */
import type { SearchPage } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { count, plural } from "./format.ts";
import { live } from "./live.ts";
import { MessageList } from "./messages.tsx";
import { More, usePages } from "./pages.tsx";
import { Empty, ListCard } from "./ui.tsx";

export function SearchView({ text }: { text: string }) {
  const path = `/search?q=${encodeURIComponent(text)}`;
  const { pages, error, again, more } = usePages<SearchPage>(path);
  const found = pages.flatMap(({ found }) => found);
  const looked = pages.reduce((sum, page) => sum + page.looked, 0);
  const skipped = pages.reduce((sum, page) => sum + page.skipped, 0);
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Search for &#x201c;{escapeControls(text)}&#x201d;</h1>
      </div>
      {!live.overview?.can.includes("search")
        ? <Empty title="This broker cannot be searched" />
        : (
          <ListCard
            label="What was found"
            said={pages.length === 0 && !error
              ? "Looking\u2026"
              : `${plural(found.length, "task")} found among ${count(looked)}${
                skipped > 0
                  ? `; ${count(skipped)} larger than 1 MB ${
                    skipped === 1 ? "was" : "were"
                  } left out`
                  : ""
              }`}
            again={again}
            error={error}
          >
            {pages.length > 0 && found.length === 0 && !more && (
              <Empty title="No task has this text">
                Ids, properties, headers and bodies are looked through; upper and lower case are the
                same.
              </Empty>
            )}
            {found.length > 0 && <MessageList messages={found} onDone={again} />}
            <More label="Look further" more={more} />
          </ListCard>
        )}
    </>
  );
}
