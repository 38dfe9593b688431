/** The record of a task that the form sends: what is written there, and what an edited one keeps. */
import type { MessageDetail } from "../../observe/board.ts";
import { bytesOf, isText, textOf } from "./body.ts";

/** Properties that the form does not ask for, and an edited task keeps. */
const KEPT = ["content_encoding", "correlation_id", "reply_to"];

/**
 * @param written what a field of the form holds; "": it is empty, or not asked for
 * @param initial the task that is edited
 */
export function recordOf(
  written: (field: string) => string,
  initial: MessageDetail | undefined,
): Record<string, unknown> {
  const field = (name: string) => written(name).trim();
  const { headers = {}, properties = {}, bodyBase64 } = initial ?? {};
  const body = bodyBase64 === undefined ? new Uint8Array() : bytesOf(bodyBase64);
  const isBinary = !isText(body);
  // A field for text changes the ends of lines: who has edited nothing has changed nothing.
  const isKept = isBinary || (initial !== undefined && written("body") === unixOf(textOf(body)));
  const type = field("content_type") || (isBinary ? "" : "text/plain");
  const priority = field("priority");
  const id = field("id");
  return {
    ...(isKept ? { body_base64: bodyBase64 } : { body: endedAs(textOf(body), written("body")) }),
    ...(field("type") === "" ? {} : { type: field("type") }),
    ...(type === "" ? {} : { content_type: type }),
    ...Object.fromEntries(
      KEPT.filter((name) => name in properties).map((name) => [name, properties[name]]),
    ),
    // A dead one has outlived it.
    ...(initial?.reason === undefined && "expiration" in properties
      ? { expiration: properties["expiration"] }
      : {}),
    ...(id === "" ? {} : { id }),
    ...(priority === "" ? {} : { priority: Number(priority) }),
    ...(field("delay") === "" ? {} : { delay: field("delay") }),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
  };
}

/** As a field for text has it. */
function unixOf(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

/** An edited text with the ends of lines that the old one had. */
function endedAs(old: string, text: string): string {
  return /\r\n/.test(old) && !/[^\r]\n/.test(old) ? text.replaceAll("\n", "\r\n") : text;
}
