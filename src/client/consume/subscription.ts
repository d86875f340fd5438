import { javaHash } from "../../base/java-hash.ts";
import { invalidOption } from "../options.ts";

/** What to receive of a topic: tags (`*`, or `A || B`), or an SQL92 expression over the properties. */
export type SubscriptionExpression = string | { sql: string };

export const ALL_TAGS = "*";

/** One topic that a group subscribes to. `toJSON` has the shape of Apache's `SubscriptionData`. */
export class Subscription {
  readonly topic: string;
  readonly expression: string;
  readonly expressionType: "TAG" | "SQL92";
  /** Brokers take the newest of several versions; ms. */
  readonly version: number;
  readonly #tags: ReadonlySet<string>;

  /** @throws MillraceError MILLRACE_CONFIG_INVALID. Source of the grammar: Apache `FilterAPI.buildSubscriptionData` */
  constructor(topic: string, expression: SubscriptionExpression, version: number) {
    this.topic = topic;
    this.version = version;
    if (typeof expression === "object") {
      if (typeof expression.sql !== "string" || expression.sql.trim() === "") {
        throw invalidOption("expression", expression.sql, 'tags ("*", "A || B"), or { sql: "..." }');
      }
      this.expression = expression.sql;
      this.expressionType = "SQL92";
      this.#tags = new Set();
      return;
    }
    if (typeof expression !== "string") throw invalidOption("expression", expression, 'tags ("*", "A || B"), or { sql: "..." }');
    const text = expression.trim();
    const tags = text.split("||").map((tag) => tag.trim());
    this.expressionType = "TAG";
    this.expression = text === "" ? ALL_TAGS : text;
    this.#tags = this.expression === ALL_TAGS ? new Set() : new Set(tags.filter((tag) => tag !== ""));
    if (this.expression !== ALL_TAGS && this.#tags.size === 0) {
      throw invalidOption("expression", expression, 'tags ("*", "A || B"), or { sql: "..." }');
    }
  }

  /** Brokers compare hashes only, so the text must be compared again here. */
  get needsTagCheck(): boolean {
    return this.#tags.size > 0;
  }

  matches(tags: string | undefined): boolean {
    return this.#tags.size === 0 || (tags !== undefined && this.#tags.has(tags));
  }

  toJSON(): object {
    const tags = [...this.#tags];
    return {
      classFilterMode: false,
      codeSet: tags.map((tag) => javaHash(tag)),
      expressionType: this.expressionType,
      subString: this.expression,
      subVersion: this.version,
      tagsSet: tags,
      topic: this.topic,
    };
  }
}

/** Retry topic of a consumer group. */
export function retryTopic(group: string): string {
  return `%RETRY%${group}`;
}
