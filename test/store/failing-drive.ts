import { nativeFreeDrive } from "../../native-free/drive.ts";
import { MillraceError } from "../../src/base/errors.ts";
import type { Drive, StoreFile } from "../../src/os/api.ts";

/** A drive whose files refuse the next write when told to. */
export function failingDrive(): { drive: Drive; failNext: () => void } {
  let isFailing = false;
  const drive: Drive = {
    ...nativeFreeDrive,
    openFile(name, options) {
      const file = nativeFreeDrive.openFile(name, options);
      const write = file.write.bind(file);
      file.write = (...args: Parameters<StoreFile["write"]>) => {
        if (isFailing) {
          isFailing = false;
          throw new MillraceError("MILLRACE_STORE_FULL", "no room");
        }
        write(...args);
      };
      return file;
    },
  };
  return {
    drive,
    failNext: () => {
      isFailing = true;
    },
  };
}
