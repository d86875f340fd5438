// Answers to a send and a pull as templates, beside encodeCommand.
import { encodeHost } from "../../src/format/record/message.ts";
import { encodeCommand } from "../../src/format/remoting/remoting-command.ts";
import { SendResponseWriter, writeEmptyResponse, writePullResponse } from "../../src/format/remoting/send-response.ts";
import { runBench } from "./harness.ts";

const writer = new SendResponseWriter(encodeHost("10.1.2.3:10911"), "DefaultRegion", true);
const key = Buffer.from("FD0000000000000000000000000000019C2D4E0E2F2A67B00000".slice(0, 32));
const sizes = new Int32Array(32).fill(1200);
const keys = new DataView(key.buffer, key.byteOffset, key.length);
const target = Buffer.alloc(8192);
const view = new DataView(target.buffer, target.byteOffset, target.length);
let opaque = 100_000;
let physicalOffset = 12_345_678_901;
let work = 0;

await runBench(
  "responses",
  {
    "send response": () => {
      physicalOffset += 1200;
      work += writer.single(target, view, 0, 0, opaque++, 3, 123_456, physicalOffset, keys, 0, key.length);
    },
    "send response, batch of 32": () => {
      physicalOffset += 1200 * 32;
      work += writer.batch(target, view, 0, 0, opaque++, 3, 123_456, physicalOffset, sizes, sizes.length);
    },
    "pull response": () => {
      work += writePullResponse(target, 0, 0, opaque++, "FOUND", 0, 123_456, 0, 234_567, 0, 0, 32_000);
    },
    "empty response": () => {
      work += writeEmptyResponse(target, 0, opaque++);
    },
    "send response by encodeCommand": () => {
      const extFields = {
        MSG_REGION: "DefaultRegion",
        TRACE_ON: "true",
        msgId: "0A01020300002A9F0000000000001000",
        queueId: "3",
        queueOffset: "123456",
      };
      const body = Buffer.alloc(0);
      work += encodeCommand({ code: 0, language: "JAVA", version: 513, opaque: opaque++, flag: 1, extFields, body }).length;
    },
  },
  () => work,
);
