import { extname } from "node:path";
import { type MessagePort, Worker } from "node:worker_threads";

export type ThreadName = "io" | "log-writer" | "queue-indexer" | "key-indexer" | "flusher" | "timer";

/** Of a program given on the command line (`node --input-type=module -e`): would be refused for a file. */
const INPUT_TYPE = "--input-type";
/** Only then is a list of arguments given, since such a list must hold no options of V8, which threads have without it. */
const IS_PROGRAM_TEXT: boolean = process.execArgv.some((argument) => argument.startsWith(INPUT_TYPE));

/** Starts a thread from workers/<name>; the suffix is that of the running build (.ts in development, .js published). */
export function startThread(name: ThreadName, workerData: unknown, transferList: MessagePort[] = []): Worker {
  const file = new URL(`../../workers/${name}${extname(import.meta.filename)}`, import.meta.url);
  return new Worker(file, {
    workerData,
    transferList,
    name,
    // Descriptors of log files go from thread to thread: a thread that ends must not close numbers that others hold by then.
    trackUnmanagedFds: false,
    ...(IS_PROGRAM_TEXT ? { execArgv: process.execArgv.filter((argument) => !argument.startsWith(INPUT_TYPE)) } : {}),
  });
}

/** Resolves at the thread's "ready". Rejects if it ends or throws before. */
export function ready(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once("message", () => resolve());
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`a thread ended with code ${code} before it was ready`)));
  });
}

export function ended(worker: Worker): Promise<number> {
  if (worker.threadId === -1) return Promise.resolve(0);
  return new Promise((resolve) => worker.once("exit", resolve));
}
