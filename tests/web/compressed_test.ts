/** What a browser loads over a slow link: it is compressed, and not sent again. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { createGunzip, gunzipSync } from "node:zlib";
import { assert, assertEquals } from "@std/assert";
import assets from "../../src/web/assets.json" with { type: "json" };
import type { ChangeEvent } from "../../src/observe/board.ts";
import { uniqueName } from "../support/temp.ts";
import { within } from "../support/wait.ts";
import { Paged } from "./paged.ts";

/** An answer with its bytes as they came. */
async function get(url: string, headers: Record<string, string>): Promise<IncomingMessage> {
  const asked = request(url, { headers, agent: false });
  asked.end();
  const [response] = await within("an answer", once(asked, "response"));
  return response as IncomingMessage;
}

async function bytesOf(response: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return new Uint8Array(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

Deno.test("what a browser loads is compressed", async (t) => {
  await using paged = await Paged.start();
  const script = assets.files["/page.js"].body;

  await t.step("files, for who accepts it, and what he has is not sent again", async () => {
    const url = `${paged.url}/page.js`;
    const zipped = await get(url, { "accept-encoding": "br, gzip" });
    const { etag, vary } = zipped.headers;
    assertEquals(zipped.headers["content-encoding"], "gzip");
    assertEquals([vary, zipped.headers["cache-control"]], ["accept-encoding", "no-cache"]);
    const bytes = await bytesOf(zipped);
    assert(bytes.length < script.length / 2, `${bytes.length} bytes`);
    assertEquals(new TextDecoder().decode(gunzipSync(bytes)), script);
    const known = await get(url, { "accept-encoding": "gzip", "if-none-match": `"x", ${etag}` });
    assertEquals([known.statusCode, (await bytesOf(known)).length], [304, 0]);
    const other = await get(url, { "accept-encoding": "gzip", "if-none-match": '"x"' });
    assertEquals(other.statusCode, 200);
    other.destroy();
  });

  await t.step("files, and not for who does not accept it", async () => {
    for (const accepted of ["identity", "gzip;q=0", "gzipped"]) {
      const plain = await get(`${paged.url}/page.js`, { "accept-encoding": accepted });
      assertEquals(plain.headers["content-encoding"], undefined, accepted);
      assertEquals(new TextDecoder().decode(await bytesOf(plain)), script);
    }
  });

  await t.step("events, each of which can be read when it is there", async () => {
    const queue = uniqueName("zipped");
    await paged.send(queue, { body: "one" });
    const response = await get(`${paged.url}/api/v1/events`, { "accept-encoding": "gzip" });
    assertEquals(response.headers["content-encoding"], "gzip");
    const lines = response.pipe(createGunzip()).setEncoding("utf8");
    let text = "";
    const heard: ChangeEvent[] = [];
    const told = (ready: number) =>
      heard.some(({ queues }) =>
        queues.some((info) => info.name === queue && info.ready === ready)
      );
    for await (const more of lines) {
      const events = (text + more).split("\n\n");
      text = events.pop()!;
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data: "));
        if (data !== undefined) heard.push(JSON.parse(data.slice(6)));
      }
      if (told(2)) break;
      if (!told(1)) continue;
      heard.length = 0;
      await paged.send(queue, { body: "two" });
    }
    assert(told(2));
    response.destroy();
  });
});
