// Goal: the guard names what got worse by more than its noise, and nothing else; the raw generator's requests are what
// brokers read, and its answers are read as brokers write them.
import test from "ava";
import { compare } from "../../bench/guard/compare.ts";
import { htmlReport } from "../../bench/report/html.ts";
import { spreadOf } from "../../bench/report/median.ts";
import { crc32c, KafkaFetches, KafkaProduces } from "../../bench/wire/kafka.ts";
import { Answer, TOKEN_MIN } from "../../bench/wire/protocol.ts";
import { RedisAdds } from "../../bench/wire/redis.ts";
import { RemotingSends } from "../../bench/wire/remoting.ts";
import { decodeCommand } from "../../src/format/remoting/remoting-command.ts";
import { sendRequestOf, subMessagesOf } from "../../src/format/remoting/send-request.ts";

const figure = (name: string, ...values: number[]) => ({ name, unit: "ns", values });

test("worse, better, the same, new and gone", (t) => {
  const baseline = [figure("steady", 100, 101, 102), figure("noisy", 100, 140, 150), figure("fast", 100, 100), figure("gone", 1)];
  const now = [figure("steady", 110, 111, 112), figure("noisy", 130, 131, 160), figure("fast", 80, 80), figure("new", 5)];
  const kinds = Object.fromEntries(compare(baseline, now).map(({ name, kind }) => [name, kind]));
  t.deepEqual(kinds, { steady: "worse", noisy: "same", fast: "better", new: "new", gone: "gone" });
});

test("one disturbed run of several does not count as worse", (t) => {
  t.is(compare([figure("a", 100, 101, 102)], [figure("a", 100, 103, 900)])[0]!.kind, "same");
});

test("medians and spread", (t) => {
  t.deepEqual(spreadOf([3, 1, 2, 10]), { median: 2.5, min: 1, max: 10 });
  t.is(spreadOf([Number.NaN]), undefined);
});

test("a send of the generator is one that RocketMQ's clients could have made", (t) => {
  const sends = new RemotingSends({ protocol: "remoting", topic: "T", queues: 3, size: 100, batch: 5 });
  const frame = Buffer.concat([sends.head(2, TOKEN_MIN + 77), sends.tail]);
  t.is(sends.answerSize(frame, 0, frame.length), frame.length);
  t.is(sends.answerSize(frame, 0, frame.length - 1), 0);
  const command = decodeCommand(frame);
  t.is(command.opaque, TOKEN_MIN + 77);
  t.like(sendRequestOf(command), { topic: "T", queueId: 2, batch: true });
  const messages = subMessagesOf(command.body)!;
  t.deepEqual(messages.map(({ body }) => body.length), [100, 100, 100, 100, 100]); // biome-ignore format: one claim.
  const answer = new Answer();
  sends.answer(frame, 0, frame.length, answer);
  t.is(answer.token, TOKEN_MIN + 77);
});

test("Kafka: the record batch is whole, and answers are read", (t) => {
  t.is(crc32c(Buffer.from("123456789")), 0xe306_9283);
  const produces = new KafkaProduces({ protocol: "kafka", topic: "topic", queues: 2, size: 100, batch: 7 });
  const batch = produces.tail;
  t.is(batch.readInt32BE(8), batch.length - 12);
  t.is(batch.readUInt32BE(17), crc32c(batch.subarray(21)));
  t.is(batch.readInt32BE(57), 7);
  const head = produces.head(1, TOKEN_MIN);
  t.is(head.readInt32BE(0), head.length - 4 + batch.length);
  const both = new KafkaProduces({ protocol: "kafka", topic: "topic", queues: 4, size: 100, batch: 7, partitionsAtOnce: 2 });
  t.like(both, { targets: 2, messagesPerRequest: 14, bodyBytesPerRequest: 1400 });
  const request = Buffer.concat([both.head(1, TOKEN_MIN), both.tail, ...both.more(1)]);
  t.is(request.readInt32BE(0), request.length - 4);
  // … topic, partitions [index, size, batch]
  const first = request.indexOf("topic") + 5 + 4;
  const second = first + 8 + batch.length;
  t.deepEqual([first - 4, first, first + 4, second, second + 4].map((at) => request.readInt32BE(at)), [2, 2, batch.length, 3, batch.length]); // biome-ignore format: one claim.
  // size, correlation id, [topic, [partition, error, offset, time]]: the second one refuses.
  const refusal = Buffer.alloc(8 + 4 + 2 + 5 + 4 + 2 * 22);
  refusal.writeInt16BE(5, 12);
  refusal.writeInt16BE(6, 8 + 4 + 2 + 5 + 4 + 22 + 4);
  const refused = new Answer();
  both.answer(refusal, 0, refusal.length, refused);
  t.like(refused, { isOk: false, remark: "error code 6" });
  // A fetch of that batch: size, correlation id, throttle, [topic, [partition, error, high, stable, aborted, records]].
  const fields = Buffer.alloc(12 + 4 + 2 + 5 + 4 + 4 + 2 + 16 + 4 + 4);
  fields.writeInt32BE(TOKEN_MIN + 5, 4);
  fields.writeInt32BE(1, 12);
  fields.writeInt16BE(5, 16);
  fields.write("topic", 18);
  fields.writeInt32BE(1, 23);
  fields.writeInt32BE(-1, 49);
  fields.writeInt32BE(batch.length, 53);
  const frame = Buffer.concat([fields, batch]);
  frame.writeInt32BE(frame.length - 4, 0);
  const fetches = new KafkaFetches({ protocol: "kafka", topic: "topic", queues: 2, size: 100, batch: 7 });
  const answer = new Answer();
  t.is(fetches.answerSize(frame, 0, frame.length), frame.length);
  fetches.answer(frame, 0, frame.length, answer);
  t.like(answer, { token: TOKEN_MIN + 5, isOk: true, messages: 7, nextOffset: 7, bytes: batch.length });
});

test("Redis: answers, whole and in pieces", (t) => {
  const adds = new RedisAdds({ protocol: "redis", topic: "s", queues: 1, size: 3, batch: 1 });
  t.true(
    Buffer.concat([adds.head(0), adds.tail])
      .toString()
      .startsWith("*5\r\n$4\r\nXADD\r\n$3\r\ns-0\r\n$1\r\n*\r\n$1\r\nb\r\n$3\r\n"),
  );
  const bytes = Buffer.from("$15\r\n1700000000000-0\r\n-ERR no\r\n$15\r\n17");
  t.is(adds.answerSize(bytes, 0, bytes.length), 22);
  t.is(adds.answerSize(bytes, 22, bytes.length), 9);
  t.is(adds.answerSize(bytes, 31, bytes.length), 0);
  const answer = new Answer();
  adds.answer(bytes, 22, 31, answer);
  t.like(answer, { isOk: false, remark: "-ERR no" });
});

test("a report stands for itself", (t) => {
  const plot = { kind: "bar" as const, title: "</script><b>", x: ["a"], yTitle: "y", series: [{ label: "l", values: [1] }] };
  const html = htmlReport("T", "S", [{ heading: "<H>", plots: [plot] }], { text: "</script>" });
  t.false(/<(script|link|img)[^>]*(src|href)=/.test(html));
  t.true(html.includes("&lt;H&gt;"));
  t.is(html.split("</script>").length, 5, "nothing in the data ends a script");
  t.true(html.length > 200_000, "the library is within");
});
