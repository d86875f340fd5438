import { MillraceError } from "../base/errors.ts";
import type { ConsumedMessage } from "../client/consume/consumed-message.ts";

/** Property in which `ingest --number-lines` counts the lines of its input. */
export const LINE_NUMBER = "LINE";

interface Head {
  source: AsyncIterator<readonly ConsumedMessage[]>;
  messages: readonly ConsumedMessage[];
  index: number;
  lineNumber: number;
}

/**
 * Brings the lines of several queues back into the order of the input: each queue is in order, so the smallest
 * line number at hand comes next. Holds one pull of each queue.
 * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL: a message has no line number
 */
export async function* mergeByLine(
  sources: readonly AsyncIterable<readonly ConsumedMessage[]>[],
): AsyncGenerator<ConsumedMessage[]> {
  const heads: Head[] = [];
  for (const source of sources) {
    const head = { source: source[Symbol.asyncIterator](), messages: [], index: 0, lineNumber: 0 };
    if (await refill(head)) heads.push(head);
  }
  let merged: ConsumedMessage[] = [];
  while (heads.length > 0) {
    const next = heads.reduce((least, head) => (head.lineNumber < least.lineNumber ? head : least));
    merged.push(next.messages[next.index]!);
    next.index++;
    if (next.index < next.messages.length) {
      next.lineNumber = lineNumberOf(next.messages[next.index]!);
      continue;
    }
    yield merged;
    merged = [];
    if (!(await refill(next))) heads.splice(heads.indexOf(next), 1);
  }
}

/** @returns false at the queue's end */
async function refill(head: Head): Promise<boolean> {
  const { done, value } = await head.source.next();
  if (done === true) return false;
  head.messages = value;
  head.index = 0;
  head.lineNumber = lineNumberOf(value[0]!);
  return true;
}

function lineNumberOf(message: ConsumedMessage): number {
  const number = Number(message.properties.get(LINE_NUMBER));
  if (Number.isSafeInteger(number)) return number;
  throw new MillraceError(
    "MILLRACE_MESSAGE_ILLEGAL",
    `message ${message.queueOffset} of queue ${message.queueId} has no line number: --in-line-order needs ingest --number-lines`,
    { queueId: message.queueId, queueOffset: message.queueOffset },
  );
}
