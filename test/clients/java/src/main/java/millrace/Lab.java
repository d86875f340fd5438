package millrace;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * What one case works with: names that no other case or run uses, and clients that are closed when the case ends,
 * youngest first. Every client gets an instance name of its own; two consumers of a group in one JVM would otherwise
 * share a client id and never split the queues. Used by the case's thread only.
 */
final class Lab implements AutoCloseable {
  private static final AtomicInteger INSTANCES = new AtomicInteger();
  static final long TIMEOUT_MS = 10_000;
  /**
   * The client raises its subscription's version at a rebalance and tells the broker by a heart-beat; it skips that
   * heart-beat when another one is under way, and its pulls are then refused (25) until the next, 30 s by default.
   */
  private static final int HEARTBEAT_MS = 2000;
  private static NettyRemotingClient remoting;

  final String namesrv;
  final int volumeMessages;
  private final String suffix;
  private final String run;
  private final Deque<AutoCloseable> owned = new ArrayDeque<>();
  private DefaultMQAdminExt admin;
  private DefaultMQProducer producer;
  private String brokerAddress;
  private volatile String note = "";

  Lab(String namesrv, String caseName, String run, int volumeMessages) {
    this.namesrv = namesrv;
    this.suffix = caseName + "_" + run;
    this.run = run;
    this.volumeMessages = volumeMessages;
  }

  /** Told in the result line when the case passes. */
  void note(String text) {
    note = text;
  }

  String noted() {
    return note;
  }

  /** A name that is legal for topics and groups and fresh in this run. */
  String name(String stem) {
    return stem + "_" + suffix;
  }

  /** A name that every case of this run, and of another one with the same --run, makes alike. */
  String shared(String stem) {
    return stem + "_" + run;
  }

  private <T extends AutoCloseable> T own(T resource) {
    owned.push(resource);
    return resource;
  }

  /** Creates the topic and waits until the name server tells its route. */
  String topic(String stem, int queues) throws Exception {
    String topic = name(stem);
    createTopic(topic, queues);
    return topic;
  }

  void createTopic(String topic, int queues) throws Exception {
    admin().createAndUpdateTopicConfig(brokerAddress(), new TopicConfig(topic, queues, queues, 6));
    Checks.await("route of " + topic, 10, () ->
        admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums() == queues);
  }

  DefaultMQAdminExt admin() throws Exception {
    if (admin == null) {
      admin = new DefaultMQAdminExt(TIMEOUT_MS);
      admin.setNamesrvAddr(namesrv);
      admin.setAdminExtGroup(name("admin"));
      admin.setInstanceName("lab" + INSTANCES.incrementAndGet());
      admin.start();
      DefaultMQAdminExt started = admin;
      own(started::shutdown);
    }
    return admin;
  }

  /** HOST:PORT of the first master of the cluster. */
  String brokerAddress() throws Exception {
    if (brokerAddress == null) {
      brokerAddress = admin().examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next().getBrokerAddrs().get(0L);
    }
    return brokerAddress;
  }

  String brokerName() throws Exception {
    return admin().examineBrokerClusterInfo().getBrokerAddrTable().keySet().iterator().next();
  }

  String clusterName() throws Exception {
    return admin().examineBrokerClusterInfo().getClusterAddrTable().keySet().iterator().next();
  }

  /** The case's own started producer. */
  DefaultMQProducer producer() throws Exception {
    if (producer == null) {
      producer = newProducer("producer");
      producer.start();
    }
    return producer;
  }

  /** A producer that the case sets up further and starts. */
  DefaultMQProducer newProducer(String stem) {
    DefaultMQProducer made = new DefaultMQProducer(name(stem));
    made.setNamesrvAddr(namesrv);
    made.setInstanceName("lab" + INSTANCES.incrementAndGet());
    made.setSendMsgTimeout((int) TIMEOUT_MS);
    made.setHeartbeatBrokerInterval(HEARTBEAT_MS);
    own(made::shutdown);
    return made;
  }

