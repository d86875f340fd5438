import { once } from "node:events";
import { connect, type Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { SystemClock, VirtualClock } from "../../src/base/clock.ts";
import { MillraceError } from "../../src/base/errors.ts";
import type { Channel, RequestHandler } from "../../src/broker/channel.ts";
import { FrameReader } from "../../src/client/connection/frame-reader.ts";
import {
  decodeCommand,
  encodeCommand,
  FLAG_ONEWAY,
  type RemotingCommand,
  request,
  response,
} from "../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_ROCKETMQ } from "../../src/format/remoting/remoting-frame.ts";
import type { Log, LogFields } from "../../src/observe/log.ts";
import { RemotingServer, type RemotingServerOptions } from "../../src/remoting/server.ts";
import { until } from "../until.ts";

const ECHO = 1000;
const FAIL = 1001;
const SLOW = 1002;
const BUSY = 1003;

class LogLines implements Log {
  readonly lines: string[] = [];
  #add = (fields: LogFields, text: string): void => void this.lines.push(`${text} ${JSON.stringify(fields)}`);
  debug: Log["debug"] = this.#add;
  info: Log["info"] = this.#add;
  warn: Log["warn"] = this.#add;
  error: Log["error"] = this.#add;
}

interface Rig {
  server: RemotingServer;
  log: LogLines;
  channels: Channel[];
  closed: Channel[];
}

async function serve(t: ExecutionContext, options: Partial<RemotingServerOptions> = {}): Promise<Rig> {
  const rig = { log: new LogLines(), channels: [] as Channel[], closed: [] as Channel[] };
  const handlers = new Map<number, RequestHandler>([
    [
      ECHO,
      (command, channel) => {
        if (!rig.channels.includes(channel)) rig.channels.push(channel);
        return response(command, 0, undefined, { ...command.extFields }, command.body);
      },
    ],
    [
      FAIL,
      () => {
        throw new Error("handler broke");
      },
    ],
    [BUSY, () => Promise.reject(new MillraceError("MILLRACE_BUSY", "too much at once"))],
    [SLOW, async (command) => new Promise((resolve) => setTimeout(() => resolve(response(command, 0)), 20))],
  ]);
  const server = new RemotingServer({
    host: "127.0.0.1",
    port: 0,
    handlers,
    clock: new SystemClock(),
    log: rig.log,
    onChannelClosed: (channel) => rig.closed.push(channel),
    ...options,
  });
  await server.listen();
  t.teardown(() => server.close());
  return { server, ...rig };
}

/** A client that shows every frame it gets. */
class RawClient {
  readonly socket: Socket;
  readonly frames: RemotingCommand[] = [];
  #waiting: (() => void) | undefined;

  constructor(server: RemotingServer) {
    this.socket = connect(server.port, "127.0.0.1");
    this.socket.on("error", () => {});
    const reader = new FrameReader((bytes, start, end) => {
      this.frames.push(decodeCommand(Buffer.from(bytes.subarray(start, end))));
      this.#waiting?.();
    });
    this.socket.on("data", (chunk: Buffer) => reader.push(chunk, chunk.length));
  }

  send(command: RemotingCommand, type?: number): void {
    this.socket.write(encodeCommand(command, type));
  }

  async next(count: number): Promise<RemotingCommand[]> {
    while (this.frames.length < count) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
    return this.frames;
  }
}

test("answers requests with either header form, out of order where handlers take their time", async (t) => {
  const { server } = await serve(t);
  const client = new RawClient(server);
  client.send(request(SLOW, 1));
  client.send(request(ECHO, 2, { key: "ü" }, Buffer.from("body")));
  client.send(request(ECHO, 3, { key: "v" }), SERIALIZE_ROCKETMQ);
  const [first, second, third] = await client.next(3);
  t.deepEqual([first!.opaque, second!.opaque, third!.opaque], [2, 3, 1]);
  t.is(first!.extFields["key"], "ü");
  t.is(first!.body.toString(), "body");
  t.is(first!.flag, 1);
  client.socket.destroy();
});

test("unknown codes get 3, thrown errors their code and text", async (t) => {
  const { server, log } = await serve(t);
  const client = new RawClient(server);
  for (const [opaque, code] of [424_242, 424_242, FAIL, BUSY].entries()) client.send(request(code, opaque));
  const answers = await client.next(4);
  const of = (opaque: number) => answers.find((answer) => answer.opaque === opaque)!;
  t.is(of(0).code, 3);
  t.is(of(0).remark, " request type 424242 not supported");
  t.is(log.lines.filter((line) => line.includes("424242 not supported")).length, 1, "logged once a connection");
  t.is(of(2).code, 1);
  t.is(of(2).remark, "handler broke");
  t.is(of(3).code, 2);
  t.is(of(3).remark, "too much at once");
  client.socket.destroy();
});

test("one-way requests are never answered, whatever comes of them", async (t) => {
  const { server } = await serve(t);
  const client = new RawClient(server);
  for (const code of [ECHO, FAIL, SLOW, 424_242]) client.send({ ...request(code, 1), flag: FLAG_ONEWAY });
  client.send(request(SLOW, 7));
  const answers = await client.next(1);
  t.deepEqual(
    answers.map((answer) => answer.opaque),
    [7],
  );
  client.socket.destroy();
});

test("frames may be cut anywhere", async (t) => {
  const { server } = await serve(t);
  const frames = [1, 2, 3].map((opaque) => encodeCommand(request(ECHO, opaque, { n: opaque }, Buffer.alloc(opaque * 7, opaque))));
  const stream = Buffer.concat(frames);
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 1, max: stream.length - 1 }), { maxLength: 4 }), async (cuts) => {
      const client = new RawClient(server);
      await once(client.socket, "connect");
      client.socket.setNoDelay(true);
      let from = 0;
      for (const cut of [...cuts.sort((a, b) => a - b), stream.length]) {
        client.socket.write(stream.subarray(from, cut));
        from = cut;
        await new Promise((resolve) => setImmediate(resolve));
      }
      const answers = await client.next(3);
      client.socket.destroy();
      return answers.every((answer, index) => answer.opaque === index + 1 && answer.body.length === (index + 1) * 7);
    }),
    { numRuns: 30 },
  );
  t.pass();
});

