import net from "node:net";
import { listenError } from "./io-pool.ts";

/** `reusePort` of net.Server.listen: since Node 22.12, and 23.1. */
export const CAN_SHARE_PORT: boolean = hasReusePort(process.versions.node);

function hasReusePort(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
}

/** The port, if it is free, or any free one for 0. @throws MillraceError MILLRACE_ADDRESS_IN_USE naming host and port */
export async function freePort(host: string, wanted: number): Promise<number> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(host, wanted, error.code ?? "", error.message)));
    server.listen(wanted, host, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
