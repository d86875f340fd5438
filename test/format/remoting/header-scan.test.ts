import test from "ava";
import fc from "fast-check";
import {
  FIELD_BATCH,
  FIELD_BORN_TIMESTAMP,
  FIELD_CONSUMER_GROUP,
  FIELD_NAMES,
  FIELD_PRODUCER_GROUP,
  FIELD_PROPERTIES,
  FIELD_QUEUE_ID,
  FIELD_QUEUE_OFFSET,
  FIELD_SUBSCRIPTION,
  FIELD_TOPIC,
  HeaderScan,
  LETTER_COUNT,
} from "../../../src/format/remoting/header-scan.ts";
import { decodeCommand, encodeCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../../src/format/remoting/remoting-frame.ts";

const LETTERS = "abcdefghijklmn";
const LANGUAGES = [
  "JAVA",
  "CPP",
  "DOTNET",
  "PYTHON",
  "DELPHI",
  "ERLANG",
  "RUBY",
  "OTHER",
  "HTTP",
  "GO",
  "PHP",
  "OMS",
  "RUST",
  "NODE_JS",
];
const GOLDEN_JSON =
  '{"code":310,"extFields":{"a":"pg","b":"T","c":"TBW102","d":"4","e":"0","f":"0","g":"1","h":"0","i":"K\\u0001v\\u0002","j":"0","k":"false","m":"false"},' +
  '"flag":0,"language":"JAVA","opaque":0,"serializeTypeCurrentRPC":"JSON","version":0}';
const GOLDEN_BINARY =
  "0000008b01000086013600000000000002000000000000000000000071" +
  "000161000000027067000162000000015400016300000006544257313032000164000000013400016500000001300001660000000130" +
  "00016700000001310001680000000130000169000000044b01760200016a000000013000016b0000000566616c736500016d0000000566616c7365ff";

/** A frame with bytes around it that no reader should look at. */
function frameOf(header: string | Buffer, type: number = SERIALIZE_JSON, after = 9): { bytes: Buffer; start: number } {
  const text = Buffer.from(header as string);
  const start = 5;
  const bytes = Buffer.alloc(start + 8 + text.length + after, '"');
  bytes.writeUInt32BE(4 + text.length, start);
  bytes.writeUInt32BE(text.length, start + 4);
  bytes[start + 4] = type;
  text.copy(bytes, start + 8);
  return { bytes, start };
}

function scanned(header: string | Buffer, type?: number): HeaderScan | undefined {
  const { bytes, start } = frameOf(header, type);
  const scan = new HeaderScan();
  return scan.scan(bytes, start) ? scan : undefined;
}

/** undefined where all that `scan` says is what decodeCommand says. */
function difference(scan: HeaderScan, bytes: Buffer, start: number): string | undefined {
  const size = bytes.readUInt32BE(start) + 4;
  const command = decodeCommand(bytes.subarray(start, start + size));
  for (const name of ["code", "flag", "opaque", "version"] as const) {
    if (scan[name] !== command[name]) return `${name} ${scan[name]} instead of ${command[name]}`;
  }
  const language = LANGUAGES.includes(command.language) ? command.language : "OTHER";
  if (LANGUAGES[scan.language] !== language) return `language ${scan.language} instead of ${language}`;
  const hasLetters = [310, 320, 325].includes(command.code);
  for (const [field, name] of FIELD_NAMES.entries()) {
    const key = hasLetters ? (field < LETTER_COUNT ? LETTERS[field]! : "no letter") : name;
    const expected = command.extFields[key];
    if (scan.has(field) !== (expected !== undefined)) return `has ${name}`;
    if (scan.text(field) !== (expected ?? "")) return `text of ${name}`;
    const expectedBytes = Buffer.from(expected ?? "");
    if (expected !== undefined && !scan.equalsBytes(field, expectedBytes)) return `equalsBytes of ${name}`;
    if (scan.equalsBytes(field, Buffer.from(`${expected}x`))) return `equalsBytes of ${name} with more`;
    const room = expected === undefined ? 0 : scan.rawEnd(field) - scan.rawStart(field);
    const target = Buffer.alloc(room + 4, 0x7e);
    const end = scan.copyText(field, target, 2);
    if (!target.subarray(2, end).equals(expectedBytes)) return `copyText of ${name}`;
    if (target.readUInt16BE(0) !== 0x7e7e || target.readUInt16BE(2 + room) !== 0x7e7e)
      return `copyText of ${name} wrote outside its room`;
    if (scan.boolean(field) !== (expected?.toLowerCase() === "true")) return `boolean of ${name}`;
    const integer = scan.integer(field);
    const number = expected !== undefined && /^[+-]?\d{1,15}$/.test(expected) ? Number(expected) + 0 : Number.NaN;
    if (/^[+-]?\d{16,}$/.test(expected ?? "") ? false : !Object.is(integer, number)) return `integer of ${name}: ${integer}`;
  }
  return undefined;
}

test("reads the golden JSON header of a send", (t) => {
  const scan = scanned(GOLDEN_JSON)!;
  t.is(scan.code, 310);
  t.is(scan.text(FIELD_PRODUCER_GROUP), "pg");
  t.is(scan.text(FIELD_TOPIC), "T");
  t.is(scan.text(FIELD_PROPERTIES), "K\u0001v\u0002");
  t.true(scan.isEscaped(FIELD_PROPERTIES));
  t.is(scan.integer(FIELD_BORN_TIMESTAMP), 1);
  t.is(scan.integer(FIELD_QUEUE_ID), 0);
  t.false(scan.boolean(FIELD_BATCH));
  t.false(scan.has(FIELD_CONSUMER_GROUP));
  t.is(scan.integer(FIELD_CONSUMER_GROUP), Number.NaN);
});

test("reads the golden binary header of a send", (t) => {
  const bytes = Buffer.from(GOLDEN_BINARY, "hex");
  const scan = new HeaderScan();
  t.true(scan.scan(bytes, 0));
  t.is(scan.code, 310);
  t.is(scan.opaque, 2);
  t.is(scan.serializeType, SERIALIZE_ROCKETMQ);
  t.is(scan.text(FIELD_TOPIC), "T");
  t.is(scan.text(FIELD_PROPERTIES), "K\u0001v\u0002");
  t.false(scan.isEscaped(FIELD_PROPERTIES));
  t.is(difference(scan, bytes, 0), undefined);
});

test("finds fields whatever stands first, as the Go client and others write it", (t) => {
  for (const code of [11, 310]) {
    const fields = '{"queueOffset":"77","b":"T1","topic":"T2","subscription":"a \\u003c b \\u0026\\u0026 c"}';
    for (const header of [
      `{"code":${code},"language":"GO","version":317,"opaque":3,"flag":0,"remark":"","extFields":${fields}}`,
      `{"extFields":${fields},"opaque":3,"remark":null,"language":"GO","code":${code},"flag":0,"version":317}`,
      `\n{ "extFields" : ${fields.replaceAll(":", " : ").replaceAll(",", " ,\t")} , "opaque" : 3 , "code":\r\n${code} , "version":317,"language":"GO" } `,
    ]) {
      const scan = scanned(header)!;
      t.is(scan.text(FIELD_TOPIC), code === 11 ? "T2" : "T1", header);
      t.is(scan.language, 9);
      t.is(scan.version, 317);
      t.is(scan.integer(FIELD_QUEUE_OFFSET), code === 11 ? 77 : Number.NaN);
      t.is(scan.text(FIELD_SUBSCRIPTION), code === 11 ? "a < b && c" : "");
    }
  }
});

test("takes the last one of equal names, also where it is null", (t) => {
  const json = scanned('{"code":11,"extFields":{"topic":"\\u0041","topic":"B","queueId":1,"queueId":null}}')!;
  t.is(json.text(FIELD_TOPIC), "B");
  t.false(json.isEscaped(FIELD_TOPIC));
  t.false(json.has(FIELD_QUEUE_ID));
  const twice = request(11, 1, { topic: "first", tipoc: "second" });
  const frame = encodeCommand(twice, SERIALIZE_ROCKETMQ);
  frame.write("topic", frame.indexOf("tipoc"));
  const binary = new HeaderScan();
  t.true(binary.scan(frame, 0));
  t.is(binary.text(FIELD_TOPIC), "second");
});

test("reads whole numbers as Java does, and no others", (t) => {
  const cases: [string, number][] = [
    ["0", 0], ["-0", 0], ["007", 7], ["+5", 5], ["-12", -12], ["1795103125571", 1_795_103_125_571],
    ["9007199254740991", Number.MAX_SAFE_INTEGER], ["9223372036854775807", Number.MAX_SAFE_INTEGER],
    ["-9223372036854775808", -Number.MAX_SAFE_INTEGER], ["99999999999999999999", Number.NaN],
    ["", Number.NaN], ["-", Number.NaN], ["1.5", Number.NaN], [" 1", Number.NaN], ["1e3", Number.NaN], ["0x10", Number.NaN], ["١", Number.NaN],
  ]; // biome-ignore format: reads as the table it is
  for (const [text, expected] of cases) {
    const scan = scanned(JSON.stringify({ code: 11, extFields: { queueId: text } }))!;
    t.is(scan.integer(FIELD_QUEUE_ID), expected, text);
  }
  t.is(scanned('{"code":11,"extFields":{"queueId":"\\u0031\\u0032"}}')!.integer(FIELD_QUEUE_ID), 12);
  t.is(scanned('{"code":11,"extFields":{"queueId":42}}')!.integer(FIELD_QUEUE_ID), 42);
  t.true(scanned('{"code":310,"extFields":{"m":true}}')!.boolean(FIELD_BATCH));
  t.true(scanned('{"code":310,"extFields":{"m":"TRUE"}}')!.boolean(FIELD_BATCH));
  t.false(scanned('{"code":310,"extFields":{"m":"trUx"}}')!.boolean(FIELD_BATCH));
});

test("leaves what is unusual or broken to the slow path", (t) => {
  const refused = [
    "", "{", "[]", "null", '{"code"}', '{"code":}', '{"code":1,}', '{"code":1}x', '{"code":01}', '{"code":1.0}', '{"code":1e1}', '{"code":"310"}',
    '{code:1}', '{"code":1 "flag":0}', '{"code":-}', '{"code":tru}', '{"code":true}', '{"extFields":{"a":{}}}', '{"extFields":{"a":[1]}}', '{"extFields":[]}',
    '{"extFields":"x"}', '{"extFields":{"a":"1"},"extFields":{"b":"1"}}', '{"extFields":{"topic":"1"},"extFields":null}', '{"c\\u006fde":1}',
    '{"extFields":{"\\u0061":"x"}}', '{"extFields":{"a":"\\ud800"}}', '{"extFields":{"a":"\\udc00\\ud800"}}', '{"extFields":{"a":"\\ud800\\ud801"}}', '{"extFields":{"a":"\\ud800\\ue000"}}', '{"extFields":{"a":"\\x41"}}',
    '{"extFields":{"a":"\\u00g1"}}', '{"extFields":{"a":"\\u00"}}', '{"extFields":{"a":"\t"}}', '{"extFields":{"a":"x}}', '{"extFields":{"a":-0}}',
    '{"extFields":{"a":12345678901234567890}}', '{"extFields":{"a":1.5}}', '{"extFields":{"a":"1",}}', '{"extFields":{"a":"1" "b":"2"}}',
    '{"extFields":{"a"}}', '{"extFields":{,}}', '{"remark":{"deep":[]}}', '{"language":7}', '{"a":"\\', '\ufeff{"code":1}',
  ]; // biome-ignore format: a table
  for (const header of refused) t.is(scanned(header), undefined, header);
  for (const bad of ["c0af", "ff", "eda080", "f4908080", "e28", "80", "e2e2e2"]) {
    const value = Buffer.from(bad.length % 2 === 0 ? bad : `${bad}2`, "hex");
    const json = Buffer.concat([Buffer.from('{"code":11,"extFields":{"topic":"x'), value, Buffer.from('"}}')]);
    t.is(scanned(json), undefined, bad);
    const frame = encodeCommand(request(11, 1, { topic: "xxxxxxxx" }), SERIALIZE_ROCKETMQ);
    value.copy(frame, frame.length - value.length);
    t.false(new HeaderScan().scan(frame, 0), bad);
  }
  t.is(scanned("{}", 2), undefined);
});

// Goal: scan never differs from JSON.parse. Method: random headers in random order and formatting, with the
// names that matter among them; scan says no, or all of it is what decodeCommand makes of the same bytes.
const keys = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...FIELD_NAMES) },
  { weight: 4, arbitrary: fc.constantFrom(...LETTERS) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("__proto__", "", "z", "ns", "A", "topicx", "opic"),
  },
);
const texts = fc.oneof(
  fc.integer().map(String),
  fc.maxSafeInteger().map(String),
  fc.constantFrom(
    "true",
    "false",
    "True",
    "",
    "K\u0001v\u0002UNIQ_KEY\u00010A\u0002",
    "é",
    "\u{1f600}\u0001",
    '\\"/\b\f\n\r\t',
    "\u007f\u0080",
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 12 }),
);
const values = fc.oneof(
  { weight: 9, arbitrary: texts },
  {
    weight: 2,
    arbitrary: fc.oneof(fc.integer(), fc.constant(null), fc.boolean(), fc.double()),
  },
);
const members = fc.array(
  fc.oneof(
    fc.tuple(
      fc.constantFrom("code", "flag", "opaque", "version"),
      fc.oneof(fc.integer(), fc.constantFrom(10, 11, 310, 310, 320, 325, null, 2 ** 31, 1e15, 0.5)),
    ),
    fc.tuple(fc.constant("language"), fc.constantFrom(...LANGUAGES, "ZIG", "", null)),
    fc.tuple(fc.constantFrom("remark", "serializeTypeCurrentRPC", "other"), values),
    fc.tuple(
      fc.constant("extFields"),
      fc.oneof(
        {
          weight: 8,
          arbitrary: fc.array(fc.tuple(keys, values), { maxLength: 8 }),
        },
        { weight: 1, arbitrary: fc.constant(null) },
      ),
    ),
  ),
  { maxLength: 8 },
);
const blanks = fc.array(fc.constantFrom("", "", "", " ", "\n", "\t \r"), {
  minLength: 1,
  maxLength: 7,
});
/** How a byte of a string is spelled: as JSON.stringify does, or more of it escaped. */
const spellings = fc.constantFrom("plain", "escape all", "escape some", "go");

