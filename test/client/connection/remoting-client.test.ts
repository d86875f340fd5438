import test from "ava";
import fc from "fast-check";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { parseAddress, parseAddressList } from "../../../src/client/connection/address.ts";
import { FrameReader } from "../../../src/client/connection/frame-reader.ts";
import { PendingRequests, type ResponseSink } from "../../../src/client/connection/pending-requests.ts";
import { RemotingClient } from "../../../src/client/connection/remoting-client.ts";
import { NOT_A_PLAIN_RESPONSE, responseOpaque } from "../../../src/client/connection/response-scan.ts";
import { encodeCommand, request, response } from "../../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../../src/format/remoting/remoting-frame.ts";
import { until } from "../../until.ts";
import { FakeServer } from "../fake-server.ts";

const ECHO = 999;
const SILENT = 998;

async function echoServer(host = "127.0.0.1"): Promise<FakeServer> {
  const server = await FakeServer.start(0, host);
  return server.on(ECHO, (command) => response(command, 0, undefined, command.extFields, command.body));
}

async function rejection(promise: Promise<unknown>): Promise<MillraceError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  throw new Error("expected a rejection");
}

for (const host of ["127.0.0.1", "::1"]) {
  test(`answers find their requests among many in flight, ${host}`, async (t) => {
    const server = await echoServer(host);
    const client = new RemotingClient();
    const bodies = Array.from({ length: 500 }, (_, index) => Buffer.alloc((index * 37) % 20_000, index & 0xff));
    const answers = await Promise.all(
      bodies.map((body, index) => client.invoke(server.address, request(ECHO, 0, { index }, body), 5_000)),
    );
    answers.forEach((answer, index) => {
      t.is(answer.extFields["index"], String(index));
      t.true(answer.body.equals(bodies[index]!), `body ${index}`);
    });
    t.is(server.connections.length, 1);
    await client.close();
    await server.stop();
  });
}

test("requests of one turn leave in one write", async (t) => {
  const server = await echoServer();
  const client = new RemotingClient();
  await client.invoke(server.address, request(ECHO, 0), 5_000);
  const before = server.connections[0]!.reads;
  await Promise.all(Array.from({ length: 50 }, () => client.invoke(server.address, request(ECHO, 0), 5_000)));
  t.is(server.connections[0]!.reads, before + 1);
  await client.close();
  await server.stop();
});

