package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;

/** Offsets by time, the edges of a queue, and moving a running group. */
final class OffsetCases {
  private OffsetCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("queueEdges", OffsetCases::queueEdges);
    cases.put("resetWhileRunning", OffsetCases::resetWhileRunning);
  }

  private static void queueEdges(Lab lab) throws Exception {
    String topic = lab.topic("edges", 2);
    MessageQueue queue = lab.queue(topic, 0);
    equal(lab.producer().minOffset(queue), 0L, "min offset of an empty queue");
    equal(lab.producer().maxOffset(queue), 0L, "max offset of an empty queue");
    List<SendResult> results = new ArrayList<>();
    for (int i = 0; i < 5; i++) results.add(lab.send(SendCases.message(topic, "early" + i), queue));
    Thread.sleep(400);
    for (int i = 0; i < 5; i++) results.add(lab.send(SendCases.message(topic, "late" + i), queue));
    await("max offset", 10, () -> lab.producer().maxOffset(queue) == 10);
    equal(lab.producer().minOffset(queue), 0L, "min offset");
    List<Long> stored = new ArrayList<>();
    for (SendResult result : results) stored.add(lab.admin().viewMessage(topic, result.getOffsetMsgId()).getStoreTimestamp());
    equal(lab.producer().earliestMsgStoreTime(queue), stored.get(0), "earliest store time");
    equal(lab.producer().searchOffset(queue, stored.get(4) + 100), 5L, "first offset after the pause");
    equal(lab.producer().searchOffset(queue, stored.get(5)), 5L, "offset of the sixth message's own time");
    equal(lab.producer().searchOffset(queue, 0), 0L, "offset of the time 0");
    equal(lab.producer().searchOffset(queue, stored.get(0) - 10_000), 0L, "offset of a time before the first");
    equal(lab.producer().searchOffset(queue, stored.get(9) + 10_000), 10L, "offset of a time after the last");
    equal(lab.admin().maxOffset(queue), 10L, "max offset by the admin client");
  }

  private static void resetWhileRunning(Lab lab) throws Exception {
    String topic = lab.topic("reset", 2);
    String group = lab.name("rewound");
    List<String> early = SendCases.bodies("early", 20);
    List<String> late = SendCases.bodies("late", 20);
    for (String body : early) lab.send(SendCases.message(topic, body));
    Thread.sleep(300);
    long middle = System.currentTimeMillis();
    Thread.sleep(300);
    for (String body : late) lab.send(SendCases.message(topic, body));
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    List<String> all = new ArrayList<>(early);
    all.addAll(late);
    inbox.expectExactly(all, 20);
    await("all is committed", 20, () -> lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0);
    inbox.clear();
    Map<MessageQueue, Long> moved = lab.admin().resetOffsetByTimestamp(topic, group, middle, true);
    equal(moved.size(), 2, "queues that were moved");
    equal(moved.values().stream().mapToLong(Long::longValue).sum(), 20L, "sum of the new offsets");
    // A client that is told to move waits 10 s before it reads on.
    inbox.expectExactly(late, 40);
    await("the second pass is committed", 20, () -> lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0);
    check(inbox.repeated().isEmpty(), "repeated " + inbox.repeated());
  }
}
