/** The responses of the SASL mechanisms PLAIN and AMQPLAIN: a user and a password. */

import { ByteReader, MalformedError } from "../wire/bytes.ts";
import { decodeText } from "../wire/text.ts";
import { readTable, type Table, textOf } from "../wire/fields.ts";

/** What a client says who it is. */
export interface Credentials {
  user: string;
  password: string;
}

/** @throws {MalformedError} when the response is not of the mechanism's form */
export function readCredentials(
  mechanism: "PLAIN" | "AMQPLAIN",
  response: Uint8Array,
): Credentials {
  return mechanism === "PLAIN" ? readPlain(response) : readAmqPlain(response);
}

/** RFC 4616, without an authorization identity. */
function readPlain(response: Uint8Array): Credentials {
  const [identity, user, password, ...more] = decodeText(response, 0, response.length).split("\0");
  if (identity !== "" || password === undefined || more.length > 0) {
    throw new MalformedError("a PLAIN response that is not NUL user NUL password");
  }
  return { user: user!, password };
}

function readAmqPlain(response: Uint8Array): Credentials {
  const table = readLogin(response);
  const [user, password] = [textOf(table.get("LOGIN")), textOf(table.get("PASSWORD"))];
  if (user === undefined || password === undefined) {
    throw new MalformedError("an AMQPLAIN response without LOGIN and PASSWORD as texts");
  }
  return { user, password };
}

/** AMQPLAIN sends a table without its length. */
function readLogin(response: Uint8Array): Table {
  const table = new Uint8Array(response.length + 4);
  new DataView(table.buffer).setUint32(0, response.length);
  table.set(response, 4);
  return readTable(new ByteReader(table));
}
