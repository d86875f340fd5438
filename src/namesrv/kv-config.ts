import { MillraceError } from "../base/errors.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../format/fastjson.ts";
import type { Log } from "../observe/log.ts";
import { readReplacedFile, replaceFile } from "../os/replace-file.ts";

/** Ordered topics: topic to "brokerA:4;brokerB:4". */
export const ORDER_TOPIC_NAMESPACE = "ORDER_TOPIC_CONFIG";

type Table = Map<string, Map<string, string>>;

/**
 * Texts by namespace and key; what the name server keeps on disk, as `{"configTable":{namespace:{key:value}}}`.
 * Source: Apache `KVConfigManager`.
 */
export class KeyValueConfig {
  readonly #table: Table;
  readonly #file: string | undefined;
  /** Settles, never rejects, when the last write asked for is done. */
  #saved: Promise<void> = Promise.resolve();
  /** A write that has not begun: it will hold all that changes until then. */
  #next: Promise<void> | undefined;

  private constructor(table: Table, file: string | undefined) {
    this.#table = table;
    this.#file = file;
  }

  /**
   * @param file   undefined: in memory only
   * @throws MillraceError MILLRACE_STORE_CORRUPT when neither the file nor its backup can be read
   */
  static load(file: string | undefined, log: Log): KeyValueConfig {
    if (file === undefined) return new KeyValueConfig(new Map(), undefined);
    const table = readReplacedFile(
      file,
      (bytes) => parseTable(bytes, file),
      (reason) => log.warn({ file, reason }, "KV config read from its backup"),
    );
    return new KeyValueConfig(table ?? new Map(), file);
  }

  get(namespace: string, key: string): string | undefined {
    return this.#table.get(namespace)?.get(key);
  }

  /** undefined: no such namespace. */
  list(namespace: string): ReadonlyMap<string, string> | undefined {
    return this.#table.get(namespace);
  }

  /** Resolves once it is on the disk. @throws MillraceError MILLRACE_STORE_IO and its kin; the change then holds in memory only */
  put(namespace: string, key: string, value: string): Promise<void> {
    let keys = this.#table.get(namespace);
    if (keys === undefined) {
      keys = new Map();
      this.#table.set(namespace, keys);
    }
    keys.set(key, value);
    return this.#save();
  }

  /** As `put`; a key that is not there is no error. */
  delete(namespace: string, key: string): Promise<void> {
    const found = this.#table.get(namespace)?.delete(key) === true;
    return found ? this.#save() : Promise.resolve();
  }

  /** Resolves when no write is under way. */
  settle(): Promise<void> {
    return this.#saved;
  }

  /** One write at a time; changes made during one share the next. */
  #save(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return Promise.resolve();
    if (this.#next !== undefined) return this.#next;
    const next = this.#saved.then(() => {
      this.#next = undefined;
      return replaceFile(file, Buffer.from(writeJson({ configTable: this.#table })));
    });
    this.#next = next;
    this.#saved = next.catch(() => {});
    return next;
  }
}

function parseTable(bytes: Buffer, file: string): Table {
  const table: Table = new Map();
  try {
    for (const [namespace, keys] of entriesOf(memberOf(parseJson(bytes), "configTable"))) {
      const texts = entriesOf(keys).map(([key, value]) => [String(key), String(value)] as const);
      table.set(String(namespace), new Map(texts));
    }
  } catch (error) {
    throw new MillraceError("MILLRACE_STORE_CORRUPT", `${file} cannot be read: ${(error as Error).message}`, { file }, error);
  }
  return table;
}
