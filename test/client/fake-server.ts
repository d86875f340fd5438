import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { decodeCommand, encodeCommand, type RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { frameSize } from "../../src/format/remoting/remoting-frame.ts";

export type FakeHandler = (command: RemotingCommand, connection: FakeConnection) => RemotingCommand | undefined;

/** One accepted connection of the test double. */
export class FakeConnection {
  readonly socket: Socket;
  /** How many socket reads brought requests; tells whether the client joined its writes. */
  reads = 0;
  #have: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, serve: (command: RemotingCommand, connection: FakeConnection) => void) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.reads++;
      this.#have = Buffer.concat([this.#have, chunk]);
      for (;;) {
        const size = frameSize(this.#have, 0, this.#have.length);
        if (size < 0) return;
        serve(decodeCommand(this.#have.subarray(0, size)), this);
        this.#have = this.#have.subarray(size);
      }
    });
  }

  send(command: RemotingCommand): void {
    this.socket.write(encodeCommand(command));
  }

  cut(): void {
    this.socket.destroy();
  }
}

/** A remoting server for tests: answers each code as its handler says, nothing else. */
export class FakeServer {
  readonly connections: FakeConnection[] = [];
  readonly received: RemotingCommand[] = [];
  readonly #handlers = new Map<number, FakeHandler>();
  readonly #server: Server;

  /** Stays what it was after `stop`. */
  readonly port: number;
  readonly address: string;

  private constructor(server: Server) {
    this.#server = server;
    const { address, family, port } = server.address() as AddressInfo;
    this.port = port;
    this.address = family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
    server.on("connection", (socket) => {
      this.connections.push(new FakeConnection(socket, (command, connection) => this.#serve(command, connection)));
    });
  }

  static async start(port = 0, host = "127.0.0.1"): Promise<FakeServer> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return new FakeServer(server);
  }

  on(code: number, handler: FakeHandler): this {
    this.#handlers.set(code, handler);
    return this;
  }

  receivedOf(code: number): RemotingCommand[] {
    return this.received.filter((command) => command.code === code);
  }

  async stop(): Promise<void> {
    for (const connection of this.connections) connection.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(command: RemotingCommand, connection: FakeConnection): void {
    this.received.push(command);
    const answer = this.#handlers.get(command.code)?.(command, connection);
    if (answer !== undefined) connection.send(answer);
  }
}
