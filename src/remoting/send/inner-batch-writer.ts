import { BATCH_COUNT_MAX, reserveInnerBase } from "../../format/files/batch-consume-queue.ts";
import { SYS_FLAG_COMPRESSED, SYS_FLAG_INNER_BATCH, SYS_FLAG_NEED_UNWRAP } from "../../format/record/message.ts";
import { PROPERTIES_SIZE_MAX, VALUE_END } from "../../format/record/properties.ts";
import { finishRecord, writeRecordHead } from "../../format/record/record-writer.ts";
import * as fields from "../../format/remoting/header-fields.ts";
import { RecordProperties } from "./record-properties.ts";
import type { SendFrame } from "./send-frame.ts";

/** Outcomes of `InnerBatchWriter.write`. The batch is to be stored message by message: it has no key, or its bodies are compressed. */
export const INNER_BATCH_NONE = -1;
/** Not plain: the control thread decides. */
export const INNER_BATCH_UNUSUAL = -2;

/** Fields of a batch's sub message beside its body and properties. Source: Apache `MessageDecoder.encodeMessage`. */
const SUB_MESSAGE_SIZE_MIN = 22;

/**
 * Makes one record of a whole batch, which clients take apart. A batch that is compressed as a whole must say by INNER_NUM
 * how many messages it holds. One instance an I/O worker. Source: Apache `SendMessageProcessor.sendBatchMessage`.
 */
export class InnerBatchWriter {
  readonly #storeHost: Buffer;
  readonly #added: Buffer;
  readonly #propertiesSizeMax: number;
  /** Of the record last written. */
  readonly properties: RecordProperties = new RecordProperties();
  /** Its messages. */
  count = 0;

  /**
   * @param added     properties that the broker adds
   * @param tailSize  bytes that the log writer adds to them
   */
  constructor(storeHost: Buffer, added: Buffer, tailSize: number) {
    this.#storeHost = storeHost;
    this.#added = added;
    this.#propertiesSizeMax = PROPERTIES_SIZE_MAX - tailSize;
  }

  /** Writes the record at data[at], where there is room. @returns its end, or one of the outcomes above */
  write(data: Buffer, at: number, frame: SendFrame): number {
    const { bytes, bodyStart, bodySize, scan, topic, queueId, sysFlag } = frame;
    const { bornHost } = frame.connection;
    const flag = scan.integer(fields.FIELD_FLAG);
    const bornTimestamp = scan.integer(fields.FIELD_BORN_TIMESTAMP);
    const reconsumeTimes = scan.has(fields.FIELD_RECONSUME_TIMES) ? scan.integer(fields.FIELD_RECONSUME_TIMES) : 0;
    if (Number.isNaN(flag + bornTimestamp) || reconsumeTimes !== 0) return INNER_BATCH_UNUSUAL;
    const { properties } = this;
    // First the properties alone, where they stand in no one's way: they decide.
    properties.scan(data, at, scan.copyText(fields.FIELD_PROPERTIES, data, at));
    const isCompressed = (sysFlag & SYS_FLAG_COMPRESSED) !== 0;
    if (properties.keyEnd === 0 || (isCompressed && !properties.isInner)) return INNER_BATCH_NONE;
    if (properties.isSpecial || topic.needsKeys) return INNER_BATCH_UNUSUAL;
    const count = isCompressed
      ? properties.innerCount
      : countSubMessages(scan.view, scan.placeInView(bodyStart), scan.placeInView(bodyStart + bodySize));
    if (count <= 0 || count > BATCH_COUNT_MAX || (properties.isInner && properties.innerCount !== count)) {
      return INNER_BATCH_UNUSUAL;
    }
    const propertiesAt =
      2 +
      writeRecordHead(
        data,
        at,
        queueId,
        flag,
        sysFlag | SYS_FLAG_NEED_UNWRAP | SYS_FLAG_INNER_BATCH,
        bornTimestamp,
        bornHost,
        this.#storeHost,
        0,
        bytes,
        bodyStart,
        bodySize,
        topic.key,
      );
    let end = scan.copyText(fields.FIELD_PROPERTIES, data, propertiesAt);
    if (data[end - 1] !== VALUE_END) data[end++] = VALUE_END;
    properties.scan(data, propertiesAt, end);
    end += this.#added.copy(data, end);
    if (!properties.isInner) end += data.write(`INNER_NUM\u0001${count}\u0002`, end, "latin1");
    end = reserveInnerBase(data, end);
    if (end - propertiesAt > this.#propertiesSizeMax) return INNER_BATCH_UNUSUAL;
    finishRecord(data, at, propertiesAt, end);
    this.count = count;
    return end;
  }
}

/** Number of sub messages of a well-formed batch body, else -1. */
export function countSubMessages(view: DataView, start: number, end: number): number {
  let count = 0;
  let at = start;
  while (at < end) {
    if (end - at < SUB_MESSAGE_SIZE_MIN) return -1;
    const size = view.getUint32(at);
    const bodySize = view.getUint32(at + 16);
    if (size > end - at || bodySize + SUB_MESSAGE_SIZE_MIN > size) return -1;
    if (SUB_MESSAGE_SIZE_MIN + bodySize + view.getUint16(at + 20 + bodySize) !== size) return -1;
    at += size;
    count++;
  }
  return count;
}
