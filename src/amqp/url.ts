/**
 * Broker URLs: `amqp://user:password@host:port/vhost?parameters`, several separated by commas.
 *
 * Follows RabbitMQ's URI specification and its query parameters
 * (https://www.rabbitmq.com/docs/uri-spec, https://www.rabbitmq.com/docs/uri-query-parameters),
 * with one exception that users expect: a trailing slash alone (`amqp://host/`) is the vhost "/",
 * not the vhost with the empty name.
 */
import { ConnectionError, EXIT, reason, UsageError } from "../errors.ts";
import { SHORT_STRING_BYTES, utf8Length } from "../task/short_string.ts";
import type { PasswordFile } from "./password_file.ts";
import type { TlsTrust } from "./tls_trust.ts";
import { DEFAULT_CONNECTION_TIMEOUT_MS, readParameters, TLS_KEYS } from "./url_parameters.ts";

/** One broker address and everything needed to log in there. Holds a secret: print with `redact`. */
export interface Endpoint {
  readonly tls: boolean;
  /** Host name or address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  /** Holds the password instead; read for every connection. */
  readonly passwordFile?: PasswordFile;
  readonly vhost: string;
  /** Seconds, offered in connection.tune-ok; 0 turns heartbeats off. */
  readonly heartbeat: number;
  /** Milliseconds for the whole of connecting and logging in. */
  readonly connectionTimeout: number;
  /** Channels offered; 0 leaves it to the broker. */
  readonly channelMax: number;
  readonly auth: "PLAIN" | "EXTERNAL";
  /** Connection name shown by the broker, when the URL gives one. */
  readonly name?: string;
  readonly trust: TlsTrust;
  /** How options about it begin, for errors that advise one; default "--". */
  readonly optionPrefix?: string;
}

/** What the command line adds to or overrides in every URL. */
export interface EndpointOverrides {
  readonly passwordFile?: PasswordFile | undefined;
  readonly trust?: TlsTrust;
  readonly optionPrefix?: string;
}

export const DEFAULT_URL = "amqp://guest:guest@localhost:5672/";
const DEFAULT_HEARTBEAT_S = 30;

/**
 * Reads one URL or several separated by commas.
 *
 * @param source how to name the origin in an error: "--url" or "AMQP_URL"
 * @throws {UsageError} one sentence that never repeats the password
 */
export function parseUrls(
  text: string,
  source = "--url",
  overrides: EndpointOverrides = {},
): Endpoint[] {
  // What splits a list takes 0.2 ms of a process's start to compile.
  if (!text.includes(",")) return [parseUrl(text.trim(), source, overrides)];
  const urls = text.replace(/^[\s,]+|[\s,]+$/g, "").split(/\s*,[\s,]*(?=[a-z][a-z0-9+.-]*:\/\/)/i);
  return urls.map((url) => parseUrl(url, source, overrides));
}