  /** A producer of transactions, that the case sets up further and starts. */
  TransactionMQProducer newTransactionProducer(String group) {
    TransactionMQProducer made = new TransactionMQProducer(group);
    made.setNamesrvAddr(namesrv);
    made.setInstanceName("lab" + INSTANCES.incrementAndGet());
    made.setSendMsgTimeout((int) TIMEOUT_MS);
    made.setHeartbeatBrokerInterval(HEARTBEAT_MS);
    own(made::shutdown);
    return made;
  }

  /** A push consumer that the case subscribes and starts. It reads from the first message on. */
  DefaultMQPushConsumer newPush(String group) {
    DefaultMQPushConsumer made = new DefaultMQPushConsumer(group);
    made.setNamesrvAddr(namesrv);
    made.setInstanceName("lab" + INSTANCES.incrementAndGet());
    made.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    made.setPersistConsumerOffsetInterval(1000);
    made.setHeartbeatBrokerInterval(HEARTBEAT_MS);
    made.setConsumeThreadMin(2);
    made.setConsumeThreadMax(4);
    // A stop lets running listeners finish, so that what they handled is also committed.
    made.setAwaitTerminationMillisWhenShutdown(5000);
    own(made::shutdown);
    return made;
  }

  DefaultLitePullConsumer newLitePull(String group) {
    DefaultLitePullConsumer made = new DefaultLitePullConsumer(group);
    made.setNamesrvAddr(namesrv);
    made.setInstanceName("lab" + INSTANCES.incrementAndGet());
    made.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    made.setHeartbeatBrokerInterval(HEARTBEAT_MS);
    own(made::shutdown);
    return made;
  }

  <T extends AutoCloseable> T closeAtEnd(T resource) {
    return own(resource);
  }

  /** Sends one command to the broker through the library's own transport, past the checks of its producers. */
  RemotingCommand ask(RemotingCommand request) throws Exception {
    return ask(brokerAddress(), request);
  }

  RemotingCommand ask(String address, RemotingCommand request) throws Exception {
    return remoting().invokeSync(address, request, TIMEOUT_MS);
  }

  /** One for all cases and never closed: its shutdown waits 3 s for a thread that it did not start. */
  private static synchronized NettyRemotingClient remoting() {
    if (remoting == null) {
      remoting = new NettyRemotingClient(new NettyClientConfig());
      remoting.start();
    }
    return remoting;
  }

  SendResult send(Message message) throws Exception {
    SendResult result = producer().send(message);
    Checks.equal(result.getSendStatus(), SendStatus.SEND_OK, "send status");
    return result;
  }

  SendResult send(Message message, MessageQueue queue) throws Exception {
    SendResult result = producer().send(message, queue);
    Checks.equal(result.getSendStatus(), SendStatus.SEND_OK, "send status");
    return result;
  }

  MessageQueue queue(String topic, int queueId) throws Exception {
    return new MessageQueue(topic, brokerName(), queueId);
  }

  /** Queues of the topic that a push consumer works on now. */
  static Set<MessageQueue> assigned(DefaultMQPushConsumer consumer, String topic) {
    Set<MessageQueue> queues = new HashSet<>();
    for (MessageQueue queue : consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()) {
      if (queue.getTopic().equals(topic)) queues.add(queue);
    }
    return queues;
  }

  /**
   * Waits until the consumers have split the topic's queues: each queue with exactly one, sizes apart by one at most.
   * The limit lies under the 20 s of the client's own rebalance timer: only the broker's notice (code 40) makes it.
   */
  static void awaitSplit(String topic, int queues, List<DefaultMQPushConsumer> consumers) throws InterruptedException {
    Checks.await(consumers.size() + " consumers split " + queues + " queues", 12, () -> {
      Map<MessageQueue, Integer> owners = new HashMap<>();
      int least = queues;
      int most = 0;
      for (DefaultMQPushConsumer consumer : consumers) {
        Set<MessageQueue> mine = assigned(consumer, topic);
        least = Math.min(least, mine.size());
        most = Math.max(most, mine.size());
        for (MessageQueue queue : mine) owners.merge(queue, 1, Integer::sum);
      }
      return owners.size() == queues && most - least <= 1 && owners.values().stream().allMatch(n -> n == 1);
    });
  }

  @Override
  public void close() {
    while (!owned.isEmpty()) {
      try {
        owned.pop().close();
      } catch (Exception error) {
        System.err.println("closing: " + error);
      }
    }
  }
}