function spell(text: string, how: string): string {
  const plain = JSON.stringify(text);
  if (how === "plain") return plain;
  if (how === "go")
    return plain
      .replaceAll(/[<>&\u2028\u2029]/g, (sign) => unicode(sign))
      .replaceAll(/\\[bf]/g, (sign) => (sign === "\\b" ? "\\u0008" : "\\u000c"));
  return `"${[...text]
    .map((sign, i) =>
      how === "escape all" || i % 3 === 1 || /["\\\u0000-\u001f]/.test(sign)
        ? [...sign]
            .flatMap((s) => s.split(""))
            .map(unicode)
            .join("")
        : sign,
    )
    .join("")}"`;
}

function unicode(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function format(list: readonly (readonly [string, unknown])[], gaps: readonly string[], how: string): string {
  let gap = 0;
  const space = (): string => gaps[gap++ % gaps.length]!;
  const text = (value: unknown, key: string): string => {
    if (Array.isArray(value)) return object(value);
    if (typeof value === "string") return spell(value, how);
    return key === "never" ? "" : JSON.stringify(value);
  };
  const object = (entries: readonly (readonly [string, unknown])[]): string =>
    `{${space()}${entries.map(([key, value]) => `${spell(key, how === "escape all" ? "plain" : how)}${space()}:${space()}${text(value, key)}${space()}`).join(`,${space()}`)}}`;
  return space() + object(list) + space();
}

test("says what JSON.parse says, or nothing", (t) => {
  let accepted = 0;
  let all = 0;
  const scan = new HeaderScan(); // One for all: what it remembers of one header must not show in the next.
  const property = fc.property(members, blanks, spellings, (list, gaps, how) => {
    const { bytes, start } = frameOf(format(list, gaps, how));
    all++;
    if (!scan.scan(bytes, start)) return;
    accepted++;
    const wrong = difference(scan, bytes, start);
    if (wrong !== undefined) throw new Error(wrong);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 3000 }));
  t.true(accepted > all / 4, `accepted only ${accepted} of ${all}`);
});

