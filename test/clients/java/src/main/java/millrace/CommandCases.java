package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.commons.cli.CommandLine;
import org.apache.commons.cli.Option;
import org.apache.commons.cli.Options;
import org.apache.commons.cli.PosixParser;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.command.SubCommand;
import org.apache.rocketmq.tools.command.cluster.ClusterListSubCommand;
import org.apache.rocketmq.tools.command.connection.ConsumerConnectionSubCommand;
import org.apache.rocketmq.tools.command.connection.ProducerConnectionSubCommand;
import org.apache.rocketmq.tools.command.consumer.ConsumerProgressSubCommand;
import org.apache.rocketmq.tools.command.consumer.ConsumerStatusSubCommand;
import org.apache.rocketmq.tools.command.consumer.UpdateSubGroupSubCommand;
import org.apache.rocketmq.tools.command.message.QueryMsgByIdSubCommand;
import org.apache.rocketmq.tools.command.message.QueryMsgByKeySubCommand;
import org.apache.rocketmq.tools.command.message.QueryMsgByOffsetSubCommand;
import org.apache.rocketmq.tools.command.message.QueryMsgByUniqueKeySubCommand;
import org.apache.rocketmq.tools.command.message.QueryMsgTraceByIdSubCommand;
import org.apache.rocketmq.tools.command.offset.CloneGroupOffsetCommand;
import org.apache.rocketmq.tools.command.offset.GetConsumerStatusCommand;
import org.apache.rocketmq.tools.command.offset.ResetOffsetByTimeCommand;
import org.apache.rocketmq.tools.command.offset.SkipAccumulationSubCommand;
import org.apache.rocketmq.tools.command.producer.ProducerSubCommand;
import org.apache.rocketmq.tools.command.queue.QueryConsumeQueueCommand;
import org.apache.rocketmq.tools.command.stats.StatsAllSubCommand;
import org.apache.rocketmq.tools.command.topic.TopicRouteSubCommand;
import org.apache.rocketmq.tools.command.topic.TopicStatusSubCommand;
import org.apache.rocketmq.tools.command.topic.UpdateOrderConfCommand;
import org.apache.rocketmq.tools.command.topic.UpdateTopicPermSubCommand;
import org.apache.rocketmq.tools.command.topic.UpdateTopicSubCommand;

