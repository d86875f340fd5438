// Goal: the watermarks are RocketMQ's shares of the disk, unless free bytes are given in their place.
import test from "ava";
import {
  DISK_CLEAN,
  DISK_CLEAN_FORCIBLY,
  DISK_PLENTY,
  DISK_REFUSE,
  diskLevel,
  type Watermarks,
} from "../../../src/store/log/disk-level.ts";

const RATIOS: Watermarks = {
  clean: { usedRatio: 0.75, freeBytes: 0 },
  cleanForcibly: { usedRatio: 0.85, freeBytes: 0 },
  refuse: { usedRatio: 0.9, freeBytes: 0 },
};
const BYTES: Watermarks = {
  clean: { usedRatio: 0.75, freeBytes: 3000 },
  cleanForcibly: { usedRatio: 0.85, freeBytes: 2000 },
  refuse: { usedRatio: 0.9, freeBytes: 1000 },
};

test("by shares", (t) => {
  const level = (usedRatio: number) => diskLevel({ usedRatio, freeBytes: 1 }, RATIOS);
  t.deepEqual([0, 0.75, 0.751, 0.85, 0.851, 0.9, 0.901, 1].map(level), [
    DISK_PLENTY,
    DISK_PLENTY,
    DISK_CLEAN,
    DISK_CLEAN,
    DISK_CLEAN_FORCIBLY,
    DISK_CLEAN_FORCIBLY,
    DISK_REFUSE,
    DISK_REFUSE,
  ]);
});

test("by free bytes, whatever the share", (t) => {
  const level = (freeBytes: number) => diskLevel({ usedRatio: 0.99, freeBytes }, BYTES);
  t.deepEqual([3000, 2999, 2000, 1999, 1000, 999].map(level), [
    DISK_PLENTY,
    DISK_CLEAN,
    DISK_CLEAN,
    DISK_CLEAN_FORCIBLY,
    DISK_CLEAN_FORCIBLY,
    DISK_REFUSE,
  ]);
});