test("accepts every plain header of strings", (t) => {
  const scan = new HeaderScan();
  const plainKeys = keys.filter((key) => key !== "__proto__" && !/[\\"\u0000-\u001f]/.test(key) && key.isWellFormed());
  const property = fc.property(
    fc.constantFrom(10, 11, 14, 310),
    fc.dictionary(
      plainKeys,
      texts.filter((text) => text.isWellFormed()),
    ),
    fc.constantFrom(0, 1),
    (code, fields, type) => {
      const frame = encodeCommand(request(code, 7, fields), type);
      if (!scan.scan(frame, 0)) throw new Error("refused");
      const wrong = difference(scan, frame, 0);
      if (wrong !== undefined) throw new Error(wrong);
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 1000 }));
});

// Goal: hostile bytes neither throw nor make it say something else than the slow path. Method: real headers with
// bytes changed, cut and put in; then pure noise.
test("never throws and never guesses on damaged headers", (t) => {
  const binaryHeader = Buffer.from(GOLDEN_BINARY, "hex").subarray(8, -1);
  const scan = new HeaderScan();
  const edits = fc.array(fc.tuple(fc.nat(300), fc.nat(255), fc.constantFrom("set", "cut", "insert")), {
    minLength: 1,
    maxLength: 4,
  });
  const property = fc.property(fc.boolean(), edits, fc.nat(24), (json, list, shrink) => {
    let header = Buffer.from(json ? Buffer.from(GOLDEN_JSON) : binaryHeader);
    for (const [place, byte, edit] of list) {
      const at = place % (header.length + 1);
      if (edit === "set") header[at] = byte;
      else if (edit === "cut") header = Buffer.concat([header.subarray(0, at), header.subarray(at + 1 + (byte % 8))]);
      else header = Buffer.concat([header.subarray(0, at), Buffer.of(byte), header.subarray(at)]);
    }
    if (shrink < 4) header = header.subarray(0, header.length - shrink);
    const { bytes, start } = frameOf(header, json ? SERIALIZE_JSON : SERIALIZE_ROCKETMQ, shrink % 2 === 0 ? 9 : 0);
    if (!scan.scan(bytes, start)) return;
    for (let field = 0; field < FIELD_NAMES.length; field++) {
      if (scan.has(field) && (scan.rawStart(field) < start + 8 || scan.rawEnd(field) > start + 8 + header.length))
        throw new Error("outside the header");
    }
    const wrong = difference(scan, bytes, start);
    if (wrong !== undefined) throw new Error(wrong);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 6000 }));
  const noise = fc.property(fc.uint8Array({ maxLength: 80 }), fc.integer({ min: -2, max: 90 }), (bytes, start) => {
    scan.scan(Buffer.from(bytes), start);
  });
  t.notThrows(() => fc.assert(noise, { numRuns: 2000 }));
});

