package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;
import static millrace.Checks.sameSet;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Ways to send: sync, async, one-way, as one batch, to a topic that does not exist yet. */
final class SendCases {
  private SendCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("sync", SendCases::sync);
    cases.put("async", SendCases::async);
    cases.put("oneway", SendCases::oneway);
    cases.put("batch", SendCases::batch);
    cases.put("autoCreate", SendCases::autoCreate);
  }

  /** `count` bodies that name their place. */
  static List<String> bodies(String stem, int count) {
    List<String> bodies = new ArrayList<>();
    for (int i = 0; i < count; i++) bodies.add(stem + "-" + i);
    return bodies;
  }

  static Message message(String topic, String body) {
    return new Message(topic, body.getBytes(UTF_8));
  }

  static Inbox consume(Lab lab, String topic) throws Exception {
    var consumer = lab.newPush(lab.name("reader"));
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    return inbox;
  }

  private static void sync(Lab lab) throws Exception {
    String topic = lab.topic("sync", 4);
    List<String> bodies = bodies("sync", 40);
    Map<Integer, Long> next = new TreeMap<>();
    Map<String, SendResult> results = new TreeMap<>();
    for (String body : bodies) {
      SendResult result = lab.send(message(topic, body));
      int queueId = result.getMessageQueue().getQueueId();
      equal(result.getMessageQueue().getTopic(), topic, "topic of the result");
      equal(result.getQueueOffset(), next.getOrDefault(queueId, 0L), "queue offset in queue " + queueId);
      next.put(queueId, result.getQueueOffset() + 1);
      results.put(body, result);
    }
    sameSet(next.keySet(), List.of(0, 1, 2, 3), "queues used by the round robin");
    Inbox inbox = consume(lab, topic);
    inbox.expectExactly(bodies, 20);
    for (MessageExt message : inbox.all()) {
      SendResult result = results.get(Inbox.text(message));
      equal(message.getMsgId(), result.getMsgId(), "msgId");
      equal(message.getQueueId(), result.getMessageQueue().getQueueId(), "queueId");
      equal(message.getQueueOffset(), result.getQueueOffset(), "queueOffset");
      equal(message.getBodyCRC() != 0, true, "has a body CRC");
      check(message.getStoreSize() > 88, "store size " + message.getStoreSize());
      check(Math.abs(message.getStoreTimestamp() - message.getBornTimestamp()) < 60_000, "store time near born time");
      check(message.getBornHostString().length() > 0, "born host");
    }
  }

  private static void async(Lab lab) throws Exception {
    String topic = lab.topic("async", 4);
    List<String> bodies = bodies("async", 300);
    CountDownLatch answered = new CountDownLatch(bodies.size());
    AtomicReference<Object> bad = new AtomicReference<>();
    for (String body : bodies) {
      lab.producer().send(message(topic, body), new SendCallback() {
        @Override
        public void onSuccess(SendResult result) {
          if (result.getSendStatus() != SendStatus.SEND_OK) bad.set(result);
          answered.countDown();
        }

        @Override
        public void onException(Throwable error) {
          bad.set(error);
          answered.countDown();
        }
      });
    }
    check(answered.await(20, TimeUnit.SECONDS), answered.getCount() + " sends without an answer");
    equal(bad.get(), null, "a send's outcome");
    consume(lab, topic).expectExactly(bodies, 20);
  }

  private static void oneway(Lab lab) throws Exception {
    String topic = lab.topic("oneway", 4);
    List<String> bodies = bodies("oneway", 100);
    for (String body : bodies) lab.producer().sendOneway(message(topic, body));
    consume(lab, topic).expectExactly(bodies, 20);
  }

  private static void batch(Lab lab) throws Exception {
    String topic = lab.topic("batch", 2);
    List<String> bodies = bodies("batch", 120);
    List<Message> batch = new ArrayList<>();
    for (int i = 0; i < bodies.size(); i++) {
      Message message = new Message(topic, "Tag" + i % 3, "key" + i, bodies.get(i).getBytes(UTF_8));
      message.putUserProperty("place", Integer.toString(i));
      message.setFlag(i);
      batch.add(message);
    }
    SendResult result = lab.producer().send(batch);
    equal(result.getSendStatus(), SendStatus.SEND_OK, "send status");
    equal(result.getQueueOffset(), 0L, "queue offset of the first");
    List<String> ids = Arrays.asList(result.getMsgId().split(","));
    equal(ids.size(), bodies.size(), "message ids in the result");
    equal(result.getOffsetMsgId().split(",").length, bodies.size(), "offset message ids in the result");
    Inbox inbox = consume(lab, topic);
    inbox.expectExactly(bodies, 20);
    for (MessageExt message : inbox.all()) {
      int i = Integer.parseInt(message.getUserProperty("place"));
      equal(message.getQueueOffset(), (long) i, "queue offset follows the place in the batch");
      equal(message.getQueueId(), result.getMessageQueue().getQueueId(), "one queue for the batch");
      equal(Inbox.text(message), bodies.get(i), "body of place " + i);
      equal(message.getTags(), "Tag" + i % 3, "tag");
      equal(message.getKeys(), "key" + i, "key");
      equal(message.getFlag(), i, "flag");
      equal(message.getMsgId(), ids.get(i), "msgId");
    }
  }

  private static void autoCreate(Lab lab) throws Exception {
    String topic = lab.name("autoCreate");
    DefaultMQProducer producer = lab.newProducer("creator");
    // More than a broker's template usually allows: the broker takes the smaller number.
    producer.setDefaultTopicQueueNums(4);
    producer.start();
    List<String> bodies = bodies("auto", 8);
    for (String body : bodies) equal(producer.send(message(topic, body)).getSendStatus(), SendStatus.SEND_OK, "send status");
    await("route of the created topic", 10, () ->
        lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums() == 4);
    equal(lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm(), 6, "permission");
    consume(lab, topic).expectExactly(bodies, 20);
  }
}
