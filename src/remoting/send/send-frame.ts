import type { HeaderScan } from "../../format/remoting/header-scan.ts";
import type { IoConnection } from "../io-connection.ts";
import type { IoTopic } from "../io-tables.ts";

/** A send request that has passed the checks of its header. One object an I/O worker, filled anew for each. */
export interface SendFrame {
  connection: IoConnection;
  /** The body is bytes[bodyStart, bodyStart + bodySize). */
  bytes: Buffer;
  bodyStart: number;
  bodySize: number;
  scan: HeaderScan;
  topic: IoTopic;
  /** Of one of the topic's queues. */
  queueId: number;
  sysFlag: number;
}
