/** RabbitMQ's management API, which LavinMQ has too: what AMQP does not tell. */
import type { ConnectionInfo, ConsumerInfo, QueueInfo } from "../observe/board.ts";
import { Problem } from "../observe/problem.ts";
import { roleOf } from "../task/topology.ts";

/** Milliseconds for an answer. */
const TIMEOUT_MS = 10_000;

/** What a broker's nodes say of themselves together. */
export interface Nodes {
  readonly version?: string;
  readonly memory?: number;
  readonly diskFree?: number;
  readonly alarm?: string;
}

type Json = Record<string, unknown>;

export class Management {
  readonly #base: string;
  readonly #authorization: string;
  /** Names of those that were there at the last look, by the numbers that the page knows. */
  #connections = new Map<number, string>();
  #nextId = 1;

  /**
   * @param url "http://localhost:15672"; who asks is in it, or else is
   * @param login that of the broker's URL
   */
  constructor(url: string, login: { readonly username: string; readonly password: string }) {
    const { username, password, origin, pathname } = new URL(url);
    this.#base = `${origin}${pathname.replace(/\/$/, "")}/api`;
    const name = username === "" ? login.username : decodeURIComponent(username);
    const secret = username === "" ? login.password : decodeURIComponent(password);
    const bytes = new TextEncoder().encode(`${name}:${secret}`);
    this.#authorization = `Basic ${btoa(String.fromCharCode(...bytes))}`;
  }

  /** @throws {Problem} 503 */
  async #ask(method: string, path: string): Promise<unknown> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#base + path, {
        method,
        headers: { authorization: this.#authorization },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      text = await response.text();
    } catch (error) {
      throw new Problem(503, `the management API does not answer: ${(error as Error).message}`);
    }
    if (!response.ok) {
      throw new Problem(503, `the management API answers with status ${response.status}`);
    }
    try {
      return text === "" ? undefined : JSON.parse(text);
    } catch {
      throw new Problem(503, "the management API must answer with JSON, and does not");
    }
  }

  /** All queues of a virtual host. */
  async queues(vhost: string): Promise<QueueInfo[]> {
    const queues = await this.#ask("GET", `/queues/${encodeURIComponent(vhost)}`) as Json[];
    return queues.map((queue) => queueOf(vhost, queue));
  }

  async consumers(vhost: string, name: string): Promise<ConsumerInfo[]> {
    const path = `/queues/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}`;
    const { consumer_details: details } = await this.#ask("GET", path) as Json;
    return (details as Json[] ?? []).map((consumer) => {
      const channel = (consumer["channel_details"] ?? {}) as Json;
      return {
        tag: String(consumer["consumer_tag"] ?? ""),
        connection: 0,
        client: String(channel["connection_name"] ?? ""),
        address: addressOf(channel),
        prefetch: Number(consumer["prefetch_count"] ?? 0),
        exclusive: consumer["exclusive"] === true,
      };
    });
  }

  async nodes(): Promise<Nodes> {
    const { rabbitmq_version: version } = await this.#ask("GET", "/overview") as Json;
    const nodes = await this.#ask("GET", "/nodes") as Json[];
    const alarms = [
      ...(nodes.some((node) => node["mem_alarm"] === true) ? ["memory"] : []),
      ...(nodes.some((node) => node["disk_free_alarm"] === true) ? ["disk"] : []),
    ];
    const [memory, free] = ["mem_used", "disk_free"].map((name) =>
      nodes.map((node) => node[name]).filter((value) => typeof value === "number")
    );
    return {
      ...(typeof version === "string" ? { version } : {}),
      ...(memory!.length === 0 ? {} : { memory: memory!.reduce((sum, value) => sum + value) }),
      ...(free!.length === 0 ? {} : { diskFree: Math.min(...free!) }),
      ...(alarms.length === 0 ? {} : { alarm: `${alarms.join(" and ")} alarm` }),
    };
  }

  async connections(): Promise<ConnectionInfo[]> {
    const connections = await this.#ask("GET", "/connections") as Json[];
    const known = new Map([...this.#connections].map(([id, name]) => [name, id]));
    this.#connections = new Map();
    return connections.map((connection) => {
      const name = String(connection["name"]);
      const id = known.get(name) ?? this.#nextId++;
      this.#connections.set(id, name);
      const client = (connection["client_properties"] ?? {}) as Json;
      const since = Number(connection["connected_at"] ?? NaN);
      return {
        id,
        vhost: String(connection["vhost"] ?? ""),
        user: String(connection["user"] ?? ""),
        client: String(connection["user_provided_name"] ?? client["product"] ?? ""),
        address: addressOf(connection),
        sinceMs: Number.isNaN(since) ? 0 : Date.now() - since,
        channels: Number(connection["channels"] ?? 0),
        state: String(connection["state"] ?? ""),
        blocked: /block/.test(String(connection["state"])),
      };
    });
  }

  async close(id: number): Promise<void> {
    const name = this.#connections.get(id);
    if (name === undefined) throw new Problem(404, "the connection is not there any more");
    await this.#ask("DELETE", `/connections/${encodeURIComponent(name)}`);
  }
}

function addressOf(details: Json): string {
  const [host, port] = [details["peer_host"], details["peer_port"]];
  return host === undefined ? "" : `${host}:${port}`;
}

function queueOf(vhost: string, queue: Json): QueueInfo {
  const name = String(queue["name"]);
  const numbers: [keyof QueueInfo, string][] = [
    ["unacked", "messages_unacknowledged"],
    ["bytes", "message_bytes_ready"],
  ];
  const stats = (queue["message_stats"] ?? {}) as Json;
  const rate = (of: string) => Number((stats[`${of}_details`] as Json | undefined)?.["rate"] ?? 0);
  return {
    vhost,
    name,
    ...roleOf(name),
    ready: Number(queue["messages_ready"] ?? 0),
    consumers: Number(queue["consumers"] ?? 0),
    type: String(queue["type"] ?? "classic"),
    durable: queue["durable"] === true,
    exclusive: queue["exclusive"] === true,
    rates: { in: rate("publish"), out: rate("deliver_get"), acked: rate("ack") },
    ...Object.fromEntries(
      numbers.filter(([, of]) => typeof queue[of] === "number").map(([to, of]) => [to, queue[of]]),
    ),
    ...(queue["state"] === "paused" ? { paused: true } : {}),
  };
}
