/** The query parameters of a broker's URL. */
import { UsageError } from "../errors.ts";
import type { WritableTlsTrust } from "./tls_trust.ts";

export const DEFAULT_CONNECTION_TIMEOUT_MS = 10_000;
/** `worker dead replay` takes and publishes while one look at a queue ends and another begins. */
const LEAST_CHANNELS = 4;

/** Throws, saying what is required, with the value at fault. */
type RefuseValue = (requirement: string, given: string) => never;

/** What a URL says; absent: nothing. */
interface Parameters {
  heartbeat?: number;
  connectionTimeout?: number;
  channelMax?: number;
  auth?: "PLAIN" | "EXTERNAL";
  name?: string;
  readonly trust: WritableTlsTrust;
  /** The parameters that say something of TLS. */
  readonly tlsKeys: string[];
}

/** Keys of those that say something of TLS. */
export const TLS_KEYS = ["cacertfile", "certfile", "keyfile", "server_name_indication", "verify"];

/**
 * Reads `heartbeat=10&name=me`.
 *
 * @param source of the URL, for an error: "--url" or "AMQP_URL"
 * @param decode takes the percent signs out, or throws
 * @throws {UsageError} one sentence, without the URL, which may hold a password
 */
export function readParameters(
  query: string,
  source: string,
  decode: (part: string, what: string) => string,
): Parameters {
  // The value at fault is shown and not the URL, of which the query is left out.
  function refuse(requirement: string, given: string): never {
    throw new UsageError(`${source} must have ${requirement}, and has ${JSON.stringify(given)}`);
  }
  const parameters: Parameters = { trust: {}, tlsKeys: [] };
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const key = decode(equals === -1 ? pair : pair.slice(0, equals), "parameter");
    const value = equals === -1 ? "" : decode(pair.slice(equals + 1), "parameter");
    if (TLS_KEYS.includes(key)) {
      parameters.tlsKeys.push(key);
      setTrust(parameters.trust, key, value, refuse);
    } else setParameter(parameters, key, value, refuse);
  }
  return parameters;
}

/** @param key one of {@linkcode TLS_KEYS} */
function setTrust(
  trust: WritableTlsTrust,
  key: string,
  value: string,
  refuse: RefuseValue,
): void {
  switch (key) {
    case "cacertfile":
    case "certfile":
    case "keyfile":
      trust[key] = value;
      break;
    case "server_name_indication":
      trust.serverName = value;
      break;
    case "verify":
      if (value !== "verify_peer" && value !== "verify_none") {
        refuse("verify as verify_peer or verify_none", value);
      }
      trust.verify = value === "verify_peer";
  }
}

function setParameter(
  parameters: Parameters,
  key: string,
  value: string,
  refuse: RefuseValue,
): void {
  function number(max: number): number {
    const given = Number(value);
    if (/^\d+$/.test(value) && given <= max) return given;
    return refuse(`${key} as a whole number from 0 to ${max}`, value);
  }
  switch (key) {
    case "heartbeat":
      parameters.heartbeat = number(65535);
      break;
    case "connection_timeout":
      parameters.connectionTimeout = number(3_600_000) || DEFAULT_CONNECTION_TIMEOUT_MS;
      break;
    case "channel_max": {
      const given = number(65535);
      if (given > 0 && given < LEAST_CHANNELS) {
        refuse(`${key} as 0 or a whole number from ${LEAST_CHANNELS} to 65535`, value);
      }
      parameters.channelMax = given;
      break;
    }
    case "auth_mechanism": {
      const mechanism = value.toUpperCase();
      if (mechanism !== "PLAIN" && mechanism !== "EXTERNAL") {
        refuse("auth_mechanism as plain or external", value);
      }
      parameters.auth = mechanism;
      break;
    }
    case "name":
      parameters.name = value;
      break;
    default:
      refuse(
        "parameters out of heartbeat, connection_timeout, channel_max, cacertfile, certfile, " +
          "keyfile, verify, server_name_indication, auth_mechanism and name",
        // Anything else may be the rest of a password with a "?" in it.
        /^[a-z_]+$/.test(key) ? key : "another one",
      );
  }
}
