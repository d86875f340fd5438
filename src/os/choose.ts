import { MillraceError } from "../base/errors.ts";
import type { Drive, DriveName } from "./api.ts";

export interface DriveChoice {
  drive: Drive;
  /** Why the FFI drive was passed over, where it was wanted. */
  fallbackReason?: string;
}

/** The drive of that name, ready to use in the calling thread. */
export async function loadDrive(name: DriveName): Promise<Drive> {
  if (name === "native-free") return (await import("../../native-free/drive.ts")).nativeFreeDrive;
  return (await import("./ffi.ts")).ffiDrive;
}

/** FFI unless told otherwise or unless it does not work here; then native-free, with the reason. */
export async function chooseDrive(nativeFree: boolean): Promise<DriveChoice> {
  if (nativeFree) return { drive: await loadDrive("native-free") };
  try {
    const { ffiDrive, selfTest } = await import("./ffi.ts");
    selfTest();
    return { drive: ffiDrive };
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    return { drive: await loadDrive("native-free"), fallbackReason: error instanceof Error ? error.message : String(error) };
  }
}