test("the chunk is not written over while a slow peer still has bytes to read", async (t) => {
  const server = await echoServer();
  const client = new RemotingClient();
  await client.invoke(server.address, request(ECHO, 0), 5_000);
  server.connections[0]!.socket.pause();
  const bodies = Array.from({ length: 4_000 }, (_, index) => Buffer.alloc(3_000, index % 251));
  const answers: Promise<{ body: Buffer }>[] = [];
  // In many turns, so that many flushes meet a full socket.
  for (let from = 0; from < bodies.length; from += 20) {
    for (const body of bodies.slice(from, from + 20))
      answers.push(client.invoke(server.address, request(ECHO, 0, {}, body), 20_000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(client.connection(server.address).bufferedBytes > 100_000, "the socket is full");
  server.connections[0]!.socket.resume();
  const got = await Promise.all(answers);
  t.true(got.every((answer, index) => answer.body.equals(bodies[index]!)));
  await client.close();
  await server.stop();
});

test("a request that is not answered times out, others live on", async (t) => {
  const server = await echoServer();
  const clock = new VirtualClock(0);
  const client = new RemotingClient({ clock });
  await client.invoke(server.address, request(ECHO, 0), 5_000);
  const silent = client.invoke(server.address, request(SILENT, 0), 300);
  const patient = client.invoke(server.address, request(SILENT, 0), 60_000);
  let patientFailed = false;
  patient.catch(() => {
    patientFailed = true;
  });
  clock.advance(299);
  await client.invoke(server.address, request(ECHO, 0), 5_000);
  const failed = rejection(silent);
  clock.advance(200);
  t.is((await failed).code, "MILLRACE_TIMEOUT");
  t.false(patientFailed);
  t.is(client.connection(server.address).inFlight, 1);
  const closed = rejection(patient);
  await client.close();
  t.is((await closed).code, "MILLRACE_CLOSED");
  await server.stop();
});

test("a cut connection fails its pending requests, the next request connects anew", async (t) => {
  const server = await echoServer();
  const client = new RemotingClient();
  const lost: string[] = [];
  client.onConnectionLost((address) => lost.push(address));
  await client.invoke(server.address, request(ECHO, 0), 5_000);
  const pending = [1, 2, 3].map(() => rejection(client.invoke(server.address, request(SILENT, 0), 60_000)));
  await until(() => server.receivedOf(SILENT).length === 3);
  server.connections[0]!.cut();
  for (const error of await Promise.all(pending)) t.is(error.code, "MILLRACE_CONNECTION");
  t.deepEqual(lost, [server.address]);
  t.is((await client.invoke(server.address, request(ECHO, 0), 5_000)).code, 0);
  t.is(server.connections.length, 2);
  await client.close();
  await server.stop();
});

test("back-off grows while nobody listens and ends with the first answer", async (t) => {
  const server = await echoServer();
  const { port, address } = server;
  await server.stop();
  const clock = new VirtualClock(0);
  const client = new RemotingClient({ clock, reconnectDelayMs: 100, reconnectDelayMsMax: 350 });
  for (const expected of [100, 200, 350, 350]) {
    const refused = await rejection(client.invoke(address, request(ECHO, 0), 5_000));
    t.is(refused.code, "MILLRACE_CONNECTION");
    t.is(refused.details["reason"], "ECONNREFUSED");
    const early = await rejection(client.invoke(address, request(ECHO, 0), 5_000));
    t.is(early.details["retryInMs"], expected);
    clock.advance(expected);
  }
  const again = (await FakeServer.start(port)).on(ECHO, (command) => response(command, 0));
  t.is((await client.invoke(address, request(ECHO, 0), 5_000)).code, 0);
  t.is(client.retryInMs(address), 0);
  await client.close();
  await again.stop();
});

test("a peer that accepts and hangs up is backed off from too", async (t) => {
  const server = await FakeServer.start();
  const client = new RemotingClient({ reconnectDelayMs: 60_000, reconnectDelayMsMax: 60_000 });
  const pending = rejection(client.invoke(server.address, request(SILENT, 0), 60_000));
  await until(() => server.received.length === 1);
  server.connections[0]!.cut();
  t.is((await pending).code, "MILLRACE_CONNECTION");
  t.true(client.retryInMs(server.address) > 50_000);
  await client.close();
  await server.stop();
});

test("connecting is given up after connectTimeoutMs", async (t) => {
  const clock = new VirtualClock(0);
  const client = new RemotingClient({ clock, connectTimeoutMs: 1_000 });
  // TEST-NET-1: answers to no one, or is refused at once where there is no route.
  const failed = rejection(client.invoke("192.0.2.1:9", request(ECHO, 0), 60_000));
  clock.advance(1_200);
  t.is((await failed).code, "MILLRACE_CONNECTION");
  await client.close();
});

test("limits: requests in flight and unsent bytes", async (t) => {
  const server = await FakeServer.start();
  const client = new RemotingClient({ maxInFlight: 2, maxBufferedBytes: 10_000 });
  const first = rejection(client.invoke(server.address, request(SILENT, 0, {}, Buffer.alloc(20_000)), 60_000));
  const second = await rejection(client.invoke(server.address, request(SILENT, 0), 60_000));
  t.is(second.code, "MILLRACE_BUSY");
  t.true(Number(second.details["bufferedBytes"]) > 20_000);
  await until(() => client.connection(server.address).bufferedBytes === 0);
  const third = rejection(client.invoke(server.address, request(SILENT, 0), 60_000));
  const fourth = await rejection(client.invoke(server.address, request(SILENT, 0), 60_000));
  t.is(fourth.code, "MILLRACE_BUSY");
  t.is(fourth.details["inFlight"], 2);
  await client.close();
  for (const error of await Promise.all([first, third])) t.is(error.code, "MILLRACE_CLOSED");
  await server.stop();
});

test("one-way requests carry the flag; requests of the server are served, unknown ones refused", async (t) => {
  const server = await echoServer();
  const client = new RemotingClient();
  client.handle(40, () => undefined);
  client.handle(307, async (command, peer) => response(command, 0, undefined, { peer }));
  client.handle(309, () => {
    throw new Error("no such group");
  });
  const answers = new Map<number, { code: number; remark?: string | undefined; peer: string | undefined }>();
  server.on(0, (answer) => void answers.set(answer.opaque, { code: 0, peer: answer.extFields["peer"] }));
  server.on(1, (answer) => void answers.set(answer.opaque, { code: 1, remark: answer.remark, peer: undefined }));
  server.on(3, (answer) => void answers.set(answer.opaque, { code: 3, peer: undefined }));
  client.invokeOneway(server.address, request(SILENT, 0));
  await until(() => server.receivedOf(SILENT).length === 1);
  t.is(server.receivedOf(SILENT)[0]!.flag, 2);
  for (const [index, code] of [40, 307, 309, 4_711].entries()) server.connections[0]!.send(request(code, 100 + index));
  const oneway = request(4_711, 200);
  oneway.flag = 2;
  server.connections[0]!.send(oneway);
  await until(() => answers.size === 3);
  t.deepEqual(answers.get(101), { code: 0, peer: server.address });
  t.deepEqual(answers.get(102), { code: 1, remark: "no such group", peer: undefined });
  t.deepEqual(answers.get(103), { code: 3, peer: undefined });
  await client.close();
  await server.stop();
});

test("garbage from the peer closes the connection and fails what is pending", async (t) => {
  const server = await FakeServer.start();
  const client = new RemotingClient();
  const pending = rejection(client.invoke(server.address, request(SILENT, 0), 60_000));
  await until(() => server.received.length === 1);
  server.connections[0]!.socket.write("HTTP/1.1 400 Bad Request\r\n\r\n");
  t.is((await pending).code, "MILLRACE_PROTOCOL");
  await client.close();
  await server.stop();
});

test("closing twice is one closing; requests afterwards are refused", async (t) => {
  const server = await echoServer();
  const client = new RemotingClient();
  await client.invoke(server.address, request(ECHO, 0), 5_000);
  await Promise.all([client.close(), client.close()]);
  t.is((await rejection(client.invoke(server.address, request(ECHO, 0), 5_000))).code, "MILLRACE_CLOSED");
  await server.stop();
});

test("addresses and options are checked", (t) => {
  t.deepEqual(parseAddress("[::1]:10911"), { host: "::1", port: 10_911 });
  t.deepEqual(parseAddress("broker.example:1"), { host: "broker.example", port: 1 });
  t.deepEqual(parseAddressList(" a:1;b:2;a:1 ", "namesrvAddr"), ["a:1", "b:2"]);
  for (const bad of ["", "host", "host:", ":1", "::1:10911", "h:0", "h:65536", "h:1x", "http://h:1", "[]:1"]) {
    const error = t.throws(() => parseAddress(bad, "namesrvAddr"), { instanceOf: MillraceError });
    t.is(error.code, "MILLRACE_CONFIG_INVALID");
    t.true(error.message.includes("namesrvAddr"));
  }
  t.throws(() => parseAddressList(" ; ", "namesrvAddr"), { instanceOf: MillraceError });
  t.throws(() => new RemotingClient({ connectTimeoutMs: 0 }), { message: /connectTimeoutMs.*from 1/ });
  t.throws(() => new RemotingClient({ header: "xml" as "json" }), { message: /header.*"json", "binary"/ });
});

// Goal: a stream of frames comes out the same however it is cut into chunks.
// Method: cut at random places, small ones often, so that length fields are split too.
test("frames survive every cut of the stream", (t) => {
  const property = fc.property(
    fc.array(fc.nat(3_000), { minLength: 1, maxLength: 8 }),
    fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 }),
    fc.boolean(),
    (bodySizes, cuts, coarse) => {
      const frames = bodySizes.map((size, index) => encodeCommand(request(ECHO, index, {}, Buffer.alloc(size, index + 1))));
      const stream = Buffer.concat(frames);
      const seen: Buffer[] = [];
      const reader = new FrameReader((bytes, start, end) => void seen.push(Buffer.from(bytes.subarray(start, end))));
      const chunk = Buffer.alloc(stream.length);
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const size = Math.min(stream.length - at, cuts[turn % cuts.length]! * (coarse ? 50 : 1));
        stream.copy(chunk, 0, at, at + size);
        reader.push(chunk, size);
        chunk.fill(0xee, 0, size); // The socket's buffer is used again.
        at += size;
      }
      return seen.length === frames.length && seen.every((frame, index) => frame.equals(frames[index]!));
    },
  );
  t.notThrows(() => fc.assert(property));
});

