import { readdirSync, readFileSync } from "node:fs";

/** What processes, and the machine, used while a window was open. Seconds of one core, MB by 1,000,000 bytes. */
export interface Usage {
  seconds: number;
  /** utime + stime of the broker's processes, and its two parts. */
  cpu: number;
  user: number;
  system: number;
  /** The same by thread name, threads of one name together; only those above a hundredth. */
  byThread: Record<string, number>;
  /** Peak of anonymous memory: what is really the broker's own, unlike the pages of mapped files. */
  anonMb: number;
  /** Of this process: the clients. */
  clientCpu: number;
  /** Of everybody else on the machine. Much of it, and the figures are of little worth. */
  othersCpu: number;
}

/** Linux says so in every build: sysconf(_SC_CLK_TCK). */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 100;

interface Sample {
  ms: number;
  user: number;
  system: number;
  byThread: Map<string, number>;
  client: number;
  machine: number;
}

/** Watches processes by /proc. On a system without it everything but the time is 0, and `isAvailable` false. */
export class UsageWindow {
  readonly #pids: readonly number[];
  readonly #start: Sample;
  readonly #timer: NodeJS.Timeout;
  #anonBytes = 0;

  /** Opens the window. */
  constructor(pids: readonly number[]) {
    this.#pids = pids;
    this.#start = take(pids);
    this.#timer = setInterval(() => this.#watchMemory(), SAMPLE_MS);
    this.#watchMemory();
  }

  static get isAvailable(): boolean {
    return readOr("/proc/self/stat") !== "";
  }

  close(): Usage {
    clearInterval(this.#timer);
    this.#watchMemory();
    const start = this.#start;
    const end = take(this.#pids);
    const user = end.user - start.user;
    const system = end.system - start.system;
    const clientCpu = end.client - start.client;
    const byThread: Record<string, number> = {};
    for (const [name, used] of end.byThread) {
      const difference = round(used - (start.byThread.get(name) ?? 0));
      if (difference > 0.01) byThread[name] = difference;
    }
    return {
      seconds: (end.ms - start.ms) / 1000,
      cpu: round(user + system),
      user: round(user),
      system: round(system),
      byThread,
      anonMb: round(this.#anonBytes / 1e6),
      clientCpu: round(clientCpu),
      othersCpu: round(Math.max(0, end.machine - start.machine - user - system - clientCpu)),
    };
  }

  #watchMemory(): void {
    let bytes = 0;
    for (const pid of this.#pids) {
      const [, kiB] = /^RssAnon:\s+(\d+) kB/m.exec(readOr(`/proc/${pid}/status`)) ?? [];
      bytes += Number(kiB ?? 0) * 1024;
    }
    this.#anonBytes = Math.max(this.#anonBytes, bytes);
  }
}

/** Whether the process is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // Somebody else's, but there.
  }
}

function take(pids: readonly number[]): Sample {
  const sample: Sample = { ms: performance.now(), user: 0, system: 0, byThread: new Map(), client: 0, machine: machineSeconds() };
  for (const pid of pids) {
    const { user, system } = timesOf(`/proc/${pid}/stat`);
    sample.user += user;
    sample.system += system;
    for (const task of tasksOf(pid)) {
      const times = timesOf(`/proc/${pid}/task/${task}/stat`);
      sample.byThread.set(times.name, (sample.byThread.get(times.name) ?? 0) + times.user + times.system);
    }
  }
  const own = process.cpuUsage();
  sample.client = (own.user + own.system) / 1e6;
  return sample;
}

/** `pid (name) state ppid ...`; utime and stime are fields 14 and 15, and the name may hold blanks. */
function timesOf(file: string): { name: string; user: number; system: number } {
  const text = readOr(file);
  const close = text.lastIndexOf(")");
  const fields = text.slice(close + 2).split(" ");
  const seconds = (field: number): number => Number(fields[field - 3] ?? 0) / TICKS_PER_SECOND;
  return { name: text.slice(text.indexOf("(") + 1, close), user: seconds(14), system: seconds(15) };
}

/** Busy time of all cores: all but idle and waiting for disks. */
function machineSeconds(): number {
  const [, line] = /^cpu +(.*)$/m.exec(readOr("/proc/stat")) ?? [];
  if (line === undefined) return 0;
  // user nice system idle iowait irq softirq steal; guest time is within user.
  const ticks = line.split(" ").slice(0, 8).map(Number);
  return ticks.reduce((sum, value, index) => (index === 3 || index === 4 ? sum : sum + value), 0) / TICKS_PER_SECOND;
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The file's text, or nothing: threads and processes may end between two looks. */
function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