test("reads a frame at the very end of its memory, and one in shared memory", (t) => {
  const frame = encodeCommand(request(11, 1, { topic: "Té", queueId: 3 }));
  for (const memory of [new ArrayBuffer(100 + frame.length), new SharedArrayBuffer(100 + frame.length)]) {
    const bytes = Buffer.from(memory, 60);
    frame.copy(bytes, 40);
    const scan = new HeaderScan();
    t.true(scan.scan(bytes, 40));
    t.is(scan.text(FIELD_TOPIC), "Té");
    t.is(bytes.toString("utf8", scan.rawStart(FIELD_TOPIC), scan.rawEnd(FIELD_TOPIC)), "Té");
    t.is(scan.integer(FIELD_QUEUE_ID), 3);
    t.false(scan.scan(bytes.subarray(0, bytes.length - 1), 40));
  }
});

// Goal: what is remembered of earlier headers never changes what a header says.
// Method: headers that differ in few bytes, many through one scan, each also through a scan that has seen nothing.
/** @returns whether both say the same; `onHit` is called where the warm one has remembered the header */
function isSameWarm(warm: HeaderScan, frame: Buffer, start: number, onHit: () => void): boolean {
  const cold = new HeaderScan();
  const isPlain = cold.scan(frame, start);
  if (warm.scan(frame, start) !== isPlain) return false;
  if (!isPlain) return true;
  if (warm.memo !== undefined) onHit();
  for (const name of ["code", "flag", "opaque", "version", "language", "serializeType"] as const) {
    if (warm[name] !== cold[name]) return false;
  }
  for (const [field] of FIELD_NAMES.entries()) {
    if (warm.has(field) !== cold.has(field) || warm.text(field) !== cold.text(field)) return false;
    if (!Object.is(warm.integer(field), cold.integer(field)) || warm.boolean(field) !== cold.boolean(field)) return false;
    if (!Object.is(warm.integer(field), cold.integer(field))) return false; // Also once it is remembered.
    if (warm.has(field) && (warm.rawStart(field) !== cold.rawStart(field) || warm.rawEnd(field) !== cold.rawEnd(field)))
      return false;
  }
  return true;
}

