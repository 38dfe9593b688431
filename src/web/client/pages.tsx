/** Lists that come in pages, of which `next` names the one behind. */
import { useState } from "preact/hooks";
import { ApiError, get } from "./api.ts";
import { desk, useAsked } from "./ui.tsx";

interface Pages<T> {
  readonly pages: readonly T[];
  readonly error: ApiError | undefined;
  /** Asks for the first one again, and forgets the others. */
  readonly again: () => void;
  /** Asks for one more; absent: there is none. */
  readonly more: (() => Promise<void>) | undefined;
}

/** @param path with a query */
export function usePages<T extends { readonly next?: string }>(path: string): Pages<T> {
  const { value: first, error, again } = useAsked(() => get<T>(path), [path]);
  const [known, setKnown] = useState<readonly T[]>([]);
  // What is known goes with the first page that it is behind.
  const pages = first === undefined ? [] : known[0] === first ? known : [first];
  const next = pages.at(-1)?.next;
  async function more(): Promise<void> {
    try {
      setKnown([...pages, await get<T>(`${path}&from=${encodeURIComponent(next!)}`)]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      desk.say(error.message, true);
    }
  }
  return { pages, error, again, more: next === undefined ? undefined : more };
}

/** The way to one more page, where there is one. */
export function More({ label, more }: { label: string; more: Pages<unknown>["more"] }) {
  const [busy, setBusy] = useState(false);
  if (more === undefined) return null;
  return (
    <div class="toolbar">
      <button
        type="button"
        disabled={busy}
        onClick={async () => {
          setBusy(true);
          await more().finally(() => setBusy(false));
        }}
      >
        {label}
      </button>
    </div>
  );
}
