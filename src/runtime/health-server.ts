import http from "node:http";
import type { AddressInfo } from "node:net";
import { listenError } from "./io-pool.ts";

const HEADERS = { "content-type": "application/json", "cache-control": "no-store" };

/**
 * Tells orchestrators over HTTP whether the process lives (GET /livez) and whether the broker can store messages
 * (GET /readyz: 200, or 503 with the reasons). A full disk is no reason: reads go on, and writes come back by themselves.
 */
export class HealthServer {
  readonly address: string;
  readonly #server: http.Server;

  /** @throws MillraceError MILLRACE_ADDRESS_IN_USE, MILLRACE_CONNECTION */
  static start(host: string, port: number, faults: () => readonly string[]): Promise<HealthServer> {
    const server = http.createServer((request, answer) => {
      const path = request.url?.split("?")[0];
      const reasons = path === "/readyz" ? faults() : [];
      const isKnown = path === "/livez" || path === "/readyz";
      const isAllowed = request.method === "GET" || request.method === "HEAD";
      const status = !isKnown ? 404 : !isAllowed ? 405 : reasons.length > 0 ? 503 : 200;
      answer.writeHead(status, HEADERS);
      answer.end(request.method === "HEAD" ? undefined : `${JSON.stringify({ ok: status === 200, reasons })}\n`);
    });
    server.maxConnections = 64;
    server.requestTimeout = 5000;
    server.headersTimeout = 5000;
    server.keepAliveTimeout = 5000;
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(host, port, error.code ?? "", error.message)));
      server.listen(port, host, () => {
        server.removeAllListeners("error");
        server.on("error", () => {}); // Of single connections: nobody to tell.
        resolve(new HealthServer(server, host));
      });
    });
  }

  private constructor(server: http.Server, host: string) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}