const bad: [string, Buffer][] = [
  ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ["a length over 16 MiB", Buffer.from([0x01, 0, 0, 1, 0, 0, 0, 0])],
  ["a header larger than its frame", Buffer.from([0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0])],
  ["an unknown header form", Buffer.from([0, 0, 0, 6, 2, 0, 0, 2, 0x7b, 0x7d])],
  ["a header that is no JSON", Buffer.from([0, 0, 0, 6, 0, 0, 0, 2, 0x7b, 0x7b])],
];
for (const [name, bytes] of bad) {
  test(`closes the connection on ${name}, and lives on`, async (t) => {
    const { server, log, closed } = await serve(t);
    const client = new RawClient(server);
    client.socket.write(bytes);
    await once(client.socket, "close");
    await until(() => closed.length === 1);
    t.is(log.lines.filter((line) => line.includes("closed by us")).length, 1);
    const other = new RawClient(server);
    other.send(request(ECHO, 1));
    t.is((await other.next(1))[0]!.code, 0);
    other.socket.destroy();
  });
}

test("invoke asks the client, with time-out, and fails when the connection is lost", async (t) => {
  const { server, channels } = await serve(t);
  const client = new RawClient(server);
  client.send(request(ECHO, 1));
  await client.next(1);
  const channel = channels[0]!;
  const asked = channel.invoke(request(40, channel.nextOpaque(), { consumerGroup: "g" }), 5_000);
  const [, question] = await client.next(2);
  t.is(question!.code, 40);
  t.is(question!.flag, 0);
  client.send(response(question!, 0, "seen"));
  t.is((await asked).remark, "seen");
  client.send(response(question!, 0, "again")); // Nobody waits for it any more: ignored.
  await t.throwsAsync(channel.invoke(request(40, 0), 30), { code: "MILLRACE_TIMEOUT" });
  const lost = channel.invoke(request(40, 0), 5_000);
  client.socket.destroy();
  await t.throwsAsync(lost, { code: "MILLRACE_CONNECTION" });
  await t.throwsAsync(channel.invoke(request(40, 0), 5_000), { code: "MILLRACE_CONNECTION" });
  t.notThrows(() => channel.write(request(40, 0)), "writing to a closed channel does nothing");
});