// Goal: the opaque found by scanning is the one that a whole decode finds, for any header text.
test("the opaque is found in any header", (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('"opaque":7', "opaque", '"flag":0', ',"opaque":12,"flag":1', "\u0001\u0002", "ümlaut", 'end"'),
  );
  const property = fc.property(
    fc.nat(0x7fff_ffff),
    fc.nat(3),
    text,
    fc.dictionary(fc.oneof(text, fc.constantFrom("opaque", "flag")), text, { maxKeys: 5 }),
    fc.constantFrom(SERIALIZE_JSON, SERIALIZE_ROCKETMQ),
    fc.nat(20),
    (opaque, flag, remark, extFields, type, before) => {
      const command = { ...request(0, opaque, extFields), flag, remark };
      const bytes = Buffer.concat([Buffer.alloc(before, '"opaque":3'), encodeCommand(command, type)]);
      return responseOpaque(bytes, before) === ((flag & 1) === 1 ? opaque : NOT_A_PLAIN_RESPONSE);
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 500 }));
});

// Goal: PendingRequests is a map from opaque to sink with deadlines, also across growth and skipped slots.
test("pending requests behave as a map", (t) => {
  const operation = fc.oneof(
    { weight: 4, arbitrary: fc.record({ add: fc.nat(20) }) },
    { weight: 3, arbitrary: fc.record({ take: fc.nat(400) }) },
    { weight: 1, arbitrary: fc.record({ tick: fc.nat(20) }) },
  );
  const property = fc.property(fc.array(operation, { minLength: 100, maxLength: 600 }), (operations) => {
    const pending = new PendingRequests(150);
    const model = new Map<number, { sink: ResponseSink; deadline: number }>();
    for (const op of operations) {
      if ("add" in op) {
        const sink: ResponseSink = { onResponse: () => {}, onFailure: () => {} };
        const opaque = pending.add(sink, op.add);
        if (opaque === -1 ? model.size < 150 : model.has(opaque) || model.size >= 150) return false;
        if (opaque >= 0) model.set(opaque, { sink, deadline: op.add });
      } else if ("take" in op) {
        const expected = model.get(op.take)?.sink;
        model.delete(op.take);
        if (pending.take(op.take) !== expected) return false;
      } else {
        const expired = new Set(pending.takeExpired(op.tick));
        for (const [opaque, entry] of model) {
          if (entry.deadline <= op.tick !== expired.has(entry.sink)) return false;
          if (entry.deadline <= op.tick) model.delete(opaque);
        }
      }
      if (pending.count !== model.size) return false;
    }
    return true;
  });
  t.notThrows(() => fc.assert(property));
});
