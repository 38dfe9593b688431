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
  QueueDetail,
  QueueInfo,
  QueueRef,
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
  queue(address: QueueRef): QueueDetail | Promise<QueueDetail>;
  /** Of all work queues together. */
  history?(): History | Promise<History>;
  messages?(address: QueueRef, list: ListRequest): Promise<MessagePage>;
  message?(address: QueueRef, key: string): Promise<MessageDetail>;
  running?(address: QueueRef | undefined, limit: number): Promise<MessagePage>;
  search?(request: SearchRequest): Promise<SearchPage>;
  groups?(address: QueueRef): Promise<GroupPage>;
  connections?(): readonly ConnectionInfo[] | Promise<readonly ConnectionInfo[]>;
  closeConnection?(id: number): void | Promise<void>;
  send?(address: QueueRef, record: TaskRecord, instead?: string): Promise<Sent>;
  replay?(address: QueueRef, selection: Selection): Promise<ActionResult>;
  drop?(address: QueueRef, selection: Selection): Promise<ActionResult>;
  purge?(address: QueueRef): Promise<ActionResult>;
  setPaused?(address: QueueRef, paused: boolean): Promise<{ changed: boolean }>;
  /** The page of Prometheus. */
  metrics?(): string | Promise<string>;
  /** Calls back after each look at the numbers. @returns what ends that */
  onChange(listener: () => void): () => void;
}
