/**
 * A thread that syncs the data file while the main thread goes on. Deno's own asynchronous sync works
 * on a duplicate of the descriptor and closes that, which ends all of SQLite's locks on the file: they
 * are the process's. This thread opens the file once, and closes it only behind the database.
 *
 * It takes some 12 MB and, once, 10 ms of the main thread: only a slow disk has one.
 */

import { findDescriptors } from "./descriptors.ts";

/** What it runs. A bundle, or a binary, would have to bring a file along. */
const PROGRAM = `
let file;
onmessage = ({ data }) => {
  try {
    if (data.path !== undefined) {
      file = Deno.openSync(data.path, { read: true, write: true });
      const { dev, ino } = file.statSync();
      postMessage({ isReady: dev === data.dev && ino === data.ino });
    } else if (data.closed !== undefined) {
      file?.close();
      Atomics.store(data.closed, 0, 1);
      Atomics.notify(data.closed, 0);
    } else {
      file.syncDataSync();
      postMessage({});
    }
  } catch (error) {
    postMessage({ failure: error.message });
  }
};`;

/**
 * File descriptors that have to be free: a thread of Deno takes some, and where it gets none the whole
 * process ends.
 */
const DESCRIPTORS = 24;

/** Milliseconds for the file to be closed: on a disk that hangs it is closed with the process. */
const CLOSE_MS = 2_000;

interface Answer {
  readonly isReady?: boolean;
  readonly failure?: string;
}

export class SyncThread {
  readonly #worker: Worker;
  #answer: ((answer: Answer | undefined) => void) | undefined;
  #isBroken = false;
  readonly #ready: Promise<boolean>;

  /**
   * @param path of the file
   * @param file the same one, open: it may have been moved since
   * @throws when there is no thread to be had, or no descriptors for it
   */
  constructor(path: string, file: Deno.FsFile) {
    findDescriptors(path, DESCRIPTORS);
    const program = `data:application/javascript,${encodeURIComponent(PROGRAM)}`;
    this.#worker = new Worker(program, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#answer?.(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#isBroken = true;
      this.#answer?.(undefined);
    };
    const { dev, ino } = file.statSync();
    this.#ready = this.#ask({ path, dev, ino }).then((answer) => answer?.isReady === true);
  }

  /**
   * One at a time.
   * @returns whether the file was synced; false: this thread cannot do that
   * @throws why the sync has failed
   */
  async sync(): Promise<boolean> {
    if (!await this.#ready) return false;
    const answer = await this.#ask({});
    if (answer?.failure !== undefined) throw new Error(answer.failure);
    return answer !== undefined;
  }

  /** @returns undefined: it has ended */
  #ask(question: Record<string, unknown>): Promise<Answer | undefined> {
    if (this.#isBroken) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#worker.postMessage(question);
    });
  }

  /** Behind the database. The file is closed when this returns: it may be opened again. */
  close(): void {
    if (!this.#isBroken) {
      const closed = new Int32Array(new SharedArrayBuffer(4));
      this.#worker.postMessage({ closed });
      Atomics.wait(closed, 0, 0, CLOSE_MS);
    }
    this.#worker.terminate();
  }
}
