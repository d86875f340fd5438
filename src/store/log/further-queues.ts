import { queueNameFault } from "../../format/names.ts";
import { RecordParts } from "../../format/record/message.ts";
import { dispatchNames, mayDispatch, multiDispatchGrowth, withOffsetRoom } from "../../format/record/multi-dispatch.ts";
import { PROPERTIES_SIZE_MAX, PROPERTY } from "../../format/record/properties.ts";
import { PropertyScan } from "../../format/record/property-scan.ts";

const NAMES = Buffer.from(PROPERTY.MULTI_DISPATCH);

/**
 * For producers that are no sockets: lays out records that name further queues so that the log writer can give them their
 * places. What a client may name was checked when it sent the message; what does not hold any more (a store from elsewhere)
 * leaves the message in its own queue alone. One instance a thread.
 */
export class FurtherQueues {
  readonly #slotOf: (name: string) => number | undefined;
  readonly #scan = new PropertyScan();
  readonly #parts = new RecordParts();

  /** @param slotOf makes the queue usable where it is not; undefined: it cannot be had */
  constructor(slotOf: (name: string) => number | undefined) {
    this.#slotOf = slotOf;
  }

  /** @param record whole; @returns undefined: it goes to its own queue only */
  layOut(record: Buffer): Buffer | undefined {
    const parts = this.#parts;
    parts.locate(record, 0);
    const { propertiesStart, propertiesEnd, topicStart, topicEnd } = parts;
    if (!this.#scan.find(record, propertiesStart, propertiesEnd, NAMES)) return undefined;
    const topic = record.toString("utf8", topicStart, topicEnd);
    const names = mayDispatch(topic) ? dispatchNames(record.toString("latin1", this.#scan.start, this.#scan.end)) : undefined;
    if (names === undefined || queueNameFault(topic) !== undefined) return undefined;
    if (propertiesEnd - propertiesStart + multiDispatchGrowth(names.length) > PROPERTIES_SIZE_MAX) return undefined;
    const slots: number[] = [];
    for (const name of names) {
      const slot = this.#slotOf(name);
      if (slot === undefined) return undefined;
      slots.push(slot);
    }
    return withOffsetRoom(record, slots);
  }
}
