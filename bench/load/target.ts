import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENT_KEYS, SOURCE_MAIN } from "../command.ts";
import type { Settings } from "./settings.ts";
import { isAlive } from "./usage.ts";

/** The broker that is measured. */
export interface Target {
  title: string;
  namesrvAddr: string;
  /** Of a broker that we have started; "" otherwise. */
  brokerAddress: string;
  pids: readonly number[];
  /** Rejects when the broker ends before it is told to. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

const READY_MS = 60_000;
const STOP_MS = 20_000;
/** A smoke run shall not write gigabytes of empty files. */
const SMOKE_KEYS = ["mappedFileSizeCommitLog=67108864", "maxHashSlotNum=100000", "maxIndexNum=400000"];

/** What of the settings concerns the broker. */
export type TargetSettings = Pick<Settings, "against" | "pids" | "store" | "port" | "namesrvPort" | "isSmoke" | "brokerArgs"> &
  Partial<Pick<Settings, "cpuProf">> & {
    /** Of another build. */
    main?: string;
  };

/** @throws Error whose message says why there is no broker to measure */
export function openTarget(settings: TargetSettings): Promise<Target> {
  return settings.against === undefined ? startOwn(settings) : Promise.resolve(joinOther(settings.against, settings.pids));
}

function joinOther(namesrvAddr: string, pids: readonly number[]): Target {
  for (const pid of pids) if (!isAlive(pid)) throw new Error(`--pid ${pid}: there is no such process`);
  return {
    title: `the broker behind ${namesrvAddr}`,
    namesrvAddr,
    brokerAddress: "",
    pids,
    failed: new Promise(() => {}),
    stop: async () => {},
  };
}

/** Starts our own broker in a process of its own, by the start contract. */
async function startOwn(settings: TargetSettings): Promise<Target> {
  const scratch = settings.store === undefined ? mkdtempSync(join(tmpdir(), "millrace-bench-")) : undefined;
  const args = ["up", "--log-level", "warn", "--host", "127.0.0.1", "--store", settings.store ?? join(scratch!, "store")];
  args.push("--port", String(settings.port), "--namesrv-port", String(settings.namesrvPort));
  if (settings.isSmoke) args.push(...[...SMOKE_KEYS, ...PATIENT_KEYS].flatMap((pair) => ["--set", pair]));
  args.push(...settings.brokerArgs);
  if (settings.cpuProf !== undefined) args.push("--cpu-prof", settings.cpuProf);
  const child = spawn(process.execPath, [settings.main ?? SOURCE_MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  // However this process ends, it leaves nothing behind.
  const cleanUp = (): void => {
    child.kill("SIGKILL");
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  };
  process.once("exit", cleanUp);
  let said = "";
  child.stderr.on("data", (chunk) => (said = `${said}${chunk}`.slice(-4000)));
  const ended = once(child, "close").then(
    ([code, signal]) => `ended with ${signal ?? `code ${code}`}${said === "" ? "" : `:\n${said.trim()}`}`,
  );
  let isStopping = false;
  const failed = ended.then((how) =>
    isStopping ? new Promise<never>(() => {}) : Promise.reject(new Error(`the broker ${how}`)),
  );
  failed.catch(() => {}); // Whoever waits for something of the broker's races with it; nobody has to.
  const stop = async (): Promise<void> => {
    isStopping = true;
    child.kill("SIGTERM");
    const clean = await Promise.race([ended.then(() => true), sleep(STOP_MS, false, { ref: false })]);
    cleanUp();
    process.off("exit", cleanUp);
    if (!clean) throw new Error(`the broker did not stop within ${STOP_MS / 1000} s`);
  };
  try {
    const [, namesrvAddr, brokerAddress] = await Promise.race([readyLine(child), failed]);
    return {
      title: `Millrace ${settings.brokerArgs.join(" ")}`.trim(),
      namesrvAddr: namesrvAddr!,
      brokerAddress: brokerAddress!,
      pids: [child.pid!],
      failed,
      stop,
    };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

async function readyLine(child: ChildProcess): Promise<RegExpExecArray> {
  let output = "";
  const signal = AbortSignal.timeout(READY_MS);
  try {
    for (;;) {
      const [chunk] = await once(child.stdout!, "data", { signal });
      output += chunk;
      const found = /^ready namesrv=(\S+) broker=(\S+) pid=\d+$/m.exec(output);
      if (found !== null) return found;
    }
  } catch (error) {
    throw signal.aborted ? new Error(`the broker was not ready after ${READY_MS / 1000} s`) : error;
  }
}
