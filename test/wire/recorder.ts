import { MillraceError } from "../../src/base/errors.ts";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { type DecodedMessage, decodeMessages } from "../../src/format/record/message.ts";
import { physicalOffsetOf } from "../../src/format/record/message-id.ts";
import { decodeProperties } from "../../src/format/record/properties.ts";
import {
  EMPTY_BODY,
  type HeaderValues,
  type RemotingCommand,
  request,
  response,
} from "../../src/format/remoting/remoting-command.ts";
import { parseJson } from "../../src/format/text/fastjson.ts";

/** How a request is made, and what is shown of it and of its answer. */
export interface Asking {
  body?: Buffer | string | object;
  /** MQVersion ordinal of the sender. Default 513. */
  version?: number;
  oneway?: boolean;
  /** Header fields and body members whose values differ from run to run. */
  hide?: readonly string[];
  /** What is shown of the answer's body. Default: JSON, read and sorted; */
  show?: "json" | "text" | "records" | "nothing" | ((body: Buffer) => unknown);
}

/** Requests that brokers send to clients. */
const PUSHED = [39, 40, 220, 221, 307, 309, 326];
/** Those whose body is a message. */
const RECORD_PUSHED: ReadonlySet<number> = new Set([39, 309]);
const TIMEOUT_MS = 15_000;
const PATIENCE_MS = 15_000;
const POLL_MS = 50;
/** Until a broker has seen that a connection is closed. */
const HANG_UP_MS = 250;

export type HeaderForm = "json" | "binary";

/**
 * Sends requests to a broker over several connections and keeps requests and answers as lines of text, in which
 * whatever differs between two runs on the same broker does not show: times, ports, positions in the log, and the order of
 * lists and members, which is a hash map's in Java.
 */
export class Recorder {
  readonly lines: string[] = [];
  readonly address: string;
  readonly #clients = new Map<string, RemotingClient>();
  readonly #settleMs: number;
  readonly #header: HeaderForm;
  readonly #pushed: string[] = [];
  readonly #commands: RemotingCommand[] = [];
  /** Answers to what the broker asks a client, by its name and the code. */
  readonly #answers = new Map<string, object>();
  /** Codes of answers that refuse, likewise. */
  readonly #refusals = new Map<string, number>();

  /** @param settleMs how long the broker may take to tell other clients what a request has changed */
  constructor(address: string, settleMs: number, header: HeaderForm = "json") {
    this.address = address;
    this.#header = header;
    this.#settleMs = settleMs;
  }

