import test from "ava";
import fc from "fast-check";
import { MillraceError } from "../../../src/base/errors.ts";
import { readSendResponse } from "../../../src/client/produce/send-response.ts";
import { encodeCommand, request, response } from "../../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../../src/format/remoting/remoting-frame.ts";

const to = request(310, 7);
const word = fc.oneof(
  fc.stringMatching(/^[0-9A-F,]{1,40}$/),
  fc.string({ minLength: 1 }),
  fc.constantFrom('"queueId":"9', 'a"b', "back\\slash", "ü"),
);

// Goal: the quick look at an answer finds what a whole decode finds.
for (const type of [SERIALIZE_JSON, SERIALIZE_ROCKETMQ]) {
  test(`answers are read as they were written, header type ${type}`, (t) => {
    const property = fc.property(
      fc.constantFrom(0, 10, 11, 12),
      fc.option(word, { nil: undefined }),
      fc.record({ msgId: fc.stringMatching(/^[0-9A-F,]{1,40}$/), queueId: fc.nat(1_000), queueOffset: fc.nat(2 ** 40) }),
      fc.dictionary(fc.constantFrom("transactionId", "recallHandle", "MSG_REGION", "TRACE_ON", "x"), word, {
        noNullPrototype: true,
      }),
      fc.nat(20),
      (code, remark, fields, more, before) => {
        // Empty and non-ASCII values of our own fields do not occur; the region is free text.
        const extra = { ...more };
        for (const name of ["transactionId", "recallHandle"]) {
          if (/[^\x20-\x7e]/.test(extra[name] ?? "")) delete extra[name];
        }
        const frame = encodeCommand(response(to, code, remark, { ...extra, ...fields }), type);
        const bytes = Buffer.concat([Buffer.alloc(before), frame, Buffer.from('"queueOffset":"5"')]);
        t.deepEqual(readSendResponse(bytes, before, before + frame.length), {
          status: { 0: "SEND_OK", 10: "FLUSH_DISK_TIMEOUT", 11: "SLAVE_NOT_AVAILABLE", 12: "FLUSH_SLAVE_TIMEOUT" }[code],
          offsetMsgId: fields.msgId,
          queueId: fields.queueId,
          queueOffset: fields.queueOffset,
          transactionId: extra["transactionId"],
          recallHandle: extra["recallHandle"],
        } as ReturnType<typeof readSendResponse>);
      },
    );
    t.notThrows(() => fc.assert(property, { numRuns: 300 }));
  });

  test(`refusals and answers that lack something are errors, header type ${type}`, (t) => {
    const refused = encodeCommand(response(to, 13, "too large"), type);
    const error = readSendResponse(refused, 0, refused.length);
    t.true(error instanceof MillraceError && error.code === "MILLRACE_REQUEST_FAILED" && error.details["responseCode"] === 13);
    for (const fields of [{}, { msgId: "m", queueId: 1 }, { queueId: 1, queueOffset: 2 }]) {
      const frame = encodeCommand(response(to, 0, undefined, fields), type);
      const lacking = readSendResponse(frame, 0, frame.length);
      t.true(lacking instanceof MillraceError && lacking.code === "MILLRACE_PROTOCOL");
    }
    const garbage = encodeCommand(response(to, 0), type);
    garbage.fill(0xff, 8);
    t.true(readSendResponse(garbage, 0, garbage.length) instanceof MillraceError);
  });
}