test("says of a header like earlier ones what it would say of it alone", (t) => {
  const header = (queue: string, key: string, opaque: string, more: string): string =>
    `{"code":310,"extFields":{"a":"pg","b":"Topic","c":"TBW102","d":"4","e":"${queue}","f":"0","g":"1795103125571","h":"0",` +
    `"i":"KEYS\\u0001k ${key}\\u0002UNIQ_KEY\\u0001${key}\\u0002WAIT\\u0001true\\u0002${more}","j":"0","m":"false"},` +
    `"flag":0,"language":"JAVA","opaque":${opaque},"serializeTypeCurrentRPC":"JSON","version":513}`;
  const bytes = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...Buffer.from('"\\\u00010}{,:-9u')) },
    { weight: 1, arbitrary: fc.nat(255) },
  );
  const changes = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), bytes), { maxLength: 2 });
  const figures = fc.record({
    queue: fc.nat(9),
    key: fc.integer({ min: 10 ** 6, max: 10 ** 7 - 1 }),
    opaque: fc.constantFrom("1", "7", "123456", "999999", "-42", "012345", "null"),
    more: fc.constantFrom("", "TAGS\\u0001A\\u0002", "UNIQ_KEY\\u0001x\\u0002", "A\\\\u0001B", "Ä\\u0001ü"),
    changes,
  });
  let hits = 0;
  const property = fc.property(fc.array(figures, { minLength: 30, maxLength: 60 }), (all) => {
    const warm = new HeaderScan();
    for (const { queue, key, opaque, more, changes: some } of all) {
      const { bytes: frame, start } = frameOf(header(String(queue), String(key), opaque, more));
      const headerSize = frame.readUInt32BE(start + 4) & 0xff_ffff;
      // Unchanged ones first, so that there is something to remember.
      for (const places of [[], [], [], some]) {
        for (const [place, byte] of places) frame[start + 8 + Math.floor(place * (headerSize - 1))] = byte;
        if (!isSameWarm(warm, frame, start, () => hits++)) return false;
      }
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 150 }));
  t.true(hits > 5000);
});

