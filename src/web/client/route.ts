/** Which view is shown, as the part of the address behind "#". */
import { useEffect, useState } from "preact/hooks";

export type Route =
  | { readonly view: "queues" | "running" | "dead" | "connections" | "broker" }
  | { readonly view: "search"; readonly text: string }
  | { readonly view: "queue"; readonly vhost: string; readonly name: string; readonly tab: string };

export function hrefOf(route: Route): string {
  switch (route.view) {
    case "queue": {
      const { vhost, name, tab } = route;
      return `#/queue/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}/${tab}`;
    }
    case "search":
      return `#/search/${encodeURIComponent(route.text)}`;
    default:
      return `#/${route.view}`;
  }
}

function parse(hash: string): Route {
  const [view, ...rest] = hash.replace(/^#\/?/, "").split("/").map(decoded);
  if (view === "queue" && rest.length >= 2) {
    return { view, vhost: rest[0]!, name: rest[1]!, tab: rest[2] || "waiting" };
  }
  if (view === "search") return { view, text: rest.join("/") };
  if (view === "running" || view === "dead" || view === "connections" || view === "broker") {
    return { view };
  }
  return { view: "queues" };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

export function go(route: Route): void {
  location.hash = hrefOf(route);
}
