/** What RabbitMQ says of frames that it cannot read. */

import { MalformedError } from "../wire/bytes.ts";
import { Fault } from "../wire/faults.ts";
import { FrameError, type FrameSource } from "../net/inbox.ts";
import { METHOD_IDS_BYTES } from "../../amqp/protocol.ts";
import { LONGEST_TEXT } from "./reply_codes.ts";
import type { Logger } from "../../observe/log.ts";

/** The frame has no meaning where it stands. */
export function unknownFrame(source: FrameSource): Fault {
  return new Fault("frame-error", `${source.snippet}: unknown_frame`);
}

/** The arguments of the method in the frame do not parse. */
export function undecodable({ bytes, payloadStart, payloadEnd }: FrameSource): Fault {
  const octets = bytes.subarray(payloadStart + METHOD_IDS_BYTES, payloadEnd);
  return new Fault("frame-error", `cannot decode <<${octets.subarray(0, LONGEST_TEXT).join()}>>`);
}

/** What a peer or the code did wrong, as a fault. A fault of the code is logged. */
export function faultOf(error: unknown, log: Logger): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof FrameError || error instanceof MalformedError) {
    return new Fault("frame-error", error.message);
  }
  log.error("a fault in the broker", {
    error: error instanceof Error ? error.stack ?? error.message : String(error),
  });
  return new Fault("internal-error", "the broker failed to do this; its log has the reason");
}
