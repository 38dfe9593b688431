/** What a running broker shows of its inside to those who look after it. */

import type { Session } from "../connection/session.ts";
import type { DeadLetters } from "../routing/dead_letters.ts";
import type { OutboxRoom } from "../net/outbox_room.ts";
import type { MemoryUse } from "../queue/memory_use.ts";
import type { VirtualHost } from "../routing/virtual_host.ts";
import type { Alarms } from "../store/alarms.ts";
import type { GroupCommit } from "../store/group_commit.ts";
import type { Store } from "../store/store.ts";
import type { Scheduler } from "../../time/scheduler.ts";

export interface Inside {
  readonly version: string;
  readonly vhosts: ReadonlyMap<string, VirtualHost>;
  readonly sessions: ReadonlySet<Session>;
  readonly store: Pick<Store, "changes" | "durable">;
  readonly groupCommit: Pick<GroupCommit, "whenSafe" | "onCommit">;
  readonly scheduler: Pick<Scheduler, "add">;
  readonly memory: Pick<MemoryUse, "bytes" | "limit">;
  readonly outboxRoom: Pick<OutboxRoom, "bodies" | "frames" | "spill">;
  readonly letters: Pick<DeadLetters, "kept" | "count">;
  /** Told of what looking has thrown: it is logged, and the broker goes on. */
  readonly onFault: (error: unknown) => void;
  readonly alarms: Pick<Alarms, "reason" | "free" | "used">;
}