/** Whether a text holds a password that others could see in a process list. */
export function hasPassword(text: string): boolean {
  return /:\/\/[^/?#@]*:[^/?#]+@/.test(text);
}

/** The endpoint for people: no password, the port always, the vhost as in a URL. */
export function redact(endpoint: Endpoint): string {
  const host = endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host;
  const vhost = endpoint.vhost === "/" ? "/" : `/${encodeURIComponent(endpoint.vhost)}`;
  const user = encodeURIComponent(endpoint.username);
  return `${endpoint.tls ? "amqps" : "amqp"}://${user}@${host}:${endpoint.port}${vhost}`;
}

/**
 * The URL that `parseUrls` makes this endpoint of, with its secret: for a child that has to reach the
 * same broker. What is as it would be anyway is left out: pika and kombu refuse parameters that they
 * do not know, rabbitmq-c refuses all, and takes a trailing slash for the vhost without a name.
 */
export function formatUrl(endpoint: Endpoint): string {
  const { trust } = endpoint;
  const parameters: Record<string, string | number | undefined> = {
    heartbeat: unless(DEFAULT_HEARTBEAT_S, endpoint.heartbeat),
    connection_timeout: unless(DEFAULT_CONNECTION_TIMEOUT_MS, endpoint.connectionTimeout),
    channel_max: unless(0, endpoint.channelMax),
    auth_mechanism: endpoint.auth === "PLAIN" ? undefined : "external",
    name: endpoint.name,
    cacertfile: trust.cacertfile,
    certfile: trust.certfile,
    keyfile: trust.keyfile,
    server_name_indication: trust.serverName,
    verify: trust.verify === undefined ? undefined : trust.verify ? "verify_peer" : "verify_none",
  };
  const query = Object.entries(parameters)
    .filter(([key, value]) => value !== undefined && (endpoint.tls || !TLS_KEYS.includes(key)))
    .map(([key, value]) => `${key}=${encodeURIComponent(value!)}`);
  const password = encodeURIComponent(endpoint.passwordFile?.latest() ?? endpoint.password);
  const url = redact(endpoint).replace("@", () => `:${password}@`).replace(/\/$/, "");
  return query.length === 0 ? url : `${url}?${query.join("&")}`;
}

function unless(usual: number, given: number): number | undefined {
  return given === usual ? undefined : given;
}

function parseUrl(text: string, source: string, overrides: EndpointOverrides): Endpoint {
  function refuse(requirement: string): never {
    throw new UsageError(`${source} ${requirement}, and is ${JSON.stringify(withoutSecret(text))}`);
  }
  function decode(part: string, what: string): string {
    let decoded: string;
    try {
      decoded = decodeURIComponent(part);
    } catch {
      return refuse(`must have a percent-encoded ${what}`);
    }
    // It separates user name and password in the login (RFC 4616).
    if (decoded.includes("\0")) refuse(`must have a ${what} without NUL`);
    return decoded;
  }
  function bounded(value: string, what: string): string {
    if (utf8Length(value) > SHORT_STRING_BYTES) {
      refuse(`must have a ${what} of at most ${SHORT_STRING_BYTES} bytes`);
    }
    return value;
  }

  const { tls, userinfo, address, path, query } = splitUrl(text, refuse);
  const colon = userinfo?.indexOf(":") ?? -1;
  const { host, port } = parseAddress(address, tls ? 5671 : 5672) ??
    refuse("must have host[:port] with a port from 1 to 65535, an IPv6 address in brackets");
  if (path.includes("/")) refuse('must have "/" inside a vhost written as %2F');
  const parameters = readParameters(query, source, decode);
  if (parameters.name !== undefined) bounded(parameters.name, "name");
  const [needsTls] = parameters.tlsKeys;
  if (!tls && needsTls !== undefined) refuse(`must begin with amqps:// to have ${needsTls}`);

  return {
    tls,
    host,
    port,
    username: bounded(
      userinfo === undefined || userinfo === ""
        ? "guest"
        : decode(colon === -1 ? userinfo : userinfo.slice(0, colon), "user name"),
      "user name",
    ),
    password: userinfo === undefined || colon === -1
      ? "guest"
      : decode(userinfo.slice(colon + 1), "password"),
    ...(overrides.passwordFile === undefined ? {} : { passwordFile: overrides.passwordFile }),
    vhost: path === "" ? "/" : bounded(decode(path, "vhost"), "vhost"),
    heartbeat: parameters.heartbeat ?? DEFAULT_HEARTBEAT_S,
    connectionTimeout: parameters.connectionTimeout ?? DEFAULT_CONNECTION_TIMEOUT_MS,
    channelMax: parameters.channelMax ?? 0,
    auth: parameters.auth ?? "PLAIN",
    ...(parameters.name === undefined ? {} : { name: parameters.name }),
    trust: { ...parameters.trust, ...overrides.trust },
    ...(overrides.optionPrefix === undefined ? {} : { optionPrefix: overrides.optionPrefix }),
  };
}

/** The parts of a URL, as they are written in it. */
interface UrlParts {
  readonly tls: boolean;
  /** User name and password; undefined: there is no "@". */
  readonly userinfo: string | undefined;
  readonly address: string;
  /** Without its first slash. */
  readonly path: string;
  /** Without its "?". */
  readonly query: string;
}

/**
 * The URL parser knows ports, userinfo and IPv6 for http; amqp is unknown to it, and for unknown
 * schemes it neither lowercases the host nor accepts an empty one with a user.
 *
 * @param refuse throws, saying what is required
 */
function splitUrl(text: string, refuse: (requirement: string) => never): UrlParts {
  const scheme = /^(amqps?):\/\//i.exec(text)?.[1]?.toLowerCase() ??
    refuse("must begin with amqp:// or amqps://");
  const authority = text.slice(scheme.length + 3).split(/[/?#]/, 1)[0]!;
  const rest = text.slice(scheme.length + 3 + authority.length);
  const userinfo = authority.includes("@")
    ? authority.slice(0, authority.lastIndexOf("@"))
    : undefined;
  const address = authority.slice(userinfo === undefined ? 0 : userinfo.length + 1);
  const path = rest.split(/[?#]/, 1)[0]!.slice(1);
  const query = /\?([^#]*)/.exec(rest)?.[1] ?? "";
  // Most likely a password with such a character in it, the rest of which would pass for a vhost,
  // a parameter or a fragment (which means nothing here).
  if (path.includes("@") || /#|[?&][^=&]*@/.test(rest)) {
    refuse("must have /, ? and # in the user name and password percent-encoded, @ in a vhost too");
  }
  if (/@.*,/.test(userinfo ?? "")) {
    refuse("must have amqp:// or amqps:// before every URL of a list, @ in a password as %40");
  }
  return { tls: scheme === "amqps", userinfo, address, path, query };
}

function parseAddress(address: string, defaultPort: number) {
  // Without the flag i, for which V8 looks up the cases of each class: 0.2 ms of a process's start.
  const match = /^(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([^\s:[\]@,]*))(?::(\d{1,5}))?$/.exec(
    address,
  );
  if (match === null) return undefined;
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port < 1 || port > 65535) return undefined;
  let host = match[1] ?? match[2] ?? "";
  try {
    host = decodeURIComponent(host);
  } catch {
    return undefined;
  }
  return { host: host === "" ? "localhost" : host.toLowerCase(), port };
}

/**
 * What may be shown of a text that is not a URL, however badly it is written: what stands before
 * the first colon, and what stands behind the last "@" as far as that is a host, a port and a vhost.
 */
function withoutSecret(text: string): string {
  const scheme = /^[a-z]*:\/\//i.exec(text)?.[0] ?? "";
  const at = text.lastIndexOf("@");
  const userinfo = at < scheme.length ? "" : text.slice(scheme.length, at + 1);
  const colon = userinfo.indexOf(":");
  const user = colon === -1 ? userinfo : `${userinfo.slice(0, colon)}:***@`;
  const tail = text.slice(scheme.length + userinfo.length);
  const plain = /^(?:\[[0-9a-f:.%]*\]|[^:?#]*)(?::\d*(?=[/?#]|$))?(?:\/[^:?#]*)?/i.exec(tail)![0];
  return scheme + user + plain + (plain.length < tail.length ? "..." : "");
}

/**
 * The endpoint with the password that is in its file now.
 *
 * @throws {ConnectionError} whoever replaces the file may not have finished
 */
export function withPassword(endpoint: Endpoint): Endpoint {
  if (endpoint.passwordFile === undefined) return endpoint;
  try {
    return { ...endpoint, password: endpoint.passwordFile.read() };
  } catch (cause) {
    const sentence = `cannot log in at ${redact(endpoint)}: ${reason(cause)}`;
    throw new ConnectionError(sentence, EXIT.temporary, false, { cause });
  }
}