  #client(who: string): RemotingClient {
    let client = this.#clients.get(who);
    if (client === undefined) {
      client = new RemotingClient({ header: this.#header });
      for (const code of PUSHED) client.handle(code, (command) => this.#onPushed(who, command));
      this.#clients.set(who, client);
    }
    return client;
  }

  #onPushed(who: string, command: RemotingCommand): RemotingCommand | undefined {
    const body = bodyText(command.body, { show: RECORD_PUSHED.has(command.code) ? "records" : "json" });
    const { properties } = command.extFields;
    const fields =
      properties === undefined ? command.extFields : { ...command.extFields, properties: decodeProperties(properties) };
    this.#pushed.push(`  -> ${who} ${command.code} ${text(fields, ["commitLogOffset"])} ${body}`.trimEnd());
    this.#commands.push(command);
    const refusal = this.#refusals.get(`${who} ${command.code}`);
    if (refusal !== undefined) return response(command, refusal, "no");
    const answer = this.#answers.get(`${who} ${command.code}`);
    if (answer === undefined) return response(command, 0);
    return response(command, 0, undefined, {}, Buffer.from(JSON.stringify(answer)));
  }

  /** What connection `who` answers with when the broker sends it `code`. */
  answerWith(who: string, code: number, body: object): void {
    this.#answers.set(`${who} ${code}`, body);
  }

  /** With which response code connection `who` refuses what the broker sends it as `code`. */
  refuseWith(who: string, code: number, responseCode: number): void {
    this.#refusals.set(`${who} ${code}`, responseCode);
  }

  async ask(who: string, code: number, header: HeaderValues = {}, asking: Asking = {}): Promise<RemotingCommand | undefined> {
    const command = request(code, 0, header, bytesOf(asking.body));
    if (asking.version !== undefined) command.version = asking.version;
    const { hide = [] } = asking;
    const body =
      typeof asking.body === "string"
        ? ` ${JSON.stringify(asking.body)}`
        : asking.body === undefined || Buffer.isBuffer(asking.body)
          ? ""
          : ` ${text(asking.body, hide)}`;
    this.lines.push(`${who} ${code} ${text(header, hide)}${body}`);
    if (asking.oneway === true) {
      this.#client(who).invokeOneway(this.address, command);
      return undefined;
    }
    let answer: RemotingCommand;
    try {
      answer = await this.#client(who).invoke(this.address, command, TIMEOUT_MS);
    } catch (error) {
      this.lines.push(`  ${error instanceof MillraceError ? error.code : String(error)}`);
      return undefined;
    }
    const fields = text(answer.extFields, hide);
    this.lines.push(`  ${answer.code} ${remarkText(answer)} ${fields} ${bodyText(answer.body, asking)}`.trimEnd());
    return answer;
  }

  /** A heading for the reader. */
  note(words: string): void {
    this.lines.push(`# ${words}`);
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** A request that does not show; undefined when nobody answered. */
  async quietly(
    who: string,
    code: number,
    header: HeaderValues = {},
    body: Buffer = EMPTY_BODY,
  ): Promise<RemotingCommand | undefined> {
    try {
      return await this.#client(who).invoke(this.address, request(code, 0, header, body), TIMEOUT_MS);
    } catch {
      return undefined;
    }
  }

  /** Waits until an answer to the request is as wanted. */
  async until(code: number, header: HeaderValues, isThere: (answer: RemotingCommand) => boolean): Promise<void> {
    for (let tries = 0; tries < PATIENCE_MS / POLL_MS; tries++) {
      const answer = await this.quietly("waiter", code, header);
      if (answer !== undefined && isThere(answer)) return;
      await this.wait(POLL_MS);
    }
    throw new Error(`waited in vain: ${code} ${JSON.stringify(header)}`);
  }

  /** Waits for the next request of that code that the broker sends to a client. */
  async pushed(code: number, patienceMs: number): Promise<RemotingCommand> {
    for (let waited = 0; waited < patienceMs; waited += POLL_MS) {
      const at = this.#commands.findIndex((command) => command.code === code);
      if (at >= 0) return this.#commands.splice(0, at + 1).at(-1)!;
      await this.wait(POLL_MS);
    }
    throw new Error(`waited in vain for ${code}`);
  }

  /** Shows what the broker sent to clients meanwhile; equal ones once. */
  async settle(): Promise<void> {
    // What was sent on a connection before the answer has come before it.
    await Promise.all([...this.#clients.keys()].map((who) => this.quietly(who, 38, { consumerGroup: "none" })));
    await this.wait(this.#settleMs);
    this.lines.push(...[...new Set(this.#pushed)].sort());
    this.#pushed.length = 0;
  }

  async hangUp(who: string): Promise<void> {
    this.lines.push(`${who} hangs up`);
    await this.#clients.get(who)?.close();
    this.#clients.delete(who);
    await this.wait(HANG_UP_MS);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }
}

function bytesOf(body: Asking["body"]): Buffer {
  if (body === undefined) return EMPTY_BODY;
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}

/** An exception's text is Java's own business. */
function remarkText({ remark, code }: RemotingCommand): string {
  // Some of Apache's answers carry this text although they are successes.
  if (remark === undefined || remark === "" || (code === 0 && remark === "not set any response code")) return '""';
  if (code === 1 && /Exception|\.java|^Cannot invoke/.test(remark)) return "*";
  return JSON.stringify(neutral(remark.split("\n")[0]!.trim()));
}

function bodyText(body: Buffer, { show = "json", hide = [] }: Asking): string {
  if (body.length === 0 || show === "nothing") return "";
  if (show === "text") return JSON.stringify(neutral(body.toString()));
  if (show === "records")
    return decodeMessages(body)
      .map((message) => text(shown(message), hide))
      .join("\n    ");
  if (typeof show === "function") return text(show(body), hide);
  if (!/^[[{]/.test(body.toString("latin1", 0, 1))) return `${body.length} bytes`;
  let form = "standard";
  try {
    JSON.parse(body.toString());
  } catch {
    form = "dialect";
  }
  return `${form} ${text(parseJson(body), hide)}`;
}

/** A record without what two runs do not have in common. */
export function shown(message: DecodedMessage): object {
  const { topic, queueId, queueOffset, flag, sysFlag, bodyCrc, reconsumeTimes, preparedTransactionOffset } = message;
  // Of a record that is a whole batch it depends on how many digits there is room for.
  const size = message.properties.has("INNER_BASE") ? "<size>" : message.size;
  const properties = Object.fromEntries(message.properties);
  const { bornTimestamp, bornHost } = message;
  const position = { topic, queueId, queueOffset, size, flag, sysFlag, bodyCrc, reconsumeTimes, preparedTransactionOffset };
  return { ...position, properties, body: message.body.toString("latin1"), bornTimestamp, bornHost };
}

function text(value: unknown, hide: readonly string[]): string {
  return JSON.stringify(sorted(value, new Set(hide)));
}

/** Ports, times and ids by what they are; long runs of one character by their length. */
function neutral(words: string): string {
  return words
    .replace(/(.)\1{40,}/g, (run: string, one: string) => `${one}{${run.length}}`)
    .replace(/(?<!\d)1[6-9]\d{11}(?!\d)/g, "<time>")
    .replace(/\b7F000001[0-9A-F]{24}\b/g, "<offsetMsgId>")
    .replace(/\d{4}-\d\d-\d\d#[\d:]{12}/g, "<time>")
    .replace(/\/?127\.0\.0\.1:\d{3,5}/g, "<address>");
}

function isTime(value: number): boolean {
  return value >= 1.6e12 && value < 2e12;
}

function sorted(value: unknown, hidden: ReadonlySet<string>): unknown {
  if (typeof value === "string") return neutral(value);
  if (typeof value === "number") return isTime(value) ? "<time>" : value;
  if (value instanceof Map) {
    const entries = [...value].map(([key, member]) => {
      return [typeof key === "string" ? key : JSON.stringify(sorted(key, hidden)), member] as const;
    });
    return sorted(Object.fromEntries(entries), hidden);
  }
  if (Array.isArray(value)) {
    const texts = value.map((item) => JSON.stringify(sorted(item, hidden))).sort();
    return texts.map((item) => JSON.parse(item) as unknown);
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => {
        if (hidden.has(key)) return [key, "…"];
        // Counts changes since the broker's first start.
        if (key === "counter") return [key, "<count>"];
        // Made by the broker for a message without one; its form depends on the machine's addresses.
        if ((key === "transactionId" || key === "UNIQ_KEY") && /^([0-9A-F]{32}|[0-9A-F]{56})$/.test(String(member)))
          return [key, "<unique id>"];
        return [neutral(key), sorted(member, hidden)];
      }),
  );
}

/** physicalOffset that the answer to a send tells. */
export function sentAt(answer: RemotingCommand | undefined): number {
  return physicalOffsetOf(answer?.extFields["msgId"] ?? "") ?? -1;
}
