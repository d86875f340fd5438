import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { BUILT_MAIN, SOURCE_MAIN } from "../command.ts";

/** Linux says so in every build: sysconf(_SC_CLK_TCK). */
const TICK_MS = 10;
const READY = /^ready namesrv=\S+ broker=(\S+) pid=\d+/m;

/** Our broker in a process of its own, to be killed. */
export class BrokerProcess {
  readonly address: string;
  /** When the process was started, as of performance.now(). */
  readonly startedMs: number;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  /**
   * @param isTold its log goes to our standard error
   * @param isBuilt what `npm run build` made, instead of the sources, whose types each thread has to strip
   * @throws Error with what it told, when it ends instead
   */
  static start(args: readonly string[], isTold: boolean, isBuilt = false): Promise<BrokerProcess> {
    return BrokerProcess.run(
      [isBuilt ? BUILT_MAIN : SOURCE_MAIN, "up", "--host", "127.0.0.1", "--port", "0", "--no-namesrv", ...args],
      isTold,
    );
  }

  /** @param args of Node: a program that prints the ready line, and its arguments */
  static async run(args: readonly string[], isTold: boolean): Promise<BrokerProcess> {
    const startedMs = performance.now();
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    const closed = once(child, "close");
    const onExit = (): void => void child.kill("SIGKILL");
    process.once("exit", onExit);
    void closed.then(() => process.off("exit", onExit));
    let told = "";
    child.stderr.on("data", (chunk: Buffer) => {
      told = `${told}${String(chunk)}`.slice(-4000);
      if (isTold) process.stderr.write(chunk);
    });
    let output = "";
    for (;;) {
      const chunk = await Promise.race([once(child.stdout, "data"), closed.then(() => undefined)]);
      if (chunk === undefined) throw new Error(`the broker has ended:\n${told}`);
      output += String(chunk[0]);
      const address = READY.exec(output)?.[1];
      if (address !== undefined) return new BrokerProcess(address, startedMs, child, closed);
    }
  }

  private constructor(address: string, startedMs: number, child: ChildProcess, closed: Promise<unknown>) {
    this.address = address;
    this.startedMs = startedMs;
    this.#child = child;
    this.#closed = closed;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** CPU time that it has used, ms; 0 where the system does not tell. */
  cpuMs(): number {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "latin1");
      const [user, system] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 13);
      return (Number(user) + Number(system)) * TICK_MS;
    } catch {
      return 0;
    }
  }

  /** With SIGKILL; on return it is gone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }
}
