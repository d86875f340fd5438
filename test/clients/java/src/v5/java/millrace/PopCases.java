package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ConsumerSendMsgBackRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/** Pop consumption: the push consumer in pop mode, and the requests that the proxy makes. */
final class PopCases {
  private static final int QUEUES = 4;

  private PopCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("popRetry", PopCases::popRetry);
    cases.put("popTwo", PopCases::popTwo);
    cases.put("popInvisible", PopCases::popInvisible);
    cases.put("popOrdered", PopCases::popOrdered);
    cases.put("popToDeadLetters", PopCases::popToDeadLetters);
  }

  private static DefaultMQPushConsumer popConsumer(Lab lab, String topic, String group) throws Exception {
    lab.admin().setMessageRequestMode(lab.brokerAddress(), topic, group, MessageRequestMode.POP, 0, Lab.TIMEOUT_MS);
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.setClientRebalance(false);
    consumer.subscribe(topic, "*");
    return consumer;
  }

  private static List<String> send(Lab lab, String topic, int count) throws Exception {
    List<String> bodies = new ArrayList<>();
    sendMore(lab, topic, count, bodies);
    return bodies;
  }

  private static void sendMore(Lab lab, String topic, int count, List<String> bodies) throws Exception {
    for (int i = 0; i < count; i++) {
      String body = "m" + bodies.size();
      lab.send(SendCases.message(topic, body), lab.queue(topic, bodies.size() % QUEUES));
      bodies.add(body);
    }
  }

  /** Two consumers on one queue even: each message once, and both have work, however late one of them is told of its queues. */
  private static void popTwo(Lab lab) throws Exception {
    String topic = lab.topic("poptwo", QUEUES);
    String group = lab.name("poppers");
    Inbox all = new Inbox();
    List<Inbox> each = List.of(new Inbox(), new Inbox());
    for (Inbox own : each) {
      DefaultMQPushConsumer consumer = popConsumer(lab, topic, group);
      consumer.setPopBatchNums(4);
      consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
        own.add(batch);
        all.add(batch);
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
      });
      consumer.start();
    }
    List<String> bodies = send(lab, topic, 200);
    long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (each.stream().anyMatch(own -> own.size() == 0) && System.nanoTime() < limit) {
      sendMore(lab, topic, 20, bodies);
      Thread.sleep(50);
    }
    check(each.stream().allMatch(own -> own.size() > 0), "one had nothing: " + each.get(0).size() + " and " + each.get(1).size());
    all.expectExactly(bodies, 25);
  }

  /** What a listener cannot handle comes back after the first of the client's delays, one try older, and once. */
  private static void popRetry(Lab lab) throws Exception {
    String topic = lab.topic("popretry", QUEUES);
    Inbox failed = new Inbox();
    Inbox handled = new Inbox();
    DefaultMQPushConsumer consumer = popConsumer(lab, topic, lab.name("poppers"));
    consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
      boolean isFirst = batch.get(0).getReconsumeTimes() == 0;
      (isFirst ? failed : handled).add(batch);
      return isFirst ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    consumer.start();
    List<String> bodies = send(lab, topic, 8);
    handled.expectExactly(bodies, 60);
    for (MessageExt message : handled.all()) {
      equal(message.getReconsumeTimes(), 1, "reconsumeTimes");
      equal(message.getTopic(), topic, "topic");
    }
    equal(failed.size(), 8, "first deliveries");
  }

  static final class Popped {
    final RemotingCommand answer;
    final List<MessageExt> messages;

    Popped(RemotingCommand answer) {
      this.answer = answer;
      byte[] body = answer.getBody();
      this.messages = body == null ? List.of() : MessageDecoder.decodes(ByteBuffer.wrap(body));
    }

    List<String> bodies() {
      return messages.stream().map(Inbox::text).sorted().collect(Collectors.toList());
    }

    /** As the client makes it, where the broker has not. */
    String handle(MessageExt message, String brokerName) {
      String own = message.getProperty(MessageConst.PROPERTY_POP_CK);
      if (own != null) return own;
      Map<String, String> fields = answer.getExtFields();
      Map<String, Long> starts = ExtraInfoUtil.parseStartOffsetInfo(fields.get("startOffsetInfo"));
      long start = starts.get(ExtraInfoUtil.getStartOffsetInfoMapKey(message.getTopic(), message.getQueueId()));
      return ExtraInfoUtil.buildExtraInfo(start, Long.parseLong(fields.get("popTime")), Long.parseLong(fields.get("invisibleTime")),
          Integer.parseInt(fields.get("reviveQid")), message.getTopic(), brokerName, message.getQueueId(), message.getQueueOffset());
    }
  }

  static Popped pop(Lab lab, String topic, String group, long invisibleMs, long pollMs, boolean order, int count)
      throws Exception {
    PopMessageRequestHeader header = new PopMessageRequestHeader();
    header.setConsumerGroup(group);
    header.setTopic(topic);
    header.setQueueId(-1);
    header.setMaxMsgNums(count);
    header.setInvisibleTime(invisibleMs);
    header.setPollTime(pollMs);
    header.setBornTime(System.currentTimeMillis());
    header.setInitMode(0);
    header.setExpType("TAG");
    header.setExp("*");
    header.setOrder(order);
    return new Popped(lab.ask(RemotingCommand.createRequestCommand(RequestCode.POP_MESSAGE, header)));
  }

  static int ack(Lab lab, Popped popped, MessageExt message, String group) throws Exception {
    String handle = popped.handle(message, lab.brokerName());
    String[] parts = ExtraInfoUtil.split(handle);
    AckMessageRequestHeader header = new AckMessageRequestHeader();
    header.setConsumerGroup(group);
    header.setTopic(ExtraInfoUtil.getRealTopic(parts, message.getTopic(), group));
    header.setQueueId(message.getQueueId());
    header.setOffset(message.getQueueOffset());
    header.setExtraInfo(handle);
    return lab.ask(RemotingCommand.createRequestCommand(RequestCode.ACK_MESSAGE, header)).getCode();
  }

  /** A changed invisible time counts, an acknowledged message does not come back, a held pop is answered by what does. */
  private static void popInvisible(Lab lab) throws Exception {
    String topic = lab.topic("popinvisible", 1);
    String group = lab.name("poppers");
    lab.send(SendCases.message(topic, "back"));
    lab.send(SendCases.message(topic, "done"));
    List<MessageExt> got = new ArrayList<>();
    Map<String, Popped> from = new ConcurrentHashMap<>();
    await("two messages", 20, () -> {
      Popped popped = pop(lab, topic, group, 120_000, 2000, false, 32);
      got.addAll(popped.messages);
      for (MessageExt message : popped.messages) from.put(Inbox.text(message), popped);
      return got.size() == 2;
    });
    for (MessageExt message : got) {
      Popped popped = from.get(Inbox.text(message));
      if (Inbox.text(message).equals("done")) {
        equal(ack(lab, popped, message, group), ResponseCode.SUCCESS, "ack");
        continue;
      }
      ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
      header.setConsumerGroup(group);
      header.setTopic(topic);
      header.setQueueId(message.getQueueId());
      header.setOffset(message.getQueueOffset());
      header.setExtraInfo(popped.handle(message, lab.brokerName()));
      header.setInvisibleTime(2000L);
      RemotingCommand answer = lab.ask(RemotingCommand.createRequestCommand(RequestCode.CHANGE_MESSAGE_INVISIBLETIME, header));
      equal(answer.getCode(), ResponseCode.SUCCESS, "change of the invisible time");
    }
    long start = System.currentTimeMillis();
    Popped again = pop(lab, topic, group, 120_000, 9000, false, 32);
    equal(again.bodies(), List.of("back"), "what came back");
    check(System.currentTimeMillis() - start > 1500, "it came back too early");
    equal(again.messages.get(0).getReconsumeTimes(), 1, "reconsumeTimes");
    equal(ack(lab, again, again.messages.get(0), group), ResponseCode.SUCCESS, "ack");
    equal(pop(lab, topic, group, 120_000, 3000, false, 32).answer.getCode(), ResponseCode.POLLING_TIMEOUT, "nothing is left");
  }

  /** In order: nothing more of the queue until all is acknowledged. */
  private static void popOrdered(Lab lab) throws Exception {
    String topic = lab.topic("popordered", 1);
    String group = lab.name("line");
    for (String body : List.of("1", "2", "3")) lab.send(SendCases.message(topic, body));
    await("three messages", 10, () -> lab.admin().maxOffset(lab.queue(topic, 0)) == 3);
    Popped first = pop(lab, topic, group, 60_000, 0, true, 2);
    equal(first.bodies(), List.of("1", "2"), "first pop");
    equal(pop(lab, topic, group, 60_000, 0, true, 2).answer.getCode(), ResponseCode.POLLING_TIMEOUT, "pop of a blocked queue");
    for (MessageExt message : first.messages) equal(ack(lab, first, message, group), ResponseCode.SUCCESS, "ack");
    Popped rest = pop(lab, topic, group, 2000, 0, true, 2);
    equal(rest.bodies(), List.of("3"), "the rest");
    Popped again = pop(lab, topic, group, 60_000, 9000, true, 2);
    equal(again.bodies(), List.of("3"), "not acknowledged, so again");
    equal(again.answer.getExtFields().get("orderCountInfo"), "0 qo0%2 1;0 0 1", "orderCountInfo");
    equal(ack(lab, again, again.messages.get(0), group), ResponseCode.SUCCESS, "ack");
  }

  /** What has failed too often is sent back to the dead letters and acknowledged, as the proxy does. */
  private static void popToDeadLetters(Lab lab) throws Exception {
    String topic = lab.topic("popdead", 1);
    String group = lab.name("poppers");
    lab.send(SendCases.message(topic, "bad"));
    Popped popped = null;
    for (int tries = 0; tries <= 2; tries++) {
      Popped next = pop(lab, topic, group, 1500, 12_000, false, 32);
      equal(next.bodies(), List.of("bad"), "try " + tries);
      equal(next.messages.get(0).getReconsumeTimes(), tries, "reconsumeTimes");
      popped = next;
    }
    MessageExt message = popped.messages.get(0);
    ConsumerSendMsgBackRequestHeader header = new ConsumerSendMsgBackRequestHeader();
    header.setGroup(group);
    header.setOffset(message.getCommitLogOffset());
    header.setDelayLevel(-1);
    header.setOriginMsgId(message.getMsgId());
    header.setOriginTopic(topic);
    header.setMaxReconsumeTimes(0);
    equal(lab.ask(RemotingCommand.createRequestCommand(RequestCode.CONSUMER_SEND_MSG_BACK, header)).getCode(),
        ResponseCode.SUCCESS, "send back");
    equal(ack(lab, popped, message, group), ResponseCode.SUCCESS, "ack");
    String dead = "%DLQ%" + group;
    await("the dead letter", 20, () ->
        lab.admin().examineTopicStats(dead).getOffsetTable().values().stream().anyMatch(offset -> offset.getMaxOffset() == 1));
    equal(pop(lab, topic, group, 1500, 4000, false, 32).answer.getCode(), ResponseCode.POLLING_TIMEOUT, "nothing comes back");
  }
}