/** Commands of mqadmin, run as they are, and what they print. */
final class CommandCases {
  private CommandCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("commandsOfTopics", CommandCases::topics);
    cases.put("commandsOfGroups", CommandCases::groups);
    cases.put("commandsOfMessages", CommandCases::messages);
    cases.put("commandOfTraces", CommandCases::traces);
    cases.put("commandsOfClients", CommandCases::clients);
  }

  /** What the command prints. One at a time: commands write to the process's standard output. */
  private static synchronized String run(Lab lab, SubCommand command, String... arguments) throws Exception {
    Options options = new Options();
    options.addOption(new Option("n", "namesrvAddr", true, ""));
    Options own = command.buildCommandlineOptions(options);
    List<String> all = new ArrayList<>(List.of("-n", lab.namesrv));
    for (int i = 0; i < arguments.length; i += 2) {
      // 5.x wants a topic where 4.x does not know of one.
      if (own.hasOption(arguments[i])) all.addAll(List.of(arguments[i], arguments[i + 1]));
    }
    CommandLine line = new PosixParser().parse(own, all.toArray(new String[0]));
    // As mqadmin does with its -n: most commands do not look at it themselves.
    System.setProperty("rocketmq.namesrv.addr", lab.namesrv);
    PrintStream before = System.out;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    System.setOut(new PrintStream(printed, true));
    try {
      command.execute(line, own, null);
    } finally {
      System.setOut(before);
    }
    return printed.toString();
  }

  private static void has(String printed, String... wanted) {
    for (String text : wanted) check(printed.contains(text), "no \"" + text + "\" in what was printed: " + printed);
  }

  private static void topics(Lab lab) throws Exception {
    String topic = lab.name("commands");
    String broker = lab.brokerAddress();
    has(run(lab, new UpdateTopicSubCommand(), "-b", broker, "-t", topic, "-r", "3", "-w", "3"), "success");
    await("the route", 10, () -> lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getReadQueueNums() == 3);
    has(run(lab, new TopicRouteSubCommand(), "-t", topic), broker, lab.brokerName());
    for (int i = 0; i < 3; i++) lab.send(SendCases.message(topic, "m" + i), lab.queue(topic, 1));
    await("the messages", 10, () -> lab.admin().maxOffset(lab.queue(topic, 1)) == 3);
    has(run(lab, new TopicStatusSubCommand(), "-t", topic), lab.brokerName());
    has(run(lab, new UpdateTopicPermSubCommand(), "-b", broker, "-t", topic, "-p", "4"), "from 6 to 4");
    await("the permission", 10, () -> lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm() == 4);
    has(run(lab, new UpdateOrderConfCommand(), "-m", "put", "-t", topic, "-v", lab.brokerName() + ":2"), "success");
    has(run(lab, new UpdateOrderConfCommand(), "-m", "get", "-t", topic), lab.brokerName() + ":2");
    has(run(lab, new UpdateOrderConfCommand(), "-m", "delete", "-t", topic), "success");
  }

  private static void groups(Lab lab) throws Exception {
    String topic = lab.topic("commands", 1);
    String group = lab.name("commanded");
    String broker = lab.brokerAddress();
    has(run(lab, new UpdateSubGroupSubCommand(), "-b", broker, "-g", group, "-r", "5"), "success");
    equal(lab.admin().examineSubscriptionGroupConfig(broker, group).getRetryMaxTimes(), 5, "retryMaxTimes");
    List<String> early = SendCases.bodies("early", 10);
    for (String body : early) lab.send(SendCases.message(topic, body));
    Thread.sleep(300);
    String middle = Long.toString(System.currentTimeMillis());
    Thread.sleep(300);
    List<String> late = SendCases.bodies("late", 10);
    for (String body : late) lab.send(SendCases.message(topic, body));
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    await("all", 20, () -> inbox.size() == 20);
    await("all is committed", 20, () -> lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0);
    has(run(lab, new ConsumerProgressSubCommand(), "-g", group), topic, "Diff Total: 0");
    inbox.clear();
    has(run(lab, new ResetOffsetByTimeCommand(), "-g", group, "-t", topic, "-s", middle), lab.brokerName(), " 10");
    inbox.expectExactly(late, 40);
    await("all is committed again", 20, () -> lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0);
    consumer.shutdown();
    String other = lab.name("cloned");
    Api.allowGroup(lab.admin(), broker, other, true);
    run(lab, new CloneGroupOffsetCommand(), "-s", group, "-d", other, "-t", topic, "-o", "true");
    Map<String, String> place = Map.of("consumerGroup", other, "topic", topic, "queueId", "0");
    equal(lab.ask(Raw.command(Raw.QUERY_CONSUMER_OFFSET, place)).getExtFields().get("offset"), "20", "offset of the clone");
  }

  private static void messages(Lab lab) throws Exception {
    String topic = lab.topic("commands", 1);
    Message message = SendCases.message(topic, "asked for");
    message.setKeys("order-1");
    SendResult sent = lab.send(message);
    await("the index", 15, () -> !lab.admin().queryMessage(topic, "order-1", 4, 0, Long.MAX_VALUE).getMessageList().isEmpty());
    has(run(lab, new QueryMsgByKeySubCommand(), "-t", topic, "-k", "order-1"), sent.getMsgId());
    has(run(lab, new QueryMsgByUniqueKeySubCommand(), "-t", topic, "-i", sent.getMsgId()), "order-1", topic);
    has(run(lab, new QueryMsgByIdSubCommand(), "-t", topic, "-i", sent.getOffsetMsgId()), "order-1", sent.getOffsetMsgId());
    String byOffset = run(lab, new QueryMsgByOffsetSubCommand(), "-t", topic, "-b", lab.brokerName(), "-i", "0", "-o", "0");
    has(byOffset, "order-1");
  }

  /** Who is online, where each stands, and one message handed to one client once more. */
  private static void clients(Lab lab) throws Exception {
    String topic = lab.topic("commands", 1);
    String group = lab.name("watched");
    SendResult sent = lab.send(SendCases.message(topic, "first"));
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    inbox.expectExactly(List.of("first"), 40);
    String client = consumer.buildMQClientId();
    await("the producer is known", 40, () ->
        run(lab, new ProducerConnectionSubCommand(), "-g", lab.name("producer"), "-t", topic).contains(lab.producer().buildMQClientId()));
    has(run(lab, new ProducerSubCommand(), "-b", lab.brokerAddress()), lab.producer().buildMQClientId(), "remoteIP=/");
    has(run(lab, new ConsumerConnectionSubCommand(), "-g", group), client, "CLUSTERING", topic);
    has(run(lab, new ConsumerStatusSubCommand(), "-g", group, "-i", client), topic, lab.brokerName());
    has(run(lab, new GetConsumerStatusCommand(), "-g", group, "-t", topic, "-i", client), client);
    has(run(lab, new QueryMsgByIdSubCommand(), "-t", topic, "-i", sent.getOffsetMsgId(), "-g", group, "-d", client), "CR_SUCCESS");
    equal(inbox.bodies(), List.of("first", "first"), "what the client got, and got directly");
    await("all is committed", 20, () -> lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0);
    String cluster = run(lab, new ClusterListSubCommand());
    has(cluster, lab.brokerName());
    check(!cluster.contains("null"), "a figure that the broker does not tell: " + cluster);
    has(run(lab, new StatsAllSubCommand(), "-t", topic), topic, group);
    String entries = run(lab, new QueryConsumeQueueCommand(), "-b", lab.brokerAddress(), "-t", topic, "-q", "0", "-i", "0", "-c", "1");
    has(entries, "physicOffset=" + inbox.all().get(0).getCommitLogOffset());
    has(run(lab, new SkipAccumulationSubCommand(), "-g", group, "-t", topic), lab.brokerName());
  }

  /** What producer and consumer told of a message, by its id. */
  private static void traces(Lab lab) throws Exception {
    String topic = lab.topic("traced", 1);
    DefaultMQProducer producer = new DefaultMQProducer(lab.name("traced"), null, true, null);
    producer.setNamesrvAddr(lab.namesrv);
    producer.setInstanceName("traced" + System.nanoTime());
    lab.closeAtEnd(producer::shutdown);
    producer.start();
    Message message = SendCases.message(topic, "traced");
    message.setKeys("traced-1");
    String id = producer.send(message).getMsgId();
    await("the trace", 40, () -> run(lab, new QueryMsgTraceByIdSubCommand(), "-i", id).contains("Pub"));
    has(run(lab, new QueryMsgTraceByIdSubCommand(), "-i", id), lab.name("traced"), "success");
  }
}
