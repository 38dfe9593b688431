/** Why an address cannot be listened on, in the same words for every listener. */
import { EXIT, reason, ToolError } from "../errors.ts";

/** @param cause of Deno.listen, or of a server of node:http */
export function listenError(hostname: string, port: number, cause: unknown): ToolError {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const isDenied = cause instanceof Deno.errors.PermissionDenied || code === "EACCES";
  // "listen EADDRINUSE: address already in use 127.0.0.1:80" repeats the address.
  const why = reason(cause).replace(/^listen E[A-Z]+: (.*?)(?: \S+:\d+)?$/, "$1");
  return new ToolError(
    `cannot listen on ${hostname} port ${port}: ${why}`,
    isDenied ? EXIT.noPermission : EXIT.temporary,
    { cause },
  );
}
