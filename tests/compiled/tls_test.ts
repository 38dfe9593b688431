/** TLS in the compiled tools, whose Deno may be older than the one that runs the other tests. */
import { assertEquals, assertMatch } from "@std/assert";
import { makeCertificates } from "../amqp/certificates.ts";
import { tempDir } from "../support/temp.ts";
import { binary } from "./binary.ts";

Deno.test("compiled new_task checks certificates and names, and has one of its own", async () => {
  await using temp = await tempDir();
  await using files = await tempDir();
  const { ca, server, client, stranger } = await makeCertificates(files.path);
  const tls = ["--tls-cert", server.cert, "--tls-key", server.key];
  const data = ["--port", "0", "--data"];
  await using secure = binary("broker", temp.path, [], [...data, files.file("secure"), ...tls]);
  await using plain = binary("broker", temp.path, [], [...data, files.file("plain")]);
  const [port, plainPort] = await Promise.all([secure, plain].map(async (broker) => {
    return (await broker.waitForLog(/ready: amqps?:\/\/127\.0\.0\.1:(\d+) and/))[1]!;
  }));
  const own = ["--cert", client.cert, "--key", client.key];
  const trusted = ["--cacert", ca];
  const rows: [host: string, args: string[], code: number, stderr: RegExp][] = [
    [`localhost:${port}`, trusted, 0, /^$/],
    [`localhost:${port}`, [...trusted, ...own], 0, /^$/],
    [`127.0.0.1:${port}`, [...trusted, ...own, "--tls-server-name", "broker.test"], 0, /^$/],
    [`127.0.0.1:${port}`, ["--tls-insecure"], 0, /^$/],
    [`localhost:${port}`, [], 75, /cannot connect to .*UnknownIssuer; --cacert or/],
    [`127.0.0.1:${port}`, trusted, 75, /cannot connect to .*certificate/],
    [
      `localhost:${port}`,
      [...trusted, "--tls-server-name", "evil.test"],
      75,
      /cannot connect to .*certificate.*altname|cannot connect to .*certificate not valid/i,
    ],
    [`localhost:${plainPort}`, trusted, 76, /the server must speak TLS at this port/],
    [`localhost:${plainPort}`, ["--tls-insecure"], 76, /the server must speak TLS at this port/],
    [
      `localhost:${port}`,
      [...trusted, "--cert", client.cert, "--key", stranger.key],
      65,
      /must be the key of the certificate in the file/,
    ],
  ];
  await Promise.all(rows.map(async ([host, args, code, sentence]) => {
    await using sender = binary(
      "new_task",
      temp.path,
      [`AMQP_URL=amqps://${host}/`],
      [...args, "--timeout", "20s", "x"],
    );
    const output = await sender.ended();
    assertEquals(output.code, code, `${host} ${args.join(" ")}: ${output.stderr}`);
    assertMatch(output.stderr, sentence);
  }));
  for (const broker of [secure, plain]) {
    broker.kill("SIGTERM");
    assertEquals((await broker.ended()).code, 0);
  }
});
