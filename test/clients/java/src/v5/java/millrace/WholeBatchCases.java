package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Topics with queue.type=BatchCQ: a batch is one record, which the 5.x client takes apart. */
final class WholeBatchCases {
  private static final int UPDATE_AND_CREATE_TOPIC = 17;
  private static final int COMPRESSED_ZLIB = 1 | 3 << 8;

  private WholeBatchCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("wholeBatch", WholeBatchCases::wholeBatch);
    cases.put("autoBatch", WholeBatchCases::autoBatch);
    cases.put("wholeRetry", WholeBatchCases::wholeRetry);
    cases.put("wholePop", WholeBatchCases::wholePop);
  }

  /** What only Millrace has. */
  static void registerOwn(Map<String, Case> cases) {
    cases.put("wholeCompressed", WholeBatchCases::wholeCompressed);
  }

  private static String batchTopic(Lab lab, String stem, int queues) throws Exception {
    String topic = lab.name(stem);
    String count = Integer.toString(queues);
    var answer = lab.ask(Raw.command(UPDATE_AND_CREATE_TOPIC, Map.of(
        "topic", topic, "defaultTopic", "TBW102", "readQueueNums", count, "writeQueueNums", count, "perm", "6",
        "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", "attributes", "+queue.type=BatchCQ")));
    equal(answer.getCode(), 0, "topic: " + answer.getRemark());
    await("route of " + topic, 10, () -> lab.admin().examineTopicRouteInfo(topic).getQueueDatas().size() == 1);
    return topic;
  }

  private static List<Message> batch(String topic, List<String> bodies) {
    List<Message> batch = new ArrayList<>();
    for (int i = 0; i < bodies.size(); i++) {
      Message message = new Message(topic, "Tag", "key" + i, bodies.get(i).getBytes(UTF_8));
      message.putUserProperty("place", Integer.toString(i));
      message.setFlag(i);
      batch.add(message);
    }
    return batch;
  }

  private static void wholeBatch(Lab lab) throws Exception {
    String topic = batchTopic(lab, "whole", 1);
    List<String> bodies = SendCases.bodies("whole", 120);
    for (int half = 0; half < 2; half++) {
      SendResult result = lab.producer().send(batch(topic, bodies.subList(60 * half, 60 * half + 60)));
      equal(result.getSendStatus(), SendStatus.SEND_OK, "send status");
      equal(result.getQueueOffset(), 60L * half, "queue offset of the first");
      check(!result.getMsgId().contains(","), "one id for the whole batch: " + result.getMsgId());
    }
    Inbox inbox = SendCases.consume(lab, topic);
    inbox.expectExactly(bodies, 20);
    Set<Long> records = new HashSet<>();
    for (MessageExt message : inbox.all()) {
      int place = Integer.parseInt(message.getUserProperty("place"));
      String body = bodies.get((int) message.getQueueOffset());
      equal(Inbox.text(message), body, "body at offset " + message.getQueueOffset());
      equal(message.getQueueOffset() % 60, (long) place, "place in its batch");
      equal(message.getKeys(), "key" + place, "key");
      equal(message.getTags(), "Tag", "tag");
      equal(message.getFlag(), place, "flag");
      records.add(message.getCommitLogOffset());
    }
    equal(records.size(), 2, "records in the log");
  }

  private static void autoBatch(Lab lab) throws Exception {
    String topic = batchTopic(lab, "auto", 2);
    DefaultMQProducer producer = lab.newProducer("gatherer");
    producer.setAutoBatch(true);
    producer.batchMaxDelayMs(20);
    producer.start();
    List<String> bodies = SendCases.bodies("auto", 300);
    CountDownLatch answered = new CountDownLatch(bodies.size());
    AtomicReference<Object> bad = new AtomicReference<>();
    for (int i = 0; i < bodies.size(); i++) {
      Message message = new Message(topic, i % 2 == 0 ? "even" : "odd", "", bodies.get(i).getBytes(UTF_8));
      producer.send(message, new SendCallback() {
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
    Inbox inbox = SendCases.consume(lab, topic);
    inbox.expectExactly(bodies, 20);
    Set<Long> records = new HashSet<>();
    inbox.all().forEach(message -> records.add(message.getCommitLogOffset()));
    check(records.size() < bodies.size() / 2, records.size() + " records for " + bodies.size() + " messages");
    DefaultMQPushConsumer odd = lab.newPush(lab.name("odd"));
    odd.subscribe(topic, "odd");
    Inbox oddInbox = new Inbox().of(odd);
    odd.start();
    List<String> wanted = new ArrayList<>();
    for (int i = 1; i < bodies.size(); i += 2) wanted.add(bodies.get(i));
    oddInbox.expectExactly(wanted, 20);
  }

  /** One message of a batch fails once: it comes again, alone. */
  private static void wholeRetry(Lab lab) throws Exception {
    String topic = batchTopic(lab, "retried", 1);
    List<String> bodies = SendCases.bodies("retried", 5);
    Map<String, Integer> deliveries = new HashMap<>();
    DefaultMQPushConsumer consumer = lab.newPush(lab.name("retrier"));
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
      String body = Inbox.text(messages.get(0));
      synchronized (deliveries) {
        int count = deliveries.merge(body, 1, Integer::sum);
        return body.equals("retried-2") && count == 1
            ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
      }
    });
    consumer.start();
    lab.producer().send(batch(topic, bodies));
    await("the second delivery", 60, () -> {
      synchronized (deliveries) {
        return deliveries.size() == bodies.size() && deliveries.get("retried-2") == 2;
      }
    });
    synchronized (deliveries) {
      for (String body : bodies) equal(deliveries.get(body), body.equals("retried-2") ? 2 : 1, "deliveries of " + body);
    }
  }

  /** A pop takes batches as they are, by the place of their first message; the rest counts messages. */
  private static void wholePop(Lab lab) throws Exception {
    String topic = batchTopic(lab, "popped", 1);
    String group = lab.name("poppers");
    lab.producer().send(batch(topic, SendCases.bodies("first", 5)));
    lab.producer().send(batch(topic, SendCases.bodies("second", 3)));
    lab.send(SendCases.message(topic, "single"));
    await("all are in the queue", 10, () -> lab.admin().maxOffset(lab.queue(topic, 0)) == 9);
    String[][] wanted = {{"0 0 0", "0 0 0", "4", "[0]"}, {"0 0 5", "0 0 5,8", "0", "[5, 8]"}};
    for (int i = 0; i < wanted.length; i++) {
      PopCases.Popped popped = PopCases.pop(lab, topic, group, 60_000, 0, false, i == 0 ? 2 : 32);
      Map<String, String> told = popped.answer.getExtFields();
      equal(told.get("startOffsetInfo"), wanted[i][0], "startOffsetInfo");
      equal(told.get("msgOffsetInfo"), wanted[i][1], "msgOffsetInfo");
      equal(told.get("restNum"), wanted[i][2], "restNum");
      List<Long> places = new ArrayList<>();
      popped.messages.forEach(message -> places.add(message.getQueueOffset()));
      equal(places.toString(), wanted[i][3], "places");
      for (MessageExt message : popped.messages) equal(PopCases.ack(lab, popped, message, group), 0, "ack");
    }
    equal(PopCases.pop(lab, topic, group, 60_000, 0, false, 32).messages.size(), 0, "nothing is left");
  }

  /** As Millrace's own producer sends it with compressBatches. */
  private static void wholeCompressed(Lab lab) throws Exception {
    String topic = batchTopic(lab, "packed", 1);
    List<String> bodies = SendCases.bodies("packed", 200);
    byte[] encoded = MessageDecoder.encodeMessages(batch(topic, bodies));
    byte[] packed = CompressorFactory.getCompressor(CompressionType.ZLIB).compress(encoded, 5);
    Map<String, String> fields = new HashMap<>(Map.of(
        "a", "packers", "b", topic, "c", "TBW102", "d", "4", "e", "0", "f", Integer.toString(COMPRESSED_ZLIB), "g",
        Long.toString(System.currentTimeMillis()), "h", "0"));
    fields.putAll(Map.of("i", "UNIQ_KEY\u0001packed-1\u0002INNER_NUM\u0001" + bodies.size() + "\u0002", "j", "0", "k", "false", "m", "true"));
    RemotingCommand command = Raw.command(320, fields);
    command.setBody(packed);
    RemotingCommand answer = lab.ask(command);
    equal(answer.getCode(), 0, "answer: " + answer.getRemark());
    SendCases.consume(lab, topic).expectExactly(bodies, 20);
  }
}
