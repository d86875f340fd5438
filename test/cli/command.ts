import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A `millrace` command in a process of its own. */
export class Command {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #ended: Promise<number | null>;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env }, stdio: "pipe" });
    this.child.stdout!.on("data", (chunk) => (this.stdout += chunk));
    this.child.stderr!.on("data", (chunk) => (this.stderr += chunk));
    this.#ended = once(this.child, "close").then(([code]) => code as number | null);
  }

  /** The first line of standard output that `pattern` finds something in. Rejects when the command ends without. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.stdout);
      if (found !== null && this.stdout.includes("\n", found.index)) return found;
      const state = await Promise.race([once(this.child.stdout!, "data").then(() => "more"), this.#ended.then(() => "ended")]);
      if (state === "ended" && pattern.exec(this.stdout) === null) {
        throw new Error(`ended without ${pattern}\n${this.stdout}\n${this.stderr}`);
      }
    }
  }

  async end(signal?: NodeJS.Signals): Promise<Finished> {
    if (signal !== undefined) this.child.kill(signal);
    const code = await this.#ended;
    return { code, stdout: this.stdout, stderr: this.stderr };
  }
}

/** Runs a command to its end, with `input` as its standard input. */
export function runCommand(
  args: readonly string[],
  input: string | Buffer = "",
  env: Record<string, string> = {},
): Promise<Finished> {
  const command = new Command(args, env);
  command.child.stdin!.on("error", () => {});
  command.child.stdin!.end(input);
  return command.end();
}
