// Starts and stops a broker by the start contract, as any script would: `npm run -s millrace -- up`, the ready line, SIGTERM.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const ROOT = new URL("../../", import.meta.url);
const READY = /^ready namesrv=(\S+) broker=(\S+) pid=(\d+)\b/m;
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
/** Of what the broker says, the end is kept for failure messages. */
const OUTPUT_SIZE_MAX = 8192;

export interface BrokerStart {
  /** Directory of the store; kept at the stop. */
  store: string;
  nativeFree?: boolean;
  /** File of RocketMQ's property keys. */
  configFile?: string;
}

export class RunningBroker {
  /** HOST:PORT each. */
  readonly namesrv: string;
  readonly broker: string;
  /** Of the process that holds all threads; npm and its shell stand above it. */
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  readonly #output: () => string;

  constructor(child: ChildProcess, ended: Promise<number | null>, output: () => string, ready: RegExpExecArray) {
    this.#child = child;
    this.#ended = ended;
    this.#output = output;
    this.namesrv = ready[1]!;
    this.broker = ready[2]!;
    this.pid = Number(ready[3]);
  }

  /** The end of what the broker printed. */
  get output(): string {
    return this.#output();
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** @returns exit code; throws when the broker does not end by itself. */
  async stop(): Promise<number | null> {
    if (this.isRunning) process.kill(this.pid, "SIGTERM");
    const code = await Promise.race([this.#ended, sleep(STOP_TIMEOUT_MS, "late" as const, { ref: false })]);
    if (code !== "late") return code;
    process.kill(this.pid, "SIGKILL");
    throw new Error(`broker did not stop within ${STOP_TIMEOUT_MS} ms of SIGTERM:\n${this.output}`);
  }
}

/** Resolves once name server and broker answer, on free ports. */
export async function startBroker({ store, nativeFree = false, configFile }: BrokerStart): Promise<RunningBroker> {
  const args = ["run", "-s", "millrace", "--", "up", "--port", "0", "--namesrv-port", "0", "--store", store];
  if (nativeFree) args.push("--native-free");
  if (configFile !== undefined) args.push("-c", configFile);
  const child = spawn("npm", args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const ended = once(child, "close").then(([code]) => code as number | null);
  const ready = new Promise<RegExpExecArray>((resolve) => {
    const add = (chunk: string): void => {
      output = (output + chunk).slice(-OUTPUT_SIZE_MAX);
      const found = READY.exec(output);
      if (found !== null) resolve(found);
    };
    child.stdout.setEncoding("utf8").on("data", add);
    child.stderr.setEncoding("utf8").on("data", add);
  });
  const first = await Promise.race([ready, ended, sleep(START_TIMEOUT_MS, "late" as const, { ref: false })]);
  if (first !== null && typeof first === "object") return new RunningBroker(child, ended, () => output, first);
  // The whole group would be better, but npm passes the signal on to what it runs.
  if (first === "late") child.kill("SIGTERM");
  throw new Error(
    `no ready line ${first === "late" ? `within ${START_TIMEOUT_MS} ms` : `before exit code ${first}`}:\n${output}`,
  );
}
