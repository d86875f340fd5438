// Header of a SEND_MESSAGE_V2 request: JSON as the Java client writes it, and binary; beside decodeCommand.
import {
  FIELD_BORN_TIMESTAMP,
  FIELD_PROPERTIES,
  FIELD_QUEUE_ID,
  FIELD_TOPIC,
  HeaderScan,
} from "../../src/format/remoting/header-scan.ts";
import { decodeCommand } from "../../src/format/remoting/remoting-command.ts";
import { runBench } from "./harness.ts";
import { SEND_HEADER, sendFrame } from "./samples.ts";

const { json, binary } = sendFrame(1024);
const scan = new HeaderScan();
const target = Buffer.alloc(1024);
let work = 0;

/** What a send handler asks for. */
function readFields(): void {
  work += scan.rawEnd(FIELD_TOPIC) + scan.integer(FIELD_QUEUE_ID) + scan.integer(FIELD_BORN_TIMESTAMP) + scan.opaque;
}

await runBench(
  `header scan, ${SEND_HEADER.length} B JSON`,
  {
    "scan JSON": () => {
      if (!scan.scan(json, 0)) throw new Error("scan refused the header");
      work += scan.opaque;
    },
    "scan JSON, read 3 fields, unescape the properties": () => {
      scan.scan(json, 0);
      readFields();
      work += scan.copyText(FIELD_PROPERTIES, target, 0);
    },
    "scan binary": () => {
      if (!scan.scan(binary, 0)) throw new Error("scan refused the header");
      work += scan.opaque;
    },
    "scan binary, read 3 fields, copy the properties": () => {
      scan.scan(binary, 0);
      readFields();
      work += scan.copyText(FIELD_PROPERTIES, target, 0);
    },
    "decodeCommand JSON": () => {
      work += decodeCommand(json).opaque;
    },
    "decodeCommand binary": () => {
      work += decodeCommand(binary).opaque;
    },
  },
  () => work,
);
