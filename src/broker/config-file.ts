import { MillraceError } from "../base/errors.ts";
import { readReplacedFile, replaceFile, replaceFileNow } from "../os/replace-file.ts";

/**
 * One of the small JSON files under config/. After a crash at any instant either the old or the new text is whole,
 * and the one before it stands beside it as `.bak`. Control thread only.
 * Source: Apache `ConfigManager`.
 */
export class ConfigFile {
  readonly path: string;
  #makeText: () => string = () => "";
  /** The write that runs, and the one that waits for it. */
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** The text of the file, or of its `.bak` where the file is missing or empty; undefined when there is neither. */
  load(): string | undefined {
    return this.read((text) => text);
  }

  /**
   * `parse` of the text; of the `.bak` where the file is missing or empty, or `parse` throws.
   * @throws MillraceError MILLRACE_STORE_CORRUPT when neither can be parsed
   */
  read<T>(parse: (text: string) => T): T | undefined {
    try {
      return readReplacedFile(
        this.path,
        (bytes) => {
          const text = bytes.toString("utf8");
          if (text.trim() === "") throw new MillraceError("MILLRACE_STORE_CORRUPT", `${this.path} is empty`, { file: this.path });
          return parse(text);
        },
        () => {},
      );
    } catch (error) {
      if (error instanceof MillraceError && error.code.startsWith("MILLRACE_STORE_")) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new MillraceError("MILLRACE_STORE_CORRUPT", `${this.path}: ${reason}`, { file: this.path }, error);
    }
  }

  /**
   * Replaces the file and returns once the disk has it; blocks the thread.
   * @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL, MILLRACE_STORE_UNWRITABLE
   */
  save(text: string): void {
    replaceFileNow(this.path, Buffer.from(text));
    // A write under way carries an older text and may end after this one: this text follows it.
    if (this.#current !== undefined && this.#next === undefined) this.saveLater(() => text).catch(() => {});
  }

  /**
   * Replaces the file without blocking the thread. Calls made before a write begins share it, and it takes the
   * text as it is then.
   * @returns resolves once the disk has it
   * @throws MillraceError as `save`
   */
  saveLater(makeText: () => string): Promise<void> {
    this.#makeText = makeText;
    if (this.#next !== undefined) return this.#next;
    const before = this.#current ?? Promise.resolve();
    // Whatever became of the write before: this one has a result of its own.
    const write: Promise<void> = before.catch(() => {}).then(() => this.#write(write));
    this.#next = write;
    return write;
  }

  async #write(self: Promise<void>): Promise<void> {
    this.#next = undefined;
    this.#current = self;
    try {
      await replaceFile(this.path, Buffer.from(this.#makeText()));
    } finally {
      if (this.#current === self) this.#current = undefined;
    }
  }
}
