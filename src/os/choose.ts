import { useNativeCopy } from "../base/copy-bytes.ts";
import { MillraceError } from "../base/errors.ts";
import type { Drive, DriveName } from "./api.ts";

export interface DriveChoice {
  drive: Drive;
  /** Why the FFI drive was passed over, where it was wanted. */
  fallbackReason?: string;
}

/** A drive of ours by its name, or the URL of a module that exports one as `drive`. */
export type DriveId = DriveName | `file:${string}`;

/** The drive, ready to use in the calling thread. */
export async function loadDrive(name: DriveId): Promise<Drive> {
  if (name.startsWith("file:")) return ((await import(name)) as { drive: Drive }).drive;
  if (name === "native-free") return (await import("../../native-free/drive.ts")).nativeFreeDrive;
  return ffi();
}

/** The module's, if there is one; FFI unless told otherwise or unless it does not work here; then native-free, with the reason. */
export async function chooseDrive(nativeFree: boolean, driveModule?: DriveId): Promise<DriveChoice> {
  if (driveModule !== undefined) return { drive: await loadDrive(driveModule) };
  if (nativeFree) return { drive: await loadDrive("native-free") };
  try {
    (await import("./ffi.ts")).selfTest();
    return { drive: await ffi() };
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    return { drive: await loadDrive("native-free"), fallbackReason: error instanceof Error ? error.message : String(error) };
  }
}

async function ffi(): Promise<Drive> {
  useNativeCopy((await import("./memory.ts")).copyMemory);
  return (await import("./ffi.ts")).ffiDrive;
}
