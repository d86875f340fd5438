// One run of a client's cases in a process of its own, which prints a JSON line for each case as it ends.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface CaseResult {
  case: string;
  ok: boolean;
  /** Why it failed, or what is worth knowing of a pass. */
  detail: string;
  ms: number;
}

export interface Program {
  command: string;
  args: readonly string[];
  cwd: string;
}

/** Of what the client library logs to standard error, the end is kept. */
const LOG_SIZE_MAX = 2048;

export class CaseRun {
  readonly #child: ChildProcess;
  readonly #results = new Map<string, CaseResult>();
  readonly #waiting = new Map<string, (result: CaseResult) => void>();
  #log = "";
  #ended: string | undefined;

  constructor({ command, args, cwd }: Program) {
    this.#child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stderr!.setEncoding("utf8").on("data", (chunk: string) => (this.#log = (this.#log + chunk).slice(-LOG_SIZE_MAX)));
    const lines = createInterface({ input: this.#child.stdout! });
    lines.on("line", (line) => this.#line(line));
    this.#child.on("error", (error) => this.#end(error.message));
    void Promise.all([once(lines, "close"), once(this.#child, "close")]).then(([, [code, signal]]) =>
      this.#end(`the runner ended with ${String(code ?? signal)}`),
    );
  }

  /** The case's result as soon as it is there; a failed one when the process ends without it. */
  result(name: string): Promise<CaseResult> {
    const known = this.#results.get(name);
    if (known !== undefined) return Promise.resolve(known);
    if (this.#ended !== undefined) return Promise.resolve(this.#missing(name));
    return new Promise((resolve) => this.#waiting.set(name, resolve));
  }

  async stop(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
  }

  #line(line: string): void {
    if (!line.startsWith('{"case":')) {
      this.#log += `${line}\n`;
      return;
    }
    const result = JSON.parse(line) as CaseResult;
    this.#results.set(result.case, result);
    this.#waiting.get(result.case)?.(result);
    this.#waiting.delete(result.case);
  }

  #end(why: string): void {
    this.#ended ??= why;
    for (const [name, resolve] of this.#waiting) resolve(this.#missing(name));
    this.#waiting.clear();
  }

  #missing(name: string): CaseResult {
    return { case: name, ok: false, detail: `no result: ${this.#ended}\n${this.#log}`, ms: 0 };
  }
}
