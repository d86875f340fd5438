import { MillraceError } from "../base/errors.ts";
import type { DecodedMessage } from "../format/record/message.ts";
import { chooseDrive } from "../os/choose.ts";
import { type Inspected, StoreInspector } from "../store/verify/inspect.ts";
import { Findings } from "../store/verify/verify-findings.ts";
import { readLayout } from "../store/verify/verify-layout.ts";
import { type StoreFlags, storeFromFlags } from "./store-flags.ts";
import { wholeNumber } from "./whole-number.ts";

export interface InspectFlags extends StoreFlags {
  offset?: string;
  topic?: string;
  queue?: string;
  from?: string;
  count?: string;
}

/** Of a body, in the readable form. */
const BODY_SHOWN_MAX = 2000;

/** `millrace inspect`: shows records of a store. Exit code 1 if one of them cannot be read. */
export async function inspect(store: string, flags: InspectFlags): Promise<void> {
  if ((flags.offset === undefined) === (flags.topic === undefined)) {
    throw new MillraceError("MILLRACE_CONFIG_INVALID", "give either --offset, or --topic with --queue", {});
  }
  const options = storeFromFlags(store, flags);
  const { drive } = await chooseDrive(options.nativeFree);
  const inspector = new StoreInspector(drive, readLayout(drive, options, new Findings()));
  const form = flags.json === true ? asJson : asText;
  try {
    let count = 0;
    for (const found of wanted(inspector, flags)) {
      count++;
      if (found.fault !== undefined) process.exitCode = 1;
      process.stdout.write(form(found));
    }
    if (count === 0) process.stderr.write("no such records\n");
  } finally {
    inspector.close();
  }
}

function wanted(inspector: StoreInspector, { offset, topic, queue, from, count }: InspectFlags): Iterable<Inspected> {
  const max = Number.MAX_SAFE_INTEGER;
  if (topic === undefined) return [inspector.at(wholeNumber("--offset", offset!, 0, max))];
  return inspector.queue(
    topic,
    wholeNumber("--queue", queue ?? "0", 0, 999_999_999),
    from === undefined ? undefined : wholeNumber("--from", from, 0, max),
    wholeNumber("--count", count ?? "10", 1, max),
  );
}

function asJson({ physicalOffset, queueOffset, message, fault }: Inspected): string {
  if (message === undefined) return `${JSON.stringify({ physicalOffset, queueOffset, fault })}\n`;
  const { properties, body, ...fields } = message;
  const text = textOf(body);
  return `${JSON.stringify({
    ...fields,
    properties: Object.fromEntries(properties),
    ...(text === undefined ? { bodyBase64: body.toString("base64") } : { body: text }),
  })}\n`;
}

function asText({ physicalOffset, queueOffset, message, fault }: Inspected): string {
  if (message !== undefined) return readable(message);
  const place = queueOffset === undefined ? "" : `queueOffset ${queueOffset}: `;
  return `${place}no record at physicalOffset ${physicalOffset}: ${fault}\n\n`;
}

function readable(message: DecodedMessage): string {
  const { topic, queueId, queueOffset, physicalOffset, size, properties, body } = message;
  const time = (ms: number): string => (Number.isFinite(new Date(ms).getTime()) ? new Date(ms).toISOString() : String(ms));
  const text = textOf(body);
  const whole = text ?? body.toString("hex");
  const shown = whole.slice(0, BODY_SHOWN_MAX);
  const rest = whole.length > BODY_SHOWN_MAX ? " …" : "";
  return [
    `${topic}/${queueId} queueOffset ${queueOffset}, physicalOffset ${physicalOffset}, ${size} bytes`,
    `  born   ${time(message.bornTimestamp)} at ${message.bornHost}`,
    `  stored ${time(message.storeTimestamp)} at ${message.storeHost}`,
    `  flag ${message.flag}, sysFlag 0x${message.sysFlag.toString(16)}, reconsumeTimes ${message.reconsumeTimes}, ` +
      `bodyCrc 0x${(message.bodyCrc >>> 0).toString(16)}, preparedTransactionOffset ${message.preparedTransactionOffset}`,
    // Quoted, so that nothing in a message can move the cursor of who looks at it.
    ...[...properties].map(([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(value)}`),
    `  body, ${body.length} bytes${text === undefined ? " (hex)" : ""}: ${text === undefined ? shown : JSON.stringify(shown)}${rest}`,
    "",
    "",
  ].join("\n");
}

/** The body as text, if it is UTF-8. As stored: compressed ones are not. */
function textOf(body: Buffer): string | undefined {
  const text = body.toString("utf8");
  return Buffer.from(text).equals(body) ? text : undefined;
}
