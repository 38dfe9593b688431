/** The page: its frame, and the view that the address names. */
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Ability } from "../../observe/board.ts";
import { escapeControls } from "../../observe/log.ts";
import { setToken } from "./api.ts";
import { DeadView } from "./dead.tsx";
import { clock, count } from "./format.ts";
import { deadIn, live, useLive } from "./live.ts";
import { BrokerView } from "./broker.tsx";
import { ConnectionsView } from "./connections.tsx";
import { QueueView } from "./queue.tsx";
import { RunningView } from "./running.tsx";
import { SearchView } from "./search.tsx";
import { QueuesView } from "./queues.tsx";
import { go, hrefOf, type Route, useRoute } from "./route.ts";
import { currentTheme, nextTheme } from "./theme.ts";
import { DeskView } from "./ui.tsx";

type ViewName = "queues" | "running" | "dead" | "connections" | "broker";

/** With what the broker must be able to tell. */
const VIEWS: readonly [ViewName, string, Ability?][] = [
  ["queues", "Queues"],
  ["running", "Running", "running"],
  ["dead", "Dead letters"],
  ["connections", "Connections", "connections"],
  ["broker", "Broker"],
];

function App() {
  const route = useRoute();
  const { connection, overview } = useLive();
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  const address = hrefOf(route);
  useEffect(() => {
    document.title = `${titleOf(route)} \u2013 Work queues`;
    if (!isFirst.current) main.current!.querySelector<HTMLElement>("h1")?.focus();
    isFirst.current = false;
  }, [route.view, route.view === "queue" ? route.name : ""]);
  useEffect(() => scrollTo(0, 0), [route.view]);
  const needsToken = connection.state === "lost" && connection.error.status === 401;
  return (
    <div class={connection.state === "lost" ? "app stale" : "app"}>
      <a class="skip" href="#main" onClick={(event) => skip(event, main.current)}>
        Skip to the content
      </a>
      <Top route={route} />
      {connection.state === "lost" && !needsToken && (
        <p class="banner lost" role="alert">
          <strong>Not connected since {clock(connection.since)}.</strong>{" "}
          What you see is how it was then. It is tried again each second.
        </p>
      )}
      {overview?.alarm !== undefined && (
        <p class="banner alert" role="alert">Publishers are blocked: {overview.alarm}.</p>
      )}
      <main id="main" ref={main} tabIndex={-1}>
        {needsToken
          ? <TokenForm />
          : overview === undefined
          ? connection.state === "connecting" && <p class="muted">Connecting&#x2026;</p>
          : (
            <View
              key={route.view === "queue" ? `${route.vhost} ${route.name}` : address}
              route={route}
            />
          )}
      </main>
      <DeskView />
    </div>
  );
}

function Top({ route }: { route: Route }) {
  const { overview, families } = useLive();
  const dead = [...families.values()].reduce((sum, family) => sum + deadIn(family), 0);
  const active = route.view === "queue" ? "queues" : route.view;
  const views = VIEWS.filter(([, , needs]) => needs === undefined || overview?.can.includes(needs));
  return (
    <header class="top">
      <a class="brand" href="#/queues" aria-label="Work queues, all queues">
        <Logo />
        <span>Work queues</span>
      </a>
      <nav aria-label="Views">
        {views.map(([view, label]) => (
          <a
            key={view}
            href={hrefOf({ view })}
            aria-current={view === active ? "page" : undefined}
          >
            {label}
            {view === "dead" && dead > 0 && <span class="count alert">{count(dead)}</span>}
          </a>
        ))}
      </nav>
      <Search text={route.view === "search" ? route.text : ""} />
      <Status />
      <ThemeButton />
    </header>
  );
}

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "queue":
      return <QueueView vhost={route.vhost} name={route.name} tab={route.tab} />;
    case "search":
      return <SearchView text={route.text} />;
    case "running":
      return <RunningView />;
    case "dead":
      return <DeadView />;
    case "connections":
      return <ConnectionsView />;
    case "broker":
      return <BrokerView />;
    default:
      return <QueuesView />;
  }
}

function titleOf(route: Route): string {
  if (route.view === "queue") return escapeControls(route.name);
  if (route.view === "search") return "Search";
  return VIEWS.find(([view]) => view === route.view)![1];
}

function skip(event: MouseEvent, main: HTMLElement | null): void {
  event.preventDefault();
  main?.focus();
}

/** @param text what is looked for now */
function Search({ text }: { text: string }) {
  const input = useRef<HTMLInputElement>(null);
  const isThere = live.overview?.can.includes("search") ?? false;
  useEffect(() => {
    if (isThere) input.current!.value = text;
  }, [text, isThere]);
  useEffect(() => {
    function pressed(event: KeyboardEvent): void {
      const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test((event.target as HTMLElement).tagName);
      if (event.key !== "/" || isTyping || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      input.current?.select();
    }
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  if (!isThere) return <span class="space" />;
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        const text = input.current!.value.trim();
        if (text !== "") go({ view: "search", text });
      }}
    >
      <input
        ref={input}
        type="search"
        placeholder="Find a task by id or text"
        aria-label="Find a task by its id or a text in it"
        aria-keyshortcuts="/"
        maxLength={500}
      />
    </form>
  );
}

function Status() {
  const { connection } = useLive();
  const [label, kind] = connection.state === "live"
    ? ["Live", "on"]
    : connection.state === "lost"
    ? ["Disconnected", "off"]
    : ["Connecting", "waits"];
  return (
    <span class={`status ${kind}`}>
      <i aria-hidden="true" />
      {label}
    </span>
  );
}

function ThemeButton() {
  const [theme, setTheme] = useState(currentTheme);
  return (
    <button
      type="button"
      class="quiet icon"
      aria-label={`Colours: ${theme}. Change`}
      title={`Colours: ${theme}`}
      onClick={() => setTheme(nextTheme())}
    >
      {theme === "dark" ? "\u263e" : theme === "light" ? "\u2600" : "\u25d0"}
    </button>
  );
}

function TokenForm() {
  const [tried, setTried] = useState(false);
  return (
    <form
      class="card token"
      onSubmit={(event) => {
        event.preventDefault();
        setToken(String(new FormData(event.currentTarget).get("token")));
        setTried(true);
      }}
    >
      <h1 tabIndex={-1}>This broker asks for a token</h1>
      <p class="muted">
        It is in the file that <code>--token-file</code> names, and kept until this tab is closed.
      </p>
      <label>
        Token
        <input name="token" type="password" required autoComplete="off" />
      </label>
      {tried && <p class="error-text" role="alert">If it is right, the page opens in a moment.</p>}
      <footer>
        <button type="submit" class="primary">Open</button>
      </footer>
    </form>
  );
}

function Logo() {
  return (
    <svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true">
      <rect x="1" y="3" width="20" height="4" rx="2" class="logo-1" />
      <rect x="1" y="9" width="14" height="4" rx="2" class="logo-2" />
      <rect x="1" y="15" width="8" height="4" rx="2" class="logo-3" />
    </svg>
  );
}

live.start();
render(<App />, document.getElementById("app")!);
