import { PERM_READ, PERM_WRITE, TOPIC_UNIT, TOPIC_UNIT_SUB, type TopicConfig } from "../format/topic-config.ts";

/** What one broker offers of one topic. Source: Apache `QueueData`. */
export interface QueueData {
  brokerName: string;
  perm: number;
  readQueueNums: number;
  topicSysFlag: number;
  writeQueueNums: number;
}

/** Which brokers hold which topics, and with how many queues. Part of RouteTable. */
export class TopicQueues {
  /** Topic to broker name to queues; no topic without a broker. */
  readonly #topics: Map<string, Map<string, QueueData>> = new Map();

  names(): string[] {
    return [...this.#topics.keys()];
  }

  namesOfBroker(brokerName: string): string[] {
    return this.#namesWhere((brokers) => brokers.has(brokerName));
  }

  namesOfBrokers(brokerNames: ReadonlySet<string>): string[] {
    return this.#namesWhere((brokers) => [...brokers.keys()].some((brokerName) => brokerNames.has(brokerName)));
  }

  has(topic: string, brokerName: string): boolean {
    return this.#topics.get(topic)?.has(brokerName) === true;
  }

  /** Copies: the caller may change them. */
  of(topic: string): QueueData[] | undefined {
    const brokers = this.#topics.get(topic);
    return brokers === undefined ? undefined : [...brokers.values()].map((queues) => ({ ...queues }));
  }

  set(topic: string, queues: QueueData): void {
    let brokers = this.#topics.get(topic);
    if (brokers === undefined) {
      brokers = new Map();
      this.#topics.set(topic, brokers);
    }
    brokers.set(queues.brokerName, queues);
  }

  setFromConfig(brokerName: string, config: TopicConfig, perm: number): void {
    const { readQueueNums, writeQueueNums, topicSysFlag, topicName } = config;
    this.set(topicName, { brokerName, perm, readQueueNums, topicSysFlag, writeQueueNums });
  }

  delete(topic: string): void {
    this.#topics.delete(topic);
  }

  deleteOfBrokers(topic: string, brokerNames: Iterable<string>): void {
    const brokers = this.#topics.get(topic);
    if (brokers === undefined) return;
    for (const brokerName of brokerNames) brokers.delete(brokerName);
    if (brokers.size === 0) this.#topics.delete(topic);
  }

  deleteBrokers(brokerNames: ReadonlySet<string>): void {
    if (brokerNames.size === 0) return;
    for (const topic of this.#topics.keys()) this.deleteOfBrokers(topic, brokerNames);
  }

  /** @returns number of topics that the broker holds */
  wipeWritePerm(brokerName: string): number {
    return this.#changePerm(brokerName, (perm) => perm & ~PERM_WRITE);
  }

  /** @returns number of topics that the broker holds */
  addWritePerm(brokerName: string): number {
    return this.#changePerm(brokerName, () => PERM_READ | PERM_WRITE);
  }

  /** Topics whose flags, as the first broker that registered them tells, hold all of `set` and none of `clear`. */
  namesByFlag(set: number, clear: number): string[] {
    return this.#namesWhere((brokers) => {
      const [first] = brokers.values();
      const flags = first?.topicSysFlag ?? 0;
      return (flags & set) === set && (flags & clear) === 0;
    });
  }

  unitTopics(): string[] {
    return this.namesByFlag(TOPIC_UNIT, 0);
  }

  unitSubTopics(): string[] {
    return this.namesByFlag(TOPIC_UNIT_SUB, 0);
  }

  unitSubNotUnitTopics(): string[] {
    return this.namesByFlag(TOPIC_UNIT_SUB, TOPIC_UNIT);
  }

  #namesWhere(matches: (brokers: Map<string, QueueData>) => boolean): string[] {
    return [...this.#topics].filter(([, brokers]) => matches(brokers)).map(([topic]) => topic);
  }

  #changePerm(brokerName: string, change: (perm: number) => number): number {
    let count = 0;
    for (const brokers of this.#topics.values()) {
      const queues = brokers.get(brokerName);
      if (queues === undefined) continue;
      queues.perm = change(queues.perm);
      count++;
    }
    return count;
  }
}
