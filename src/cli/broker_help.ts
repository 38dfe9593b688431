/** What is told about `broker`. */
import { BROKER_COMMANDS } from "./broker_commands.ts";
import type { Flags } from "./flags.ts";
import type { HelpPage } from "./help/page.ts";

export function helpOf(flags: Flags): HelpPage {
  return {
    name: "broker",
    summary: "keep work queues for one machine",
    usage: ["broker [OPTION]..."],
    about: "A work queue broker for one machine: AMQP 0-9-1 for any client, kept in one SQLite " +
      "file. What a publisher got confirmed is on disk and survives any crash. Without --user there " +
      "is the user guest with password guest, from this machine only.",
    examples: [
      ["Keep queues in a folder:", "broker -d /var/lib/broker"],
      ["Show them in a browser:", "broker -d /var/lib/broker --http 9180"],
      [
        "Serve other machines, with TLS:",
        "broker --listen :: --user ann --password-file PW --tls-cert CERT --tls-key KEY",
      ],
    ],
    flags,
    commands: BROKER_COMMANDS,
    essential: [
      "data",
      "port",
      "listen",
      "user",
      "password-file",
      "tls-cert",
      "tls-key",
      "http",
      "config",
      "help",
    ],
    sections: [
      [
        "Exit status",
        `  0 ended by SIGTERM or SIGINT; 64 usage; 65, 66 data or another file cannot be used;
  70 internal; 75 the data or the port is in use, or the last changes could not be stored;
  77 the port is not for this user; 130, 143 ended at once by a second signal`,
      ],
      [
        "Signals",
        `  SIGTERM, SIGINT end it: the last commit is finished, clients are told. SIGHUP does the same
  without TLS; with TLS it reads certificate and key again, for new connections. SIGUSR2 says how
  many connections, queues and ready messages there are, and whether all is on disk. SIGUSR1 ends it
  at once, lest Deno opens a debugger.`,
      ],
    ],
  };
}
