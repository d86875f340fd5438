import type { Drive, FileLock } from "../src/os/api.ts";
import { realFileNames } from "../src/os/files.ts";
import { PlainFile } from "../src/os/plain-file.ts";
import { SharedDescriptorFile } from "../src/os/shared-descriptor-file.ts";
import { nameHolder, openLockFile, refuseNamedHolder, releaseHolder } from "../src/os/store-lock.ts";

/** The pure-Node drive: positional reads and writes, no foreign calls. Slower, otherwise complete. */
export const nativeFreeDrive: Drive = {
  name: "native-free",
  names: realFileNames,
  openFile: (path, options) =>
    options.keepDescriptor === false ? new SharedDescriptorFile(path, options) : PlainFile.open(path, options),
  adoptFile: (path, size, fd) => new PlainFile(path, size, fd),
  nextData: (_path, position) => position,
  lockStore,
  lockForReading: (path) => {
    refuseNamedHolder(path);
    return { release: () => {} };
  },
  gatherWriter: () => undefined,
  socketPoller: () => undefined,
};

function lockStore(lockFile: string): FileLock {
  const fd = openLockFile(lockFile);
  nameHolder(lockFile, fd);
  return { release: () => releaseHolder(lockFile, fd) };
}
