package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Topics whose attributes make something of the messages' keys. */
final class KeyedCases {
  private static final int UPDATE_AND_CREATE_TOPIC = 17;
  private static final int MESSAGE_ILLEGAL = 13;
  private static final int SYSTEM_BUSY = 2;

  private KeyedCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("compactedTopic", KeyedCases::compactedTopic);
  }

  /** What only Millrace has. */
  static void registerOwn(Map<String, Case> cases) {
    cases.put("sentAgain", KeyedCases::sentAgain);
    cases.put("batchSentAgain", KeyedCases::batchSentAgain);
  }

  /** Field by field: the admin client of 4.9 knows no attributes. */
  private static String topicWith(Lab lab, String stem, int queues, String attributes) throws Exception {
    String topic = lab.name(stem);
    String count = Integer.toString(queues);
    var answer = lab.ask(Raw.command(UPDATE_AND_CREATE_TOPIC, Map.of(
        "topic", topic, "defaultTopic", "TBW102", "readQueueNums", count, "writeQueueNums", count, "perm", "6",
        "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", "attributes", attributes)));
    equal(answer.getCode(), 0, "topic with " + attributes + ": " + answer.getRemark());
    await("route of " + topic, 10, () -> lab.admin().examineTopicRouteInfo(topic).getQueueDatas().size() == 1);
    return topic;
  }

  /** Whatever was compacted by now: a reader from the start ends with the last value of each key. */
  private static void compactedTopic(Lab lab) throws Exception {
    String topic = topicWith(lab, "compacted", 2, "+cleanup.policy=COMPACTION");
    Map<String, String> last = new HashMap<>();
    for (int i = 0; i < 200; i++) {
      String key = "key" + i % 10;
      String value = "value" + i;
      lab.send(new Message(topic, "", key, value.getBytes(UTF_8)), lab.queue(topic, i % 2));
      last.put(key, value);
    }
    int refused = Checks.refusal("a message without a key", () -> lab.producer().send(SendCases.message(topic, "no key")));
    equal(refused, MESSAGE_ILLEGAL, "code for a message without a key");
    Inbox inbox = SendCases.consume(lab, topic);
    await("the last value of each key", 20, () -> {
      Map<String, MessageExt> seen = new HashMap<>();
      for (MessageExt message : inbox.all()) {
        // Handled by many threads, they do not come in the queue's order.
        seen.merge(message.getKeys(), message, (a, b) -> a.getQueueOffset() > b.getQueueOffset() ? a : b);
      }
      return last.entrySet().stream().allMatch(entry ->
          seen.containsKey(entry.getKey()) && Inbox.text(seen.get(entry.getKey())).equals(entry.getValue()));
    });
  }

  /** The client keeps a message's unique key when it sends it again; a retry does just that. */
  private static void sentAgain(Lab lab) throws Exception {
    String topic = topicWith(lab, "once", 4, "+dedup.window.seconds=600");
    List<String> bodies = new ArrayList<>();
    int copies = 3;
    int count = lab.volumeMessages;
    CountDownLatch answered = new CountDownLatch(copies * count);
    Semaphore inFlight = new Semaphore(2000);
    Map<String, Set<String>> places = new HashMap<>();
    List<Throwable> failures = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Message message = SendCases.message(topic, "m" + i);
      bodies.add("m" + i);
      for (int copy = 0; copy < copies; copy++) {
        String name = "m" + i;
        inFlight.acquire();
        lab.producer().send(message, new SendCallback() {
          @Override
          public void onSuccess(SendResult result) {
            synchronized (places) {
              places.computeIfAbsent(name, n -> new HashSet<>()).add(result.getOffsetMsgId() + " " + result.getQueueOffset());
            }
            inFlight.release();
            answered.countDown();
          }

          @Override
          public void onException(Throwable error) {
            if (isBusy(error)) {
              // The client does not try again by itself when a send of this kind is refused by a busy broker.
              try {
                lab.producer().send(message, this);
                return;
              } catch (Exception again) {
                error.addSuppressed(again);
              }
            }
            synchronized (places) {
              failures.add(error);
            }
            inFlight.release();
            answered.countDown();
          }
        });
        // The first call gives the message its key; a retry comes after it.
        if (copy == 0) while (message.getProperty("UNIQ_KEY") == null) Thread.onSpinWait();
      }
    }
    Checks.check(answered.await(60 + count / 1000, TimeUnit.SECONDS), answered.getCount() + " sends without an answer");
    equal(failures.size(), 0, "failed sends " + (failures.isEmpty() ? "" : failures.get(0)));
    places.forEach((name, where) -> equal(where.size(), 1, "places of " + name + ": " + where));
    SendCases.consume(lab, topic).expectExactly(bodies, 30 + count / 2000);
  }

  private static boolean isBusy(Throwable error) {
    return error instanceof MQBrokerException && ((MQBrokerException) error).getResponseCode() == SYSTEM_BUSY;
  }

  private static void batchSentAgain(Lab lab) throws Exception {
    String topic = topicWith(lab, "batchOnce", 1, "+dedup.window.seconds=600");
    List<Message> batch = new ArrayList<>();
    for (int i = 0; i < 50; i++) batch.add(SendCases.message(topic, "b" + i));
    SendResult first = lab.producer().send(batch);
    SendResult second = lab.producer().send(batch);
    equal(second.getOffsetMsgId(), first.getOffsetMsgId(), "place of the batch that was sent again");
    List<String> bodies = new ArrayList<>();
    for (int i = 0; i < 50; i++) bodies.add("b" + i);
    SendCases.consume(lab, topic).expectExactly(bodies, 20);
  }
}
