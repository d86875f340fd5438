import * as fields from "../../format/remoting/header-fields.ts";
import type { HeaderScan } from "../../format/remoting/header-scan.ts";
import { FLAG_ONEWAY } from "../../format/remoting/remoting-command.ts";
import { EMPTY_RESPONSE_SIZE_MAX, writeEmptyResponse } from "../../format/remoting/send-response.ts";
import { OFFSET_PENDING_RESET, type OffsetCells } from "../../format/shared/offset-cells.ts";
import type { IoConnection } from "../io-connection.ts";
import type { IoTables } from "../io-tables.ts";

/**
 * Offset commits (15) whose cell is known: one store into shared memory. The first commit of a queue, and any
 * that is not plain, goes to the control thread. Source: Apache `ConsumerManageProcessor.updateConsumerOffset`.
 */
export class CommitPath {
  readonly #tables: IoTables;
  readonly #cells: OffsetCells;

  constructor(tables: IoTables, cells: OffsetCells) {
    this.#tables = tables;
    this.#cells = cells;
  }

  /** @returns false if the control thread must see it */
  take(connection: IoConnection, bytes: Buffer, scan: HeaderScan): boolean {
    if (!scan.has(fields.FIELD_TOPIC) || !scan.has(fields.FIELD_CONSUMER_GROUP)) return false;
    if (scan.isEscaped(fields.FIELD_TOPIC) || scan.isEscaped(fields.FIELD_CONSUMER_GROUP)) return false;
    const group = this.#tables.groups.get(
      bytes,
      scan.rawStart(fields.FIELD_CONSUMER_GROUP),
      scan.rawEnd(fields.FIELD_CONSUMER_GROUP),
    );
    const topic = this.#tables.topics.get(bytes, scan.rawStart(fields.FIELD_TOPIC), scan.rawEnd(fields.FIELD_TOPIC));
    const queueId = scan.integer(fields.FIELD_QUEUE_ID);
    const offset = scan.integer(fields.FIELD_COMMIT_OFFSET);
    if (group === undefined || topic === undefined || !(queueId >= 0 && queueId < topic.slots.length) || !(offset >= 0))
      return false;
    const cell = group.cells.get(topic.slots[queueId]!);
    if (cell === undefined || (this.#cells.flags(cell) & OFFSET_PENDING_RESET) !== 0) return false;
    this.#cells.setOffset(cell, offset);
    if ((scan.flag & FLAG_ONEWAY) === 0) {
      connection.reserve(EMPTY_RESPONSE_SIZE_MAX);
      connection.staged = writeEmptyResponse(connection.stage, connection.staged, scan.opaque);
      connection.markStaged();
    }
    return true;
  }
}
