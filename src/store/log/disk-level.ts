/** How full the disk is, and so what is to be done. */
export const DISK_PLENTY = 0;
/** Files that are old enough go at any hour. */
export const DISK_CLEAN = 1;
/** Files go whatever their age. */
export const DISK_CLEAN_FORCIBLY = 2;
/** And nothing is stored until there is room again. */
export const DISK_REFUSE = 3;

/** A watermark: a share of the disk in use, or, where `freeBytes` is not 0, a number of bytes that must stay free instead. */
export interface Watermark {
  /** 0..1. */
  usedRatio: number;
  freeBytes: number;
}

export interface Watermarks {
  clean: Watermark;
  cleanForcibly: Watermark;
  refuse: Watermark;
}

export interface DiskUse {
  /** 0..1. */
  usedRatio: number;
  freeBytes: number;
}

/** The highest level that the disk has reached. Source: Apache `DefaultMessageStore.CleanCommitLogService.isSpaceToDelete`. */
export function diskLevel(use: DiskUse, { clean, cleanForcibly, refuse }: Watermarks): number {
  if (isPast(use, refuse)) return DISK_REFUSE;
  if (isPast(use, cleanForcibly)) return DISK_CLEAN_FORCIBLY;
  return isPast(use, clean) ? DISK_CLEAN : DISK_PLENTY;
}

function isPast(use: DiskUse, mark: Watermark): boolean {
  return mark.freeBytes > 0 ? use.freeBytes < mark.freeBytes : use.usedRatio > mark.usedRatio;
}
