import { MillraceError } from "../base/errors.ts";
import { ConfigFile } from "../broker/config-file.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../format/text/fastjson.ts";
import type { Log } from "../observe/log.ts";
import { readReplacedFile } from "../os/replace-file.ts";

/** Ordered topics: topic to "brokerA:4;brokerB:4". */
export const ORDER_TOPIC_NAMESPACE = "ORDER_TOPIC_CONFIG";

type Table = Map<string, Map<string, string>>;

/**
 * Texts by namespace and key; what the name server keeps on disk, as `{"configTable":{namespace:{key:value}}}`.
 * Source: Apache `KVConfigManager`.
 */
export class KeyValueConfig {
  readonly #table: Table;
  readonly #file: ConfigFile | undefined;
  /** Settles, never rejects, when the last write asked for is done. */
  #saved: Promise<void> = Promise.resolve();

  private constructor(table: Table, file: ConfigFile | undefined) {
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
    return new KeyValueConfig(table ?? new Map(), new ConfigFile(file));
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

  /** Changes made while a write is under way share the next. */
  #save(): Promise<void> {
    if (this.#file === undefined) return Promise.resolve();
    const write = this.#file.saveLater(() => writeJson({ configTable: this.#table }));
    this.#saved = write.catch(() => {});
    return write;
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
