package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * 8 producers send N messages of 1 KiB each, 4 consumers of one group read: every id comes exactly once, each queue's
 * offsets come without a gap and in order, and in each queue each producer's messages keep the order of sending.
 */
final class VolumeCase {
  private static final int PRODUCERS = 8;
  private static final int CONSUMERS = 4;
  private static final int QUEUES = 16;
  private static final int BODY_SIZE = 1024;
  private static final int SYSTEM_BUSY = 2;

  private VolumeCase() {}

  /** What was seen. One lock is enough: the broker and the clients cost far more than these few lines. */
  private static final class Seen {
    private final BitSet[] ids = new BitSet[PRODUCERS];
    private final long[] nextOffset = new long[QUEUES];
    private final int[][] lastPlace = new int[QUEUES][PRODUCERS];
    private long total;
    private String fault;

    Seen() {
      Arrays.setAll(ids, i -> new BitSet());
      for (int[] places : lastPlace) Arrays.fill(places, -1);
    }

    synchronized void add(MessageExt message) {
      ByteBuffer body = ByteBuffer.wrap(message.getBody());
      int producer = body.getInt();
      int place = body.getInt();
      int queueId = message.getQueueId();
      String where = "producer " + producer + " place " + place + " queue " + queueId + " offset " + message.getQueueOffset();
      if (message.getBody().length != BODY_SIZE) fault = "body of " + message.getBody().length + " bytes: " + where;
      else if (ids[producer].get(place)) fault = "came twice: " + where;
      else if (message.getQueueOffset() != nextOffset[queueId]) fault = "expected offset " + nextOffset[queueId] + ": " + where;
      else if (place <= lastPlace[queueId][producer]) fault = "after place " + lastPlace[queueId][producer] + ": " + where;
      ids[producer].set(place);
      nextOffset[queueId] = message.getQueueOffset() + 1;
      lastPlace[queueId][producer] = place;
      total++;
    }

    synchronized long total() {
      return total;
    }

    synchronized String fault() {
      return fault;
    }

    synchronized int distinct() {
      return Arrays.stream(ids).mapToInt(BitSet::cardinality).sum();
    }
  }

  static void run(Lab lab) throws Exception {
    int each = lab.volumeMessages;
    long total = (long) PRODUCERS * each;
    String topic = lab.topic("volume", QUEUES);
    Seen seen = new Seen();
    List<DefaultMQPushConsumer> consumers = new ArrayList<>();
    for (int i = 0; i < CONSUMERS; i++) {
      DefaultMQPushConsumer consumer = lab.newPush(lab.name("volumeReaders"));
      consumer.subscribe(topic, "*");
      // One thread keeps the order in which batches were pulled.
      consumer.setConsumeThreadMin(1);
      consumer.setConsumeThreadMax(1);
      consumer.setConsumeMessageBatchMaxSize(32);
      consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
        for (MessageExt message : batch) seen.add(message);
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
      });
      consumer.start();
      consumers.add(consumer);
    }
    Lab.awaitSplit(topic, QUEUES, consumers);

    long start = System.nanoTime();
    send(lab, topic, each);
    double sendSeconds = (System.nanoTime() - start) / 1e9;
    long[] before = {-1};
    long[] changed = {System.nanoTime()};
    // Ends when all are there, or when nothing new came for 20 s.
    await("messages", 24 * 3600, () -> {
      long now = seen.total();
      if (now != before[0]) {
        before[0] = now;
        changed[0] = System.nanoTime();
      }
      return now >= total || System.nanoTime() - changed[0] > 20_000_000_000L;
    });
    double seconds = (System.nanoTime() - start) / 1e9;
    Thread.sleep(500);
    check(seen.fault() == null, seen.fault());
    check(seen.distinct() == total && seen.total() == total,
        total + " sent, " + seen.total() + " received, " + seen.distinct() + " distinct");
    lab.note(String.format("%d messages, sent at %.0f/s, all received after %.1f s", total, total / sendSeconds, seconds));
  }

  /** "Busy" is a promise that nothing was stored, so the message may go again; a slow machine makes it likely. */
  private static SendResult sendPatiently(DefaultMQProducer producer, Message message, MessageQueue queue) throws Exception {
    while (true) {
      try {
        return producer.send(message, queue);
      } catch (MQBrokerException error) {
        if (error.getResponseCode() != SYSTEM_BUSY) throw error;
        Thread.sleep(20);
      }
    }
  }

  private static void send(Lab lab, String topic, int each) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(PRODUCERS);
    AtomicReference<Exception> error = new AtomicReference<>();
    AtomicLong sent = new AtomicLong();
    List<Future<?>> running = new ArrayList<>();
    try {
      for (int number = 0; number < PRODUCERS; number++) {
        int me = number;
        DefaultMQProducer producer = lab.newProducer("volume" + number);
        // A resend after a time-out would be a second message with the same id, and no fault of the broker.
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        running.add(pool.submit(() -> {
          for (int place = 0; place < each && error.get() == null; place++) {
            byte[] body = ByteBuffer.allocate(BODY_SIZE).putInt(me).putInt(place).array();
            try {
              var result = sendPatiently(producer, new Message(topic, body), queues.get((me + place) % queues.size()));
              if (result.getSendStatus() != SendStatus.SEND_OK) throw new Checks.Failed("send status " + result.getSendStatus());
              sent.incrementAndGet();
            } catch (Exception failed) {
              error.compareAndSet(null, failed);
            }
          }
        }));
      }
      for (Future<?> one : running) one.get();
    } finally {
      pool.shutdownNow();
    }
    if (error.get() != null) throw error.get();
  }
}
