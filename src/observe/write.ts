/** Writing to a file, pipe or terminal that others share. */

/** Pause before a full pipe that does not block is tried again, in milliseconds. */
const FULL_PIPE_MS = 10;

export interface Target {
  write(bytes: Uint8Array): Promise<number>;
}

/** Bytes written, at least one unless the target is full for the moment. */
export async function writeSome(target: Target, bytes: Uint8Array): Promise<number> {
  try {
    return await target.write(bytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    // Whoever gave us the pipe has made it non-blocking, and nothing tells when it has room.
    await new Promise((resolve) => setTimeout(resolve, FULL_PIPE_MS));
    return 0;
  }
}
