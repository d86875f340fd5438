import { parentPort, workerData } from "node:worker_threads";
import { IoWorker, type IoWorkerInit } from "../src/remoting/io-worker.ts";

await IoWorker.start(workerData as IoWorkerInit, parentPort!);
