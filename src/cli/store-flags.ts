import { resolve } from "node:path";
import type { StoreLayoutOptions } from "../store/verify/verify-layout.ts";
import { configFromFlags } from "./broker-config.ts";

/** Flags of commands that read a store's files. */
export interface StoreFlags {
  config?: string;
  set?: string[];
  nativeFree?: boolean;
  json?: boolean;
}

/**
 * Where the store's files are and how large, by the same configuration as a broker's. Sizes that nobody set are left
 * open: they show in the files. @throws MillraceError MILLRACE_CONFIG_INVALID
 */
export function storeFromFlags(store: string, flags: StoreFlags): StoreLayoutOptions & { nativeFree: boolean } {
  const { config, set, nativeFree } = flags;
  const { values, origins } = configFromFlags(
    {
      store,
      ...(config === undefined ? {} : { config }),
      ...(set === undefined ? {} : { set }),
      ...(nativeFree === undefined ? {} : { nativeFree }),
    },
    process.env,
  );
  const isSet = (key: "mappedFileSizeCommitLog" | "mappedFileSizeConsumeQueue"): boolean => origins.get(key) !== "default";
  return {
    storePath: resolve(values.storePathRootDir),
    commitLogPath: resolve(values.storePathCommitLog),
    indexShape: { slotCount: values.maxHashSlotNum, entryCount: values.maxIndexNum },
    nativeFree: values.nativeFree,
    ...(isSet("mappedFileSizeCommitLog") ? { logFileSize: values.mappedFileSizeCommitLog } : {}),
    ...(isSet("mappedFileSizeConsumeQueue")
      ? { queueFileSize: values.mappedFileSizeConsumeQueue - (values.mappedFileSizeConsumeQueue % 20) }
      : {}),
  };
}
