/**
 * What the page and its API stand on: our own broker, or another one through what it tells. A method
 * that a broker cannot do is absent.
 */
import type {
  ActionResult,
  ConnectionInfo,
  GroupPage,
  History,
  ListRequest,
  MessageDetail,
  MessagePage,
  Overview,
  QueueAddress,
  QueueDetail,
  QueueInfo,
  SearchPage,
  SearchRequest,
  Selection,
  Sent,
} from "../observe/board.ts";
import type { TaskRecord } from "../task/record.ts";

/**
 * All of them throw an error with `kind` "missing", "invalid", "conflict" or "unavailable", whose
 * sentence is for people.
 */
export interface Source {
  overview(): Overview | Promise<Overview>;
  /** Those that nobody needs to look at first are last. */
  queues(): readonly QueueInfo[] | Promise<readonly QueueInfo[]>;
  queue(address: QueueAddress): QueueDetail | Promise<QueueDetail>;
  /** Of all work queues together. */
  history?(): History | Promise<History>;
  messages?(address: QueueAddress, list: ListRequest): Promise<MessagePage>;
  message?(address: QueueAddress, key: string): Promise<MessageDetail>;
  running?(address: QueueAddress | undefined, limit: number): Promise<MessagePage>;
  search?(request: SearchRequest): Promise<SearchPage>;
  groups?(address: QueueAddress): Promise<GroupPage>;
  connections?(): readonly ConnectionInfo[] | Promise<readonly ConnectionInfo[]>;
  closeConnection?(id: number): void | Promise<void>;
  send?(address: QueueAddress, record: TaskRecord, instead?: string): Promise<Sent>;
  replay?(address: QueueAddress, selection: Selection): Promise<ActionResult>;
  drop?(address: QueueAddress, selection: Selection): Promise<ActionResult>;
  purge?(address: QueueAddress): Promise<ActionResult>;
  setPaused?(address: QueueAddress, paused: boolean): Promise<{ changed: boolean }>;
  /** The page of Prometheus. */
  metrics?(): string | Promise<string>;
  /** Calls back after each look at the numbers. @returns what ends that */
  onChange(listener: () => void): () => void;
}