test("says of a binary header like earlier ones what it would say of it alone", (t) => {
  const bytes = fc.oneof(fc.constantFrom(0, 1, 2, 9, 0x22, 0x30, 0x5c, 0x7f, 0x80, 0xff), fc.nat(255));
  // Anywhere, or among the fixed fields at the start, or in the sizes of the first ones.
  const places = fc.oneof(fc.nat(260), fc.nat(40));
  const figures = fc.record({
    code: fc.constantFrom(310, 310, 10, 11),
    queue: fc.nat(9),
    key: fc.integer({ min: 10 ** 6, max: 10 ** 7 - 1 }),
    opaque: fc.oneof(fc.integer(), fc.constantFrom(-1, 0, 0x2d2d_2d2d, 0x0102_0304)),
    more: fc.constantFrom("", "TAGS\u0001A\u0002", "UNIQ_KEY\u0001x\u0002", "A\\u0001B", 'A\u0001"\\\u0002', "Ä\u0001ü"),
    isJson: fc.constantFrom(false, false, false, true),
    changes: fc.array(fc.tuple(places, bytes), { maxLength: 2 }),
  });
  let hits = 0;
  const property = fc.property(fc.array(figures, { minLength: 30, maxLength: 60 }), (all) => {
    const warm = new HeaderScan();
    for (const { code, queue, key, opaque, more, isJson, changes } of all) {
      const properties = `KEYS\u0001k ${key}\u0002UNIQ_KEY\u0001${key}\u0002WAIT\u0001true\u0002${more}`;
      const texts = ["pg", "Topic", "TBW102", "4", String(queue), "0", "1795103125571", "0", properties, "0", "false"];
      const names = code === 310 ? [...LETTERS] : FIELD_NAMES;
      const extFields = Object.fromEntries(texts.map((text, i) => [names[i]!, text]));
      const frame = encodeCommand(request(code, opaque, extFields), isJson ? SERIALIZE_JSON : SERIALIZE_ROCKETMQ);
      const headerSize = frame.readUInt32BE(4) & 0xff_ffff;
      for (const some of [[], [], [], changes]) {
        for (const [place, byte] of some) frame[8 + (place % headerSize)] = byte;
        if (!isSameWarm(warm, frame, 0, () => hits++)) return false;
      }
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 150 }));
  t.true(hits > 5000);
});
