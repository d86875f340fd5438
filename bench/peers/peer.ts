import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export type PeerName = "millrace" | "rocketmq" | "kafka" | "redis";

/** A broker under measurement. */
export interface Peer {
  readonly name: PeerName;
  /** With version and what was set. */
  readonly title: string;
  readonly port: number;
  readonly pids: readonly number[];
  /** From the start of the process to the first connection it takes, ms. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** There is no such broker on this machine; the message says what is missing. */
export class PeerMissing extends Error {}

const START_MS = 120_000;
const STOP_MS = 30_000;
const POLL_MS = 20;

/** Starts a program whose output goes to a file, and waits until `port` takes connections. */
export class PeerProcess {
  readonly child: ChildProcess;
  readonly #log: string;
  startMs = 0;

  constructor(directory: string, name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    mkdirSync(directory, { recursive: true });
    this.#log = join(directory, `${name}.log`);
    const output = openSync(this.#log, "a");
    this.child = spawn(command, args, { cwd: directory, env: { ...process.env, ...env }, stdio: ["ignore", output, output] });
    closeSync(output);
    this.child.once("error", () => {});
    process.once("exit", this.#kill);
  }

  readonly #kill = (): void => {
    this.child.kill("SIGKILL");
  };

  /** @throws Error with the end of the output when the program ends, or does not answer in time */
  async listening(port: number): Promise<this> {
    const started = performance.now();
    while (!(await takesConnections(port))) {
      if (this.child.exitCode !== null || performance.now() - started > START_MS) {
        throw new Error(`${this.#log}:\n${readFileSync(this.#log, "utf8").slice(-2000)}`);
      }
      await sleep(POLL_MS);
    }
    this.startMs = Math.round(performance.now() - started);
    return this;
  }

  async stop(): Promise<void> {
    process.off("exit", this.#kill);
    this.child.kill("SIGTERM");
    for (let waited = 0; this.child.exitCode === null && this.child.signalCode === null; waited += POLL_MS) {
      if (waited > STOP_MS) this.child.kill("SIGKILL");
      await sleep(POLL_MS);
    }
  }
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
