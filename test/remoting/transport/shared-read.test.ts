import { once } from "node:events";
import net from "node:net";
import test from "ava";
import { readInto } from "../../../src/remoting/transport/shared-read.ts";

// Goal: sockets of a server share one buffer, and are sockets in all else: they can be paused, and say when they end.
test("an accepted socket reads into the buffer that it is given", async (t) => {
  const buffer = Buffer.allocUnsafeSlow(64);
  const texts: string[] = ["", ""];
  const sockets: net.Socket[] = [];
  const ends: Promise<unknown>[] = [];
  const server = net.createServer((socket) => {
    const number = sockets.push(socket) - 1;
    ends.push(once(socket, "close"));
    t.true(
      readInto(socket, buffer, (size) => {
        texts[number] += buffer.toString("latin1", 0, size);
      }),
    );
    socket.on("data", () => t.fail("there is nothing left to hear"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const client = async (): Promise<net.Socket> => {
    const socket = net.connect(port, "127.0.0.1");
    await once(server, "connection");
    return socket;
  };
  const first = await client();
  const second = await client();
  const arrives = async (number: number, text: string): Promise<void> => {
    while (texts[number] !== text) await new Promise((resolve) => setImmediate(resolve));
  };
  const long = "0123456789".repeat(20); // More than the buffer holds.
  first.write(long);
  second.write("two");
  await Promise.all([arrives(0, long), arrives(1, "two")]);
  sockets[0]!.pause();
  first.write("!");
  second.write(" more");
  await arrives(1, "two more");
  t.is(texts[0], long);
  sockets[0]!.resume();
  await arrives(0, `${long}!`);
  first.end();
  second.destroy();
  await Promise.all(ends);
  server.close();
});
