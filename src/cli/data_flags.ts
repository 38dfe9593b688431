/** What the subcommands have in common that look after data, running broker or not. */
import type { Backup } from "../broker/store/still/backup.ts";
import { text } from "./flags.ts";
import { GENERAL_FLAGS } from "./general_flags.ts";

export const DATA_FLAGS = {
  data: text({
    group: "data",
    short: "d",
    value: "DIR",
    help: "folder of the data",
    env: "BROKER_DATA",
    default: "broker-data",
    minBytes: 1,
  }),
  ...GENERAL_FLAGS,
};

export const DATA_EXIT_HELP = [
  "Exit status",
  `  0 done, and whole; 64 usage; 65 damaged, or something else is in the way; 66 no data there, or
  they cannot be read; 75 a broker uses them and does not answer, or could not wait`,
] as const;

export function describe({ messages, queues, bytes }: Backup): string {
  return `${messages} messages in ${queues} ${queues === 1 ? "queue" : "queues"}, ${bytes} bytes`;
}
