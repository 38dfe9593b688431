/** Data files that earlier versions wrote. */
import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { SCHEMA_VERSION } from "../../src/broker/store/file/schema.ts";
import { startBroker } from "../support/embedded.ts";
import { check, FIXTURES } from "./old_data.ts";

const versions = [...Deno.readDirSync(FIXTURES)].map(({ name }) => Number(name.match(/\d+/)));

Deno.test("there is a data file of the present version of the schema", () => {
  assert(versions.includes(SCHEMA_VERSION), `v${SCHEMA_VERSION}.db is not among the fixtures`);
});

for (const version of versions.sort()) {
  Deno.test(`a data file of version ${version} is opened with all that it holds`, async () => {
    await using broker = await startBroker({
      prepare: (data) => Deno.copyFile(`${FIXTURES}v${version}.db`, `${data}/broker.db`),
    });
    await check(broker.port, version);
    await broker.stop();
    const database = new DatabaseSync(`${broker.data}/broker.db`, { readOnly: true });
    assertEquals(database.prepare("PRAGMA user_version").get()!["user_version"], SCHEMA_VERSION);
    database.close();
  });
}
