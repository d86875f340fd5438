import fs from "node:fs/promises";
import path from "node:path";
import { crc32 } from "../base/crc32.ts";
import { readSmallFile, storeError, syncDirectory } from "./files.ts";

/** What is appended together, and whoever waits for it. */
interface Group {
  text: string;
  done: Promise<void>;
}

/**
 * Changes of a table since its file was last written, a line each: `crc json`, the CRC-32 of the JSON in hex. Appending
 * a line costs one fdatasync, however large the table is, and all who append meanwhile share the next one. What a crash
 * has torn is no line. Control thread only.
 */
export class LineJournal {
  readonly path: string;
  #file: fs.FileHandle | undefined;
  /** The group that waits for the one being written. */
  #next: Group | undefined;
  #last: Promise<void> = Promise.resolve();
  /** Lines appended, or about to be. */
  #size = 0;

  constructor(file: string) {
    this.path = file;
  }

  /** The values of all whole lines, in order. */
  read(): unknown[] {
    const values: unknown[] = [];
    const lines = (readSmallFile(this.path)?.toString("utf8") ?? "").split("\n");
    this.#size = lines.length - 1;
    for (const line of lines) {
      const json = line.slice(9);
      if (line === "" || line.slice(0, 8) !== checksum(json)) continue;
      values.push(JSON.parse(json));
    }
    return values;
  }

  /** @returns resolves once the disk has the line. @throws MillraceError MILLRACE_STORE_… */
  append(value: unknown): Promise<void> {
    const json = JSON.stringify(value);
    const line = `${checksum(json)} ${json}\n`;
    this.#size++;
    if (this.#next !== undefined) {
      this.#next.text += line;
      return this.#next.done;
    }
    const group: Group = { text: line, done: Promise.resolve() };
    // Whatever became of the group before: this one has a result of its own.
    group.done = this.#last.catch(() => {}).then(() => this.#write(group));
    this.#next = group;
    this.#last = group.done;
    return group.done;
  }

  /** Resolves once the disk has all lines appended so far. @throws MillraceError MILLRACE_STORE_… */
  settled(): Promise<void> {
    return this.#last;
  }

  async #write(group: Group): Promise<void> {
    if (this.#next === group) this.#next = undefined;
    try {
      if (this.#file === undefined) {
        this.#file = await fs.open(this.path, "a", 0o644);
        syncDirectory(path.dirname(this.path));
        // A torn line of a crash must not run into ours.
        if ((await this.#file.stat()).size > 0) await this.#file.appendFile("\n");
      }
      await this.#file.appendFile(group.text);
      await this.#file.datasync();
    } catch (error) {
      throw storeError(error, "append to", this.path);
    }
  }

  /** The table's file has all lines appended so far: they go, later ones stay. @throws MillraceError MILLRACE_STORE_… */
  clear(): Promise<void> {
    if (this.#size === 0) return Promise.resolve();
    this.#size = 0;
    this.#next = undefined; // What is appended from now on is written behind this.
    this.#last = this.#last.catch(() => {}).then(() => this.#truncate());
    return this.#last;
  }

  async #truncate(): Promise<void> {
    try {
      if (this.#file === undefined) await fs.truncate(this.path, 0);
      else await this.#file.truncate(0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw storeError(error, "truncate", this.path);
    }
  }

  async close(): Promise<void> {
    await this.#last.catch(() => {});
    await this.#file?.close();
    this.#file = undefined;
  }
}

function checksum(json: string): string {
  const bytes = Buffer.from(json);
  return (crc32(bytes, 0, bytes.length) >>> 0).toString(16).padStart(8, "0");
}
