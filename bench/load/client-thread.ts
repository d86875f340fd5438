// One client thread: runs the producers and consumers that the main thread asks for, case by case.
import { parentPort } from "node:worker_threads";
import { type ReceiverReport, type ReceiverSpec, Receivers } from "./receivers.ts";
import { Scoreboard, type ScoreboardMemory } from "./scoreboard.ts";
import { type SenderReport, type SenderSpec, Senders } from "./senders.ts";

export type Command =
  | { kind: "open"; thread: number; board: ScoreboardMemory }
  | { kind: "start-senders"; spec: SenderSpec }
  | { kind: "go" }
  | { kind: "stop-senders" }
  | { kind: "start-receivers"; spec: ReceiverSpec }
  | { kind: "stop-receivers" };

export type Reply = { error: string } | { result: SenderReport | ReceiverReport | undefined };

const port = parentPort!;
let thread = 0;
let board: Scoreboard;
let senders: Senders | undefined;
let receivers: Receivers | undefined;

async function obey(command: Command): Promise<SenderReport | ReceiverReport | undefined> {
  switch (command.kind) {
    case "open":
      thread = command.thread;
      board = new Scoreboard(command.board);
      return undefined;
    case "start-senders":
      senders = new Senders(command.spec, board, thread);
      await senders.start();
      return undefined;
    case "go":
      senders?.go();
      return undefined;
    case "stop-senders":
      return senders?.stop();
    case "start-receivers":
      receivers = new Receivers(command.spec, board, thread);
      await receivers.start();
      return undefined;
    case "stop-receivers":
      return receivers?.stop();
  }
}

// Commands come one at a time: the main thread awaits each reply.
port.on("message", (command: Command) => {
  obey(command).then(
    (result) => port.postMessage({ result } satisfies Reply),
    (error: unknown) => port.postMessage({ error: error instanceof Error ? error.message : String(error) } satisfies Reply),
  );
});
port.postMessage({ result: undefined } satisfies Reply);