test("a peer that does not take its answers is no longer read from", async (t) => {
  const { server, log, closed } = await serve(t, { outBytesMax: 4_000_000 });
  const client = new RawClient(server);
  const frame = encodeCommand(request(ECHO, 1, {}, Buffer.alloc(500_000)));
  client.socket.pause();
  // Answers stop with the reads, long before the limit ...
  let sent = 0;
  while (client.socket.write(frame) || client.socket.writableLength < 20_000_000) sent++;
  t.true(sent > 10);
  await until(() => server.channelCount === 1);
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.is(closed.length, 0, "reading is stopped: the answers stay bounded without closing");
  t.is(log.lines.length, 0);
  client.socket.destroy();
});

test("pushes to a peer that does not read end at the limit", async (t) => {
  const { server, log, channels, closed } = await serve(t, { outBytesMax: 1_000_000 });
  const client = new RawClient(server);
  client.send(request(ECHO, 1));
  await client.next(1);
  client.socket.pause();
  for (let i = 0; i < 1_000 && closed.length === 0; i++) {
    channels[0]!.write(request(40, i, {}, Buffer.alloc(100_000)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => closed.length === 1);
  t.true(log.lines.some((line) => line.includes("wait to be sent")));
  client.socket.destroy();
});

test("reads no more requests than may be handled at once", async (t) => {
  let running = 0;
  let most = 0;
  const release: (() => void)[] = [];
  const handlers = new Map<number, RequestHandler>([
    [
      SLOW,
      async (command) => {
        most = Math.max(most, ++running);
        await new Promise<void>((resolve) => release.push(resolve));
        running--;
        return response(command, 0);
      },
    ],
  ]);
  const { server } = await serve(t, { handlers, requestsMax: 4 });
  const client = new RawClient(server);
  // Each in a read of its own: what one read brings is handled whole.
  for (let opaque = 0; opaque < 20; opaque++) {
    client.send(request(SLOW, opaque, {}, Buffer.alloc(100_000)));
  }
  await until(() => release.length >= 4);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.true(release.length < 8, `${release.length} begun`);
  const pump = setInterval(() => release.splice(0).forEach((go) => go()), 1);
  await client.next(20);
  clearInterval(pump);
  t.true(most < 8, `${most} at once`);
  client.socket.destroy();
});

test("closes idle connections, not those that talk", async (t) => {
  const clock = new VirtualClock(1_000_000);
  const { server, closed, channels } = await serve(t, { clock });
  const idle = new RawClient(server);
  const talking = new RawClient(server);
  idle.send(request(ECHO, 1));
  await idle.next(1);
  talking.send(request(ECHO, 1));
  await talking.next(1);
  clock.advance(90_000);
  talking.send(request(ECHO, 2));
  await talking.next(2);
  clock.advance(60_000);
  await once(idle.socket, "close");
  await until(() => closed.length === 1);
  t.is(closed[0], channels[0]);
  t.is(server.channelCount, 1);
  talking.socket.destroy();
});

test("an address in use is said plainly", async (t) => {
  const { server } = await serve(t);
  const second = new RemotingServer({
    host: "127.0.0.1",
    port: server.port,
    handlers: new Map(),
    clock: new SystemClock(),
    log: new LogLines(),
  });
  await t.throwsAsync(second.listen(), {
    code: "MILLRACE_ADDRESS_IN_USE",
    message: `127.0.0.1:${server.port} is already in use`,
  });
  const nowhere = new RemotingServer({
    host: "192.0.2.1",
    port: 0,
    handlers: new Map(),
    clock: new SystemClock(),
    log: new LogLines(),
  });
  await t.throwsAsync(nowhere.listen(), { code: "MILLRACE_CONFIG_INVALID", message: /cannot listen on 192\.0\.2\.1:0/ });
});

test("close ends everything, twice is once", async (t) => {
  const { server, closed } = await serve(t);
  const client = new RawClient(server);
  client.send(request(ECHO, 1));
  await client.next(1);
  await Promise.all([server.close(), server.close(), once(client.socket, "close")]);
  await until(() => closed.length === 1);
  t.is(server.channelCount, 0);
});
