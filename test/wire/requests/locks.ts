import type { Recorder } from "../recorder.ts";

/** Queue locks of orderly consumption. */
export async function locks(r: Recorder): Promise<void> {
  const queue = (queueId: number, topic = "lk-T") => ({ brokerName: "broker-a", queueId, topic });
  const body = (clientId: string, queues: object[], more: object = {}) => {
    return { body: { clientId, consumerGroup: "lk-g", mqSet: queues, onlyThisBroker: false, ...more } };
  };
  await r.ask("c1", 41, {}, body("one", [queue(0), queue(1)]));
  await r.ask("c2", 41, {}, body("two", [queue(1), queue(2)]));
  await r.ask("c1", 41, {}, body("one", [queue(1), queue(2)]));
  await r.ask("c1", 41, {}, body("one", []));
  await r.ask("c2", 41, {}, body("two", [queue(0)], { consumerGroup: "lk-other" }));
  r.note("only one's own locks can be given up");
  await r.ask("c2", 42, {}, body("two", [queue(0), queue(2)]));
  await r.ask("c1", 41, {}, body("one", [queue(2)]));
  await r.ask("c2", 41, {}, body("two", [queue(0), queue(1)]));
  await r.ask("c1", 42, {}, body("one", [queue(0), queue(1), queue(2)]));
  await r.ask("c2", 41, {}, body("two", [queue(0), queue(1), queue(2)]));
  await r.ask("c2", 42, {}, body("two", [queue(9)]));
  await r.ask("c2", 42, {}, body("two", [queue(0)], { consumerGroup: "lk-none" }));
  r.note("bad bodies");
  await r.ask("c2", 41);
  await r.ask("c2", 42);
  await r.ask("c2", 41, {}, { body: "{" });
}
