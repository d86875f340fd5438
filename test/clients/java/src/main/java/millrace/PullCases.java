package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;
import static millrace.Checks.sameSet;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that ask for themselves: lite pull with and without assignment, plain pull, long polling. */
final class PullCases {
  private PullCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("litePullSubscribe", PullCases::litePullSubscribe);
    cases.put("litePullAssign", PullCases::litePullAssign);
    cases.put("pull", PullCases::pull);
    cases.put("longPoll", PullCases::longPoll);
  }

  private static List<String> pollUntil(DefaultLitePullConsumer consumer, int count, int seconds) {
    List<String> bodies = new ArrayList<>();
    long end = System.nanoTime() + seconds * 1_000_000_000L;
    while (bodies.size() < count && System.nanoTime() < end) {
      for (MessageExt message : consumer.poll(500)) bodies.add(Inbox.text(message));
    }
    return bodies;
  }

  private static void litePullSubscribe(Lab lab) throws Exception {
    String topic = lab.topic("lite", 4);
    String group = lab.name("puller");
    List<String> first = SendCases.bodies("first", 50);
    for (String body : first) lab.send(SendCases.message(topic, body));
    DefaultLitePullConsumer one = lab.newLitePull(group);
    one.setAutoCommit(false);
    one.subscribe(topic, "*");
    one.start();
    List<String> got = pollUntil(one, 50, 20);
    got.addAll(pollUntil(one, 1, 1));
    equal(got.size(), 50, "polled");
    sameSet(got, first, "polled");
    one.commitSync();
    for (MessageQueue queue : one.assignment()) {
      long committed = queue.getQueueId() < 2 ? 13 : 12;
      check(Math.abs(one.committed(queue) - committed) <= 1, "committed " + one.committed(queue) + " in " + queue);
    }
    one.shutdown();

    List<String> second = SendCases.bodies("second", 50);
    for (String body : second) lab.send(SendCases.message(topic, body));
    DefaultLitePullConsumer two = lab.newLitePull(group);
    two.subscribe(topic, "*");
    two.start();
    got = pollUntil(two, 50, 20);
    got.addAll(pollUntil(two, 1, 1));
    equal(got.size(), 50, "polled after the restart");
    sameSet(got, second, "polled after the restart");
  }

  private static void litePullAssign(Lab lab) throws Exception {
    String topic = lab.topic("assign", 2);
    MessageQueue queue = lab.queue(topic, 0);
    List<String> bodies = SendCases.bodies("a", 40);
    for (String body : bodies) lab.send(SendCases.message(topic, body), queue);
    DefaultLitePullConsumer consumer = lab.newLitePull(lab.name("seeker"));
    consumer.setAutoCommit(false);
    consumer.start();
    var queues = consumer.fetchMessageQueues(topic);
    equal(queues.size(), 2, "queues of the topic");
    MessageQueue own = queues.stream().filter(q -> q.getQueueId() == 0).findFirst().orElseThrow();
    consumer.assign(List.of(own));
    // Reads all first: a seek beside a running read-ahead may deliver what that one still brings.
    equal(pollUntil(consumer, 40, 20), bodies, "after the assignment");
    consumer.seek(own, 25);
    equal(pollUntil(consumer, 15, 20), bodies.subList(25, 40), "from offset 25");
    consumer.seekToBegin(own);
    equal(pollUntil(consumer, 40, 20), bodies, "from the beginning");
    consumer.commitSync();
    await("committed offset", 10, () -> consumer.committed(own) == 40);
    consumer.seekToEnd(own);
    lab.send(SendCases.message(topic, "new"), queue);
    equal(pollUntil(consumer, 1, 20), List.of("new"), "from the end");
    equal(consumer.offsetForTimestamp(own, 0L), 0L, "offset for the time 0");
  }

  private static DefaultMQPullConsumer newPull(Lab lab, String group) throws Exception {
    DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
    consumer.setNamesrvAddr(lab.namesrv);
    consumer.setInstanceName(lab.name("pull"));
    consumer.start();
    return lab.closeAtEnd(new Closing(consumer)).consumer;
  }

  private static final class Closing implements AutoCloseable {
    final DefaultMQPullConsumer consumer;

    Closing(DefaultMQPullConsumer consumer) {
      this.consumer = consumer;
    }

    @Override
    public void close() {
      consumer.shutdown();
    }
  }

  private static void pull(Lab lab) throws Exception {
    String topic = lab.topic("pull", 2);
    MessageQueue queue = lab.queue(topic, 1);
    List<String> bodies = SendCases.bodies("p", 100);
    for (int i = 0; i < 100; i++) {
      Message message = SendCases.message(topic, bodies.get(i));
      message.setTags(i < 50 ? "low" : "high");
      lab.send(message, queue);
    }
    // A queue's end may lag behind the answer to a send.
    await("all are in the queue", 10, () -> lab.producer().maxOffset(queue) == 100);
    DefaultMQPullConsumer consumer = newPull(lab, lab.name("puller"));
    sameSet(consumer.fetchSubscribeMessageQueues(topic), List.of(lab.queue(topic, 0), queue), "queues");

    List<String> got = new ArrayList<>();
    long offset = 0;
    while (got.size() < 100) {
      PullResult result = consumer.pull(queue, "*", offset, 32);
      equal(result.getPullStatus(), PullStatus.FOUND, "status at " + offset);
      check(result.getMsgFoundList().size() <= 32, "at most 32, got " + result.getMsgFoundList().size());
      equal(result.getMinOffset(), 0L, "min offset");
      equal(result.getMaxOffset(), 100L, "max offset");
      equal(result.getNextBeginOffset(), offset + result.getMsgFoundList().size(), "next offset");
      for (MessageExt message : result.getMsgFoundList()) {
        equal(message.getQueueOffset(), offset++, "offset of a message");
        got.add(Inbox.text(message));
      }
    }
    equal(got, bodies, "bodies in order");

    PullResult end = consumer.pull(queue, "*", 100, 32);
    equal(end.getPullStatus(), PullStatus.NO_NEW_MSG, "status at the end");
    PullResult beyond = consumer.pull(queue, "*", 5000, 32);
    equal(beyond.getPullStatus(), PullStatus.OFFSET_ILLEGAL, "status far beyond the end");
    equal(beyond.getNextBeginOffset(), 100L, "corrected offset");
    PullResult empty = consumer.pull(lab.queue(topic, 0), "*", 0, 32);
    equal(empty.getPullStatus(), PullStatus.NO_NEW_MSG, "status of an empty queue");
    PullResult none = consumer.pull(queue, "absent", 0, 32);
    equal(none.getPullStatus(), PullStatus.NO_MATCHED_MSG, "status when no tag matches");
    check(none.getNextBeginOffset() > 0, "goes on after the scanned part, at " + none.getNextBeginOffset());
    List<String> high = new ArrayList<>();
    for (long at = 0; at < 100; ) {
      PullResult part = consumer.pull(queue, "high", at, 32);
      at = part.getNextBeginOffset();
      if (part.getPullStatus() == PullStatus.FOUND) part.getMsgFoundList().forEach(m -> high.add(Inbox.text(m)));
    }
    equal(high, bodies.subList(50, 100), "by tag");

    // A group that never committed may read 0 (young topic) or nothing (-1); what it commits comes back.
    long before = consumer.fetchConsumeOffset(queue, true);
    check(before <= 0, "offset before any commit: " + before);
    consumer.updateConsumeOffset(queue, 77);
    consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
    await("committed offset is told", 10, () -> consumer.fetchConsumeOffset(queue, true) == 77);
    // Commits may go back too.
    consumer.updateConsumeOffset(queue, 5);
    consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
    await("smaller commit is told", 10, () -> consumer.fetchConsumeOffset(queue, true) == 5);
  }

  /** A held pull is answered by the next message for it, at once; one with another tag is never delivered. */
  private static void longPoll(Lab lab) throws Exception {
    String topic = lab.topic("poll", 1);
    MessageQueue queue = lab.queue(topic, 0);
    DefaultMQPullConsumer consumer = newPull(lab, lab.name("waiter"));
    // Opens connection and group, so that the time below is the broker's alone.
    consumer.pull(queue, "*", 0, 1);
    CompletableFuture<Long> answered = new CompletableFuture<>();
    Thread waiter = new Thread(() -> {
      try {
        PullResult result = consumer.pullBlockIfNotFound(queue, "yes", 0, 32);
        // Every 5 s a broker looks at all held pulls, and then ends one whose queue grew by other tags only.
        for (int ends = 0; result.getPullStatus() == PullStatus.NO_MATCHED_MSG && ends < 2; ends++) {
          equal(result.getNextBeginOffset(), 1L, "goes on after the message that does not match");
          result = consumer.pullBlockIfNotFound(queue, "yes", 1, 32);
        }
        long at = System.nanoTime();
        equal(result.getPullStatus(), PullStatus.FOUND, "status of the held pull");
        equal(result.getMsgFoundList().size(), 1, "messages found");
        equal(Inbox.text(result.getMsgFoundList().get(0)), "wake", "first body");
        answered.complete(at);
      } catch (Throwable error) {
        answered.completeExceptionally(error);
      }
    });
    waiter.start();
    Thread.sleep(500);
    Message other = SendCases.message(topic, "sleep on");
    other.setTags("no");
    lab.send(other);
    Thread.sleep(700);
    if (answered.isDone()) answered.get();
    Message wake = SendCases.message(topic, "wake");
    wake.setTags("yes");
    long sent = System.nanoTime();
    lab.send(wake);
    long ms = (answered.get(10, TimeUnit.SECONDS) - sent) / 1_000_000;
    check(ms < 3000, "woken after " + ms + " ms");
    lab.note("woken after " + ms + " ms");
  }
}
