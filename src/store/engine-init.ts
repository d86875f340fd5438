import { DOORBELL_LANES, DOORBELL_WRITER } from "../format/shared/shared-words.ts";
import type { DriveId } from "../os/choose.ts";
import type { IndexFeedMemory } from "../ring/index-feed.ts";
import type { LaneMemory } from "../ring/lane.ts";
import type { DedupWindowMemory } from "./log/dedup-window.ts";
import type { QueueSlotsMemory } from "./queue/queue-slots.ts";

/** What every thread of one engine is handed: memory that they share, and figures that do not change. */
export interface EngineInit {
  drive: DriveId;
  storePath: string;
  commitLogPath: string;
  /** Bytes. */
  logFileSize: number;
  queueFileSize: number;
  batchQueueFileSize: number;
  shared: SharedArrayBuffer;
  queueSlots: QueueSlotsMemory;
  /** One a producer; lane n has doorbell DOORBELL_LANES + n. */
  lanes: LaneMemory[];
  /** wakeRings[n] goes to the producer of lane n; undefined for those that hold no pulls. */
  wakeRings: (SharedArrayBuffer | undefined)[];
  /** From the log writer to the queue indexer, and to the key indexer where there is one. */
  queueFeed: IndexFeedMemory;
  keyFeed: IndexFeedMemory | undefined;
  /** Lane whose I/O worker runs the log writer, or -1: it has a thread of its own. */
  writerLane: number;
  /** Of the topics that ask for de-duplication; undefined: none may. */
  dedupWindow: DedupWindowMemory | undefined;
  clock: SharedArrayBuffer;
  isSyncFlush: boolean;
  /** Whether records get a checksum of their own. Default false. */
  hasRecordCrc?: boolean | undefined;
  /** Work on checksums of the log's blocks; 0: none. */
  checksumBytesPerSecond: number;
  flushIntervalMs: number;
  flushLeastPages: number;
  flushThoroughIntervalMs: number;
  /** The same of the queues' files. */
  queueFlushIntervalMs: number;
  queueFlushLeastPages: number;
  queueFlushThoroughIntervalMs: number;
  /** So long entries of queues may be in memory only, ms. */
  tailMsMax: number;
  delayLevelsMs: number[];
  /** enableConsumeQueueExt: size of a file of what entries point at, bytes; 0: they hold all themselves. */
  queueExtFileSize: number;
  /** enableLmq: records that name further queues get their offsets there; enableMultiDispatch too: and their entries. */
  isLmq: boolean;
  isMultiDispatch: boolean;
  /** Whether records enter the key index, and the shape of its files. */
  isIndexed: boolean;
  indexSlotCount: number;
  indexEntryCount: number;
}

/** Doorbell that whoever has put something into a lane rings. */
export function writerDoorbell({ writerLane }: EngineInit): number {
  return writerLane < 0 ? DOORBELL_WRITER : DOORBELL_LANES + writerLane;
}
