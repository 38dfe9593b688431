/** Posts a task to a URL, and tells some variables of the environment then; for post_test.ts. */
// deno-lint-ignore-file no-console
import { PostHandler } from "../../src/handlers/post.ts";
import { taskWith } from "../support/task.ts";

const [url, ...names] = Deno.args;
using handler = await PostHandler.open({ url: url!, userAgent: "test", warn: console.error });
const { signal } = new AbortController();
const { kind } = await handler.handle(taskWith(), { signal, attempt: 1 });
console.log(kind, ...names.map((name) => Deno.env.get(name)));
