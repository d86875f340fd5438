package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;

/** Retry, delay and request/reply. */
final class LaterCases {
  private LaterCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("retry", LaterCases::retry);
    cases.put("delay", LaterCases::delay);
    cases.put("timed", LaterCases::timed);
    cases.put("requestReply", LaterCases::requestReply);
    cases.put("trace", LaterCases::trace);
  }

  /** RECONSUME_LATER once, with delay level 1 (1 s): the message comes again, as the same message. */
  private static void retry(Lab lab) throws Exception {
    String topic = lab.topic("retry", 1);
    String group = lab.name("retrier");
    // The group's retry topic is made by its first heart-beat; a client that does not find the topic's route at its
    // start looks again 30 s later.
    DefaultMQPushConsumer first = lab.newPush(group);
    first.subscribe(topic, "*");
    new Inbox().of(first);
    first.start();
    await("route of the retry topic", 15, () -> lab.admin().examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().size() == 1);
    first.shutdown();
    List<String> calls = new ArrayList<>();
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
      synchronized (calls) {
        calls.add(batch.get(0).getTopic() + " " + Inbox.text(batch.get(0)) + " " + batch.get(0).getReconsumeTimes());
      }
      if (batch.get(0).getReconsumeTimes() > 0) return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
      context.setDelayLevelWhenNextConsume(1);
      return ConsumeConcurrentlyStatus.RECONSUME_LATER;
    });
    consumer.start();
    lab.send(SendCases.message(topic, "again"));
    await("second delivery", 30, () -> {
      synchronized (calls) {
        return calls.size() >= 2;
      }
    });
    Thread.sleep(300);
    equal(calls, List.of(topic + " again 0", topic + " again 1"), "calls of the listener");
  }

  /** Clients that trace themselves put what they do into the trace topic; traceTopicEnable. */
  private static void trace(Lab lab) throws Exception {
    String topic = lab.topic("trace", 1);
    Inbox traces = new Inbox();
    DefaultMQPushConsumer reader = lab.newPush(lab.name("tracer"));
    reader.subscribe("RMQ_SYS_TRACE_TOPIC", "*");
    traces.of(reader);
    reader.start();
    DefaultMQProducer producer = new DefaultMQProducer(lab.name("traced"), null, true, null);
    producer.setNamesrvAddr(lab.namesrv);
    producer.setInstanceName("traced" + System.nanoTime());
    lab.closeAtEnd(producer::shutdown);
    producer.start();
    String id = producer.send(SendCases.message(topic, "traced")).getMsgId();
    DefaultMQPushConsumer consumer =
        new DefaultMQPushConsumer(lab.name("tracedReader"), null, new AllocateMessageQueueAveragely(), true, null);
    consumer.setNamesrvAddr(lab.namesrv);
    consumer.setInstanceName("traced" + System.nanoTime());
    consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    lab.closeAtEnd(consumer::shutdown);
    consumer.subscribe(topic, "*");
    new Inbox().of(consumer);
    consumer.start();
    for (String kind : List.of("Pub", "SubBefore", "SubAfter")) {
      await(kind + " of the message", 40, () -> traces.bodies().stream()
          .anyMatch(body -> body.contains(id) && body.contains(kind)));
    }
    check(traces.all().stream().anyMatch(trace -> trace.getKeys() != null && trace.getKeys().contains(id)), "no trace has the key " + id);
  }

  private static void delay(Lab lab) throws Exception {
    String topic = lab.topic("delay", 1);
    Inbox inbox = SendCases.consume(lab, topic);
    Message late = SendCases.message(topic, "late");
    late.setDelayTimeLevel(2);
    long sent = System.currentTimeMillis();
    lab.send(late);
    lab.send(SendCases.message(topic, "now"));
    inbox.expectExactly(List.of("late", "now"), 20);
    long waited = inbox.all().get(1).getStoreTimestamp() - sent;
    equal(inbox.bodies(), List.of("now", "late"), "order of arrival");
    check(waited >= 4900 && waited < 10_000, "delay level 2 is 5 s; stored after " + waited + " ms");
    lab.note("delivered after " + waited + " ms");
  }

  /** By properties, as the 5.x client's setDelayTimeSec, setDelayTimeMs and setDeliverTimeMs write them. */
  private static void timed(Lab lab) throws Exception {
    String topic = lab.topic("timed", 1);
    Inbox inbox = SendCases.consume(lab, topic);
    long sent = System.currentTimeMillis();
    String[][] times = {
      {"sec", "TIMER_DELAY_SEC", "5"}, {"ms", "TIMER_DELAY_MS", "2500"}, {"at", "TIMER_DELIVER_MS", Long.toString(sent + 8500)},
    };
    for (String[] time : times) {
      Message message = SendCases.message(topic, time[0]);
      MessageAccessor.putProperty(message, time[1], time[2]);
      lab.send(message);
    }
    inbox.expectExactly(List.of("ms", "sec", "at"), 30);
    equal(inbox.bodies(), List.of("ms", "sec", "at"), "order of arrival");
    long[] due = {2500, 5000, 8500};
    for (int i = 0; i < due.length; i++) {
      long late = inbox.all().get(i).getStoreTimestamp() - sent - due[i];
      check(late >= 0 && late < 5000, inbox.bodies().get(i) + " stored " + late + " ms after its time");
    }
  }

  private static void requestReply(Lab lab) throws Exception {
    String topic = lab.topic("request", 1);
    DefaultMQProducer replier = lab.newProducer("replier");
    replier.start();
    DefaultMQPushConsumer consumer = lab.newPush(lab.name("server"));
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
      if (!Inbox.text(batch.get(0)).startsWith("question")) return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
      try {
        String answer = "answer to " + Inbox.text(batch.get(0));
        replier.send(MessageUtil.createReplyMessage(batch.get(0), answer.getBytes(UTF_8)), 5000);
      } catch (Exception error) {
        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
      }
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    consumer.start();
    await("the server reads", 15, () -> Lab.assigned(consumer, topic).size() == 1);
    // The broker finds the asking producer by its heart-beat, which it gets only once the producer knows of it.
    lab.send(SendCases.message(topic, "warm up"));
    await("the broker knows the producer", 15, () ->
        !lab.admin().examineProducerConnectionInfo(lab.name("producer"), topic).getConnectionSet().isEmpty());
    for (int i = 0; i < 5; i++) {
      Message reply = lab.producer().request(SendCases.message(topic, "question " + i), 10_000);
      equal(new String(reply.getBody(), UTF_8), "answer to question " + i, "reply");
    }
  }
}
