// A message of a send request becomes a record in its final form: head, body with its CRC, properties.
import { encodeHost } from "../../src/format/record/message.ts";
import { finishRecord, writeRecordHead } from "../../src/format/record/record-writer.ts";
import { RecordProperties } from "../../src/remoting/send/record-properties.ts";
import { runBench, type Task } from "./harness.ts";
import { laneRecord, PROPERTIES, STORE_HOST, TOPIC } from "./samples.ts";

const target = Buffer.alloc(16_384);
const topic = Buffer.from(TOPIC);
const bornHost = encodeHost("10.1.2.4:50000");
const storeHost = encodeHost(STORE_HOST);
const text = Buffer.from(PROPERTIES);
const properties = new RecordProperties();
let work = 0;

const tasks: Record<string, Task> = {
  "properties alone: find the unique key, nothing special": () => {
    properties.scan(text, 0, text.length);
    work += properties.keyEnd - properties.keyStart;
  },
};
for (const size of [128, 1024, 4096]) {
  const body = Buffer.alloc(size, "a body of a message ");
  tasks[`head, ${size} B body and its CRC`] = () => {
    work += writeRecordHead(target, 0, 3, 0, 0, 1_795_103_125_571, bornHost, storeHost, 0, body, 0, size, topic);
  };
  tasks[`whole record, ${size} B body`] = () => {
    const propertiesAt = 2 + writeRecordHead(target, 0, 3, 0, 0, 1_795_103_125_571, bornHost, storeHost, 0, body, 0, size, topic);
    const end = propertiesAt + text.copy(target, propertiesAt);
    properties.scan(target, propertiesAt, end);
    finishRecord(target, 0, propertiesAt, end);
    work += end + properties.keyEnd;
  };
}
if (laneRecord(1024).length !== 91 + 1024 + topic.length + text.length) throw new Error("the sample record is not as expected");
await runBench("record encode", tasks, () => work);
