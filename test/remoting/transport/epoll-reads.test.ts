import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import { loadDrive } from "../../../src/os/choose.ts";
import { EpollReads } from "../../../src/remoting/transport/epoll-reads.ts";
import { openReads } from "../../../src/remoting/transport/open-reads.ts";
import type { SocketReading } from "../../../src/remoting/transport/socket-reads.ts";
import { until } from "../../until.ts";

// Goal: sockets that are read past the event loop are sockets in all else: they pause, end and are closed when they are
// silent; and the event loop has its turn beside them.
interface Peer {
  client: net.Socket;
  socket: net.Socket;
  reading: SocketReading;
  text: string;
}

interface Lab extends AsyncDisposable {
  connect(): Promise<Peer>;
}

const isLinux = process.platform === "linux";
const onLinux = isLinux ? test : test.skip;

async function lab(idleMsMax: number, now: () => number = Date.now): Promise<Lab> {
  const drive = await loadDrive("ffi");
  const server = net.createServer({ pauseOnConnect: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const clients: net.Socket[] = [];
  const opened: { reads?: ReturnType<typeof openReads> } = {};
  return {
    async connect(): Promise<Peer> {
      const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
      clients.push(client);
      const [socket] = (await once(server, "connection")) as [net.Socket];
      opened.reads ??= openReads({
        transport: "epoll",
        drive,
        server,
        inputSize: 4096,
        idleMsMax,
        now,
        work: () => 0,
        onRound: () => {},
      });
      if (!(opened.reads instanceof EpollReads)) throw new Error("the event loop was not found");
      socket.on("error", () => {});
      const peer = { client, socket, text: "" } as Peer;
      peer.reading = opened.reads.attach(socket, (bytes, size) => {
        peer.text += bytes.toString("latin1", 0, size);
      });
      return peer;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      for (const client of clients) client.destroy();
      server.close();
      await once(server, "close");
      opened.reads?.close();
    },
  };
}

onLinux("bytes of several sockets reach their readers, more than one read takes as well", async (t) => {
  await using here = await lab(60_000);
  const [one, other] = [await here.connect(), await here.connect()];
  const long = "0123456789".repeat(10_000);
  one.client.write("to one");
  other.client.write(long);
  await until(() => one.text === "to one" && other.text.length >= long.length);
  t.is(other.text, long);
  one.socket.write("answer");
  const [answer] = (await once(one.client, "data")) as [Buffer];
  t.is(String(answer), "answer");
});

onLinux("a paused socket is not read, whatever its peer does, and nothing spins; then it goes on", async (t) => {
  await using here = await lab(60_000);
  const peer = await here.connect();
  const other = await here.connect();
  peer.reading.pause();
  peer.reading.pause();
  peer.client.end("kept");
  for (let i = 0; i < 20; i++) {
    other.client.write(".");
    await until(() => other.text.length === i + 1);
  }
  t.is(peer.text, "");
  const closed = once(peer.socket, "close");
  peer.reading.resume();
  await closed;
  t.is(peer.text, "kept");
});

onLinux("what was being sent is sent before the connection ends with its peer's", async (t) => {
  await using here = await lab(60_000);
  const { client, socket } = await here.connect();
  const size = 20_000_000; // More than the system takes at once.
  socket.write(Buffer.alloc(size, 1));
  client.end();
  let received = 0;
  client.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  await Promise.all([once(socket, "close"), once(client, "close")]);
  t.is(received, size);
});

onLinux("a peer that breaks off, and a socket that is destroyed here, are forgotten; descriptors may come again", async (t) => {
  await using here = await lab(60_000);
  for (let i = 0; i < 20; i++) {
    const peer = await here.connect();
    const closed = once(peer.socket, "close");
    peer.client.write("x");
    if (i % 2 === 0) peer.client.resetAndDestroy();
    else peer.socket.destroy();
    await closed;
  }
  const last = await here.connect();
  last.client.write("last");
  await until(() => last.text === "last");
  t.is(last.text, "last");
});

onLinux("a silent socket is closed, one that writes is not", async (t) => {
  let nowMs = 0;
  await using here = await lab(10_000, () => nowMs);
  const silent = await here.connect();
  const busy = await here.connect();
  const closed = once(silent.socket, "close");
  for (let i = 1; i <= 12; i++) {
    nowMs += 1_000;
    busy.client.write("x");
    await until(() => busy.text.length === i);
  }
  await closed;
  t.false(busy.socket.destroyed);
});

onLinux("timers, immediates and messages have their turn while requests come without end", async (t) => {
  await using here = await lab(60_000);
  const { client, socket } = await here.connect();
  client.on("data", () => client.write("x"));
  socket.write("x");
  const channel = new MessageChannel();
  const echoed = once(channel.port1 as unknown as NodeJS.EventEmitter, "message");
  channel.port2.postMessage("hello");
  await Promise.all([sleep(5), new Promise((resolve) => setImmediate(resolve)), echoed]);
  channel.port1.close();
  t.pass();
});
