import { dedupWindowOf } from "../broker/topics/attributes.ts";
import { HALF_TOPIC, TIMER_TOPIC } from "../broker/topics/system-topics.ts";
import { SCHEDULE_TOPIC } from "../format/names.ts";
import { RecordParts, readInt64, recordSizeAt } from "../format/record/message.ts";
import { PropertyScan } from "../format/record/property-scan.ts";
import type { TopicConfig } from "../format/topic-config.ts";
import { DedupHash, DedupWindow } from "../store/log/dedup-window.ts";
import { LogReader } from "../store/log/log-reader.ts";
import type { Engine } from "./engine.ts";
import type { EngineStore } from "./engine-store.ts";

const UNIQ_KEY = Buffer.from("UNIQ_KEY");
/** Where messages wait that are stored in their own topic later. */
const PARKING_TOPICS: ReadonlySet<string> = new Set([SCHEDULE_TOPIC, HALF_TOPIC, TIMER_TOPIC]);
const REAL_TOPIC = Buffer.from("REAL_TOPIC");

interface StoredMessage {
  physicalOffset: number;
  queueOffset: number;
  queueId: number;
}

/**
 * Fills the window with what the log has of the topics that ask for de-duplication, so that a message that was sent
 * before a restart or a crash is known after it. Messages that wait elsewhere (delayed, timed, half) are found in those
 * topics by their REAL_TOPIC. Before anything is appended.
 *
 * @param topics all of the broker's
 */
export function rebuildDedupWindow(engine: Engine, store: EngineStore, topics: Iterable<TopicConfig>, nowMs: number): void {
  const memory = engine.init.dedupWindow;
  const all = [...topics];
  const windows = new Map<string, number>();
  for (const { topicName, attributes } of all) {
    const windowS = dedupWindowOf(attributes);
    if (windowS > 0) windows.set(topicName, windowS);
  }
  if (memory === undefined || windows.size === 0) return;
  const windowMaxS = Math.max(...windows.values());
  const found: StoredMessage[] = [];
  for (const { topicName, readQueueNums, writeQueueNums } of all) {
    const windowS = windows.get(topicName) ?? (PARKING_TOPICS.has(topicName) ? windowMaxS : 0);
    if (windowS === 0) continue;
    for (let queueId = 0; queueId < Math.max(readQueueNums, writeQueueNums); queueId++) {
      collect(store, topicName, queueId, nowMs - 1000 * windowS, memory.capacity, found);
    }
  }
  found.sort((a, b) => a.physicalOffset - b.physicalOffset);
  const reader = new LogReader(engine.drive, engine.paths.commitLog, engine.init.logFileSize);
  const table = new DedupWindow(memory);
  const parts = new RecordParts();
  const scan = new PropertyScan();
  const hash = new DedupHash();
  for (const { physicalOffset, queueId, queueOffset } of found.slice(-memory.capacity)) {
    const limit = store.maxPhysicalOffset();
    if (!reader.window(physicalOffset, limit)) continue;
    const size = reader.bytes.readUInt32BE(reader.at);
    if (!reader.window(physicalOffset, limit, size) || recordSizeAt(reader.bytes, reader.at, reader.end) < 0) continue;
    const { bytes } = reader;
    parts.locate(bytes, reader.at);
    const { propertiesStart, propertiesEnd } = parts;
    const isParked = scan.find(bytes, propertiesStart, propertiesEnd, REAL_TOPIC);
    const stored = bytes.toString("utf8", parts.topicStart, parts.topicEnd);
    const topic = isParked && PARKING_TOPICS.has(stored) ? bytes.toString("utf8", scan.start, scan.end) : stored;
    const group = windows.has(topic) ? engine.topics.slotOf(topic, 0) : undefined;
    if (group === undefined || !scan.find(bytes, propertiesStart, propertiesEnd, UNIQ_KEY)) continue;
    hash.of(group, bytes, scan.start, scan.end);
    table.add(hash.low, hash.high, physicalOffset, queueId, queueOffset, readInt64(bytes, parts.storeTimestampAt));
  }
  reader.close();
}

/** Adds the places of the queue's messages that were stored at `sinceMs` or later, of the last `countMax`. */
function collect(
  store: EngineStore,
  topic: string,
  queueId: number,
  sinceMs: number,
  countMax: number,
  found: StoredMessage[],
): void {
  const max = store.maxQueueOffset(topic, queueId);
  const from = Math.max(store.searchOffset(topic, queueId, sinceMs, "LOWER"), max - countMax);
  for (let next = from; next < max; ) {
    const entry = store.queueEntry(topic, queueId, next);
    const queueOffset = entry?.baseOffset ?? next;
    if (entry !== undefined) found.push({ physicalOffset: entry.physicalOffset, queueOffset, queueId });
    next = entry?.endOffset ?? next + 1;
  }
}
