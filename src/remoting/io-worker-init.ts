import type { EngineInit } from "../store/engine-init.ts";
import type { ReadLimits } from "../store/queue/queue-reader.ts";
import type { TransportName } from "./transport/open-reads.ts";

/** What a network I/O worker is started with. */
export interface IoWorkerInit {
  engine: EngineInit;
  /** Number of this worker, and of its lane. */
  worker: number;
  host: string;
  port: number;
  reusePort: boolean;
  transport: TransportName;
  /** Broker address as clients are told it, `ip:port`; the port may be 0 for "the one we listen on". */
  storeHost: string;
  regionId: string;
  traceOn: boolean;
  clusterName: string;
  maxMessageSize: number;
  sendWaitMsMax: number;
  pageCacheBusyMs: number;
  idleMsMax: number;
  connectionsMax: number;
  limits: ReadLimits;
  isLongPolling: boolean;
  shortPollingMs: number;
  syncFlushTimeoutMs: number;
  offsetCells: SharedArrayBuffer;
  /** format/shared/io-counters.ts. */
  counters: SharedArrayBuffer;
}
