import { RecordParts } from "../format/record/message.ts";
import { PROPERTY } from "../format/record/properties.ts";
import { PropertyScan } from "../format/record/property-scan.ts";
import { messageFilter } from "./entry-filter.ts";
import type { MessageFilter } from "./message-filter.ts";

const RETRY_TOPIC = Buffer.from(PROPERTY.RETRY_TOPIC);

/**
 * For a retry topic: asks the filter that the group has for the topic which the message came from. One that came from another
 * topic passes. Source: Apache `ExpressionForRetryMessageFilter`.
 */
export class RetryFilter implements MessageFilter {
  readonly #byTopic: ReadonlyMap<string, MessageFilter>;
  readonly #parts = new RecordParts();
  readonly #scan = new PropertyScan();

  constructor(filters: readonly { topic: string; expressionType: string; expression: string }[]) {
    this.#byTopic = new Map(
      filters.map(({ topic, expressionType, expression }) => [topic, messageFilter(expressionType, expression)]),
    );
  }

  get steps(): number {
    let steps = 0;
    for (const filter of this.#byTopic.values()) steps += filter.steps;
    return steps;
  }

  matches(record: Buffer, at: number): boolean {
    this.#parts.locate(record, at);
    return this.matchesProperties(record, this.#parts.propertiesStart, this.#parts.propertiesEnd);
  }

  matchesProperties(properties: Buffer, start: number, end: number): boolean {
    const topic = this.#scan.find(properties, start, end, RETRY_TOPIC)
      ? properties.toString("utf8", this.#scan.start, this.#scan.end)
      : "";
    return this.#byTopic.get(topic)?.matchesProperties(properties, start, end) ?? true;
  }
}
