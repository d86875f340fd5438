import type { Clock } from "../base/clock.ts";
import type { RequestHandler } from "../broker/channel.ts";
import type { Log } from "../observe/log.ts";
import type { NameServerConfig } from "./config.ts";
import type { KeyValueConfig } from "./kv-config.ts";
import type { RouteTable } from "./routes.ts";

/** What the handlers of one name server work on. */
export interface NameServerContext {
  clock: Clock;
  log: Log;
  routes: RouteTable;
  keyValues: KeyValueConfig;
  config: NameServerConfig;
  startedMs: number;
}

export type Handlers = [code: number, handler: RequestHandler][];
