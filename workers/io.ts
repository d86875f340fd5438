import { parentPort, workerData } from "node:worker_threads";
import { saveCompileCache } from "../src/base/compile-cache.ts";
import { IoWorker } from "../src/remoting/io-worker.ts";
import type { IoWorkerInit } from "../src/remoting/io-worker-init.ts";

await IoWorker.start(workerData as IoWorkerInit, parentPort!);
saveCompileCache();
