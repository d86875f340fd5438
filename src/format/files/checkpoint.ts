import { readInt64, writeInt64 } from "../record/message.ts";

/**
 * The `checkpoint` file: 4096 bytes, big-endian longs at the start, zeros behind. Source: Apache `StoreCheckpoint`.
 */
export const CHECKPOINT_SIZE = 4096;

export interface Checkpoint {
  /** storeTimestamp of the last flushed log record, ms. */
  physicMsgTimestamp: number;
  /** … of the last record whose ConsumeQueue entry is flushed. */
  logicsMsgTimestamp: number;
  /** … of the last record in a flushed index file. */
  indexMsgTimestamp: number;
  masterFlushedOffset: number;
  confirmPhyOffset: number;
  /** All ConsumeQueue entries of records below this physicalOffset are on the disk (5.4+; 0 in older files). */
  logicsPhysicalOffset: number;
}

const CHECKPOINT_EMPTY: Checkpoint = {
  physicMsgTimestamp: 0,
  logicsMsgTimestamp: 0,
  indexMsgTimestamp: 0,
  masterFlushedOffset: 0,
  confirmPhyOffset: 0,
  logicsPhysicalOffset: 0,
};

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  const bytes = Buffer.alloc(CHECKPOINT_SIZE);
  writeInt64(bytes, checkpoint.physicMsgTimestamp, 0);
  writeInt64(bytes, checkpoint.logicsMsgTimestamp, 8);
  writeInt64(bytes, checkpoint.indexMsgTimestamp, 16);
  writeInt64(bytes, checkpoint.masterFlushedOffset, 24);
  writeInt64(bytes, checkpoint.confirmPhyOffset, 32);
  writeInt64(bytes, checkpoint.logicsPhysicalOffset, 40);
  return bytes;
}

/** A file that is too short counts as empty: recovery then reads more of the log. */
export function decodeCheckpoint(bytes: Buffer | undefined): Checkpoint {
  if (bytes === undefined || bytes.length < 48) return { ...CHECKPOINT_EMPTY };
  return {
    physicMsgTimestamp: readInt64(bytes, 0),
    logicsMsgTimestamp: readInt64(bytes, 8),
    indexMsgTimestamp: readInt64(bytes, 16),
    masterFlushedOffset: readInt64(bytes, 24),
    confirmPhyOffset: readInt64(bytes, 32),
    logicsPhysicalOffset: readInt64(bytes, 40),
  };
}
