import { Buffer } from "node:buffer";
import { RecordParts } from "../../format/record/message.ts";
import { PROPERTIES_SIZE_MAX, VALUE_END } from "../../format/record/properties.ts";
import { fillRecordCrc, RECORD_CRC_SIZE, recordCrcStart, reserveRecordCrc } from "../../format/record/record-crc.ts";
import { APPEND_INNER_BATCH, APPEND_MULTI, LaneConsumer, type LaneMemory, viewOf } from "../../ring/lane.ts";

/** What a record grows by, at most: the checksum, and the separator that the last property may lack. */
const GROWTH_MAX = RECORD_CRC_SIZE + 1;
/** Of the smallest record; larger ones grow by less. */
const GROWTH_RATIO = 1.25;

/**
 * A lane whose records get a checksum of their own (enabledAppendPropCRC). It covers fields that only the log writer
 * knows, so it is made here, for every kind of record at once: `next` copies the records and leaves room, `seal` fills it
 * when the open fields are filled. Without the option there is none of these, and sends pay nothing.
 * Source: Apache `CommitLog.DefaultAppendMessageCallback`.
 */
export class SealingLane extends LaneConsumer {
  readonly #records: Buffer;
  readonly #parts = new RecordParts();
  #end = 0;

  constructor(memory: LaneMemory) {
    super(memory);
    this.#records = this.data;
    // As much as the whole lane may become; memory that is never reached is never taken.
    this.data = Buffer.allocUnsafeSlow(Math.ceil(memory.dataSize * GROWTH_RATIO) + GROWTH_MAX);
    this.dataView = viewOf(this.data);
  }

  override next(): boolean {
    if (!super.next()) return false;
    const start = this.#end;
    const isOne = this.count === 1 || (this.flags & APPEND_INNER_BATCH) !== 0;
    const sourceEnd = this.dataStart + this.size;
    if ((this.flags & APPEND_MULTI) !== 0) {
      this.#copyUnfinished(this.dataStart, sourceEnd, start);
      return true;
    }
    let to = start;
    for (let at = this.dataStart; at < sourceEnd; ) {
      const size = this.#records.readUInt32BE(at);
      to = this.#copy(at, at + size, to, isOne);
      at += size;
    }
    this.dataStart = start;
    this.size = to - start;
    this.#end = to;
    return true;
  }

  /** What lies behind the record's room (format/record/multi-dispatch.ts) moves on, so that the room can take the checksum too. */
  #copyUnfinished(start: number, end: number, to: number): void {
    const recordEnd = start + this.#records.readUInt32BE(start);
    this.#records.copy(this.data, to, start, recordEnd);
    this.#records.copy(this.data, to + recordEnd - start + RECORD_CRC_SIZE, recordEnd, end);
    this.dataStart = to;
    this.size = end - start + RECORD_CRC_SIZE;
    this.#end = to + this.size;
  }

  override withTail(start: number, size: number): number {
    const { data } = this;
    const parts = this.#parts;
    parts.locate(data, start);
    const { propertiesStart, propertiesEnd } = parts;
    if (propertiesEnd - propertiesStart + RECORD_CRC_SIZE > PROPERTIES_SIZE_MAX) return size;
    const end = reserveRecordCrc(data, start + size);
    data.writeUInt16BE(end - propertiesStart, propertiesStart - 2);
    data.writeUInt32BE(end - start, start);
    return end - start;
  }

  /** @returns the copy's end */
  #copy(start: number, end: number, to: number, isOne: boolean): number {
    const { data } = this;
    const parts = this.#parts;
    parts.locate(this.#records, start);
    this.#records.copy(data, to, start, end);
    const propertiesAt = to + parts.propertiesStart - start;
    let copyEnd = to + end - start;
    this.tailSize = 0;
    // A message that is stored anew brings the old one's. How much a batch grows is known where its answer is made.
    if (isOne) copyEnd = removeRecordCrc(data, propertiesAt, copyEnd);
    const isOpen = (this.flags & APPEND_INNER_BATCH) === 0 && copyEnd > propertiesAt && data[copyEnd - 1] !== VALUE_END;
    if (copyEnd - propertiesAt + (isOpen ? 1 : 0) + RECORD_CRC_SIZE <= PROPERTIES_SIZE_MAX) {
      if (isOpen) data[copyEnd++] = VALUE_END;
      copyEnd = reserveRecordCrc(data, copyEnd);
      this.tailSize = RECORD_CRC_SIZE;
    }
    data.writeUInt16BE(copyEnd - propertiesAt, propertiesAt - 2);
    data.writeUInt32BE(copyEnd - to, to);
    return copyEnd;
  }

  override seal(start: number, end: number): void {
    const { data } = this;
    for (let at = start; at < end; ) {
      const recordEnd = at + data.readUInt32BE(at);
      fillRecordCrc(data, at, recordEnd);
      at = recordEnd;
    }
  }

  override publish(): void {
    super.publish();
    this.#end = 0;
  }
}

/** @returns the new end */
function removeRecordCrc(data: Buffer, start: number, end: number): number {
  for (;;) {
    const found = recordCrcStart(data, start, end);
    if (found < 0) return end;
    let behind = found;
    while (behind < end && data[behind] !== VALUE_END) behind++;
    behind = Math.min(end, behind + 1);
    data.copyWithin(found, behind, end);
    end -= behind - found;
  }
}
