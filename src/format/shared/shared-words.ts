/**
 * The engine's control words in shared memory: one place for each word, its writer and its readers.
 *
 * Memory order. A 64-bit offset is a float64 in an aligned cell: hardware never tears it. Its writer stores
 * it plainly and then rings a doorbell (Atomics.add, sequentially consistent); a reader that has seen the
 * doorbell's new count sees the offset and every byte of the log below it. Offsets only grow, so a reader
 * that sees a newer value than the bell announced is right as well.
 *
 * Cells lie 128 bytes apart: writers on different cores never share a line pair.
 */
const CELL = 128;

/** Float64 cells; value = index into a Float64Array. */
const f64 = (cell: number): number => (cell * CELL) / 8;
/** Int32 cells; value = index into an Int32Array. */
const i32 = (cell: number): number => (cell * CELL) / 4;

/** One past the last byte that is in the log and readable. Writer: log writer. */
export const APPENDED_OFFSET: number = f64(0);
/** One past the last byte known to be on the disk. Writer: flusher. */
export const FLUSHED_OFFSET: number = f64(1);
/** One past the last byte whose ConsumeQueue entry is readable. Writer: queue indexer. */
export const DISPATCHED_OFFSET: number = f64(2);
/** Every record below has its ConsumeQueue entry in a file, not only in a tail in memory. Writer: queue indexer. */
export const QUEUES_WRITTEN_OFFSET: number = f64(19);
/** One past the last byte that is in the key index. Writer: key indexer. */
export const INDEXED_OFFSET: number = f64(3);
/** First byte still kept. Writer: control. */
export const MIN_OFFSET: number = f64(4);
/** storeTimestamp of the last appended record, ms. Writer: log writer. */
export const LAST_STORE_TIMESTAMP: number = f64(5);

/** Messages appended, their bytes, and messages refused since the start. Writer: log writer. */
export const APPENDED_COUNT: number = f64(28);
export const APPENDED_SIZE: number = f64(29);
export const REFUSED_COUNT: number = f64(30);
/** storeTimestamp up to which the log is on the disk, ms. Writer: flusher. */
export const FLUSHED_TIMESTAMP: number = f64(6);
/** Every record below has its ConsumeQueue entry on the disk; and the timestamp of the last of them. Writer: flusher. */
export const QUEUES_FLUSHED_OFFSET: number = f64(9);
export const QUEUES_FLUSHED_TIMESTAMP: number = f64(10);
/** Up to this store timestamp the key index is on the disk. Writer: key indexer. */
export const INDEX_DURABLE_TIMESTAMP: number = f64(12);

/** First offset of the log file being written. Writer: log writer; reader: flusher. */
export const CURRENT_FILE_BASE: number = f64(8);
/** The next log file, made ready by the flusher and taken over by the log writer. See PREPARE_*. */
export const PREPARED_BASE: number = f64(11);
export const PREPARED_FD: number = i32(13);
/** State of the prepared file; moved by compare-and-exchange only. */
export const PREPARED_STATE: number = i32(14);
export const PREPARE_NONE = 0;
/** The flusher is making it. */
export const PREPARE_BUSY = 1;
export const PREPARE_READY = 2;
/** The log writer makes one itself. */
export const PREPARE_WRITER = 3;

/** 0 = running; 1 = threads finish what is in the rings, flush and end. Writer: control. */
export const STOPPING: number = i32(15);
/** 1 = clients are served; what can wait has waited for it. Writer: control. */
export const SERVING: number = i32(23);
/** Bits of RUNNING_FLAGS_*; writer: control and flusher, by Atomics.or / and. */
export const RUNNING_FLAGS: number = i32(16);
/** The disk watermark forbids appends. */
export const FLAG_DISK_FULL = 1;
/** A flush failed: nothing is acknowledged any more. */
export const FLAG_FLUSH_FAILED = 2;
/** A thread that the store cannot do without has ended. */
export const FLAG_THREAD_LOST = 4;
/** The store takes nothing any more, for good. */
export const FLAGS_FAILED: number = FLAG_FLUSH_FAILED | FLAG_THREAD_LOST;

/** Counts the topic updates posted to the queue indexer. Writer: control, after posting. */
export const TOPICS_VERSION: number = i32(17);
/** The count that the queue indexer has acted upon: of topics deleted by then it touches no file any more. Writer: queue indexer. */
export const TOPICS_SEEN: number = i32(18);

/** Used share of the disks of the log and of the rest of the store, 0..1, as last looked at. Writer: control. */
export const LOG_DISK_RATIO: number = f64(20);
export const STORE_DISK_RATIO: number = f64(21);

/** When the batch that is being appended was begun, ms; 0: none is. Writer: log writer. */
export const WRITING_SINCE: number = f64(22);

/** Doorbells: for each thread two words, a count and a sleeping flag, on a cell of their own. */
const DOORBELLS_CELL = 32;
export const DOORBELL_WRITER = 0;
export const DOORBELL_FLUSHER = 1;
export const DOORBELL_QUEUE_INDEXER = 2;
export const DOORBELL_KEY_INDEXER = 3;
/** Lane n (an I/O worker, the control thread, an embedder) has doorbell DOORBELL_LANES + n. */
export const DOORBELL_LANES = 4;
export const LANES_MAX = 60;

export function doorbellWord(doorbell: number): number {
  return i32(DOORBELLS_CELL + doorbell);
}

export const SHARED_WORDS_SIZE: number = (DOORBELLS_CELL + DOORBELL_LANES + LANES_MAX) * CELL;
