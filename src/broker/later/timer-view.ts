/** What the control plane knows of the timer, which lives in a thread of its own. */
export interface TimerView {
  figures(): TimerFigures;
  /** The 56 bytes of GET_TIMER_CHECK_POINT. */
  checkpoint(): Buffer;
  /** Messages that wait, by topic; the time of the last change, ms. */
  counts(): ReadonlyMap<string, { count: number; timeStamp: number }>;
}

export interface TimerFigures {
  /** Slots before this are delivered, ms. */
  readMs: number;
  /** Next entry of the timer topic. */
  queueOffset: number;
  waiting: number;
  enqueued: number;
  delivered: number;
  /** How late messages were delivered, ms. */
  lateP50Ms: number;
  lateP99Ms: number;
  lateMaxMs: number;
  /** Delivered before their time. */
  early: number;
}
