package millrace;

import java.util.Collections;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What the 5.x client spells in its own way; the twin of this class serves the other major version. */
final class Api {
  private Api() {}

  static void broadcast(DefaultMQPushConsumer consumer) {
    consumer.setMessageModel(MessageModel.BROADCASTING);
  }

  static DefaultMQProducer compressing(String type, Supplier<DefaultMQProducer> make) {
    DefaultMQProducer producer = make.get();
    producer.setCompressType(CompressionType.valueOf(type));
    return producer;
  }

  static void putGroup(DefaultMQAdminExt admin, String brokerAddress, String group, int retryMaxTimes, boolean broadcast)
      throws Exception {
    SubscriptionGroupConfig config = new SubscriptionGroupConfig();
    config.setGroupName(group);
    config.setRetryMaxTimes(retryMaxTimes);
    config.setConsumeBroadcastEnable(broadcast);
    admin.createAndUpdateSubscriptionGroupConfig(brokerAddress, config);
  }

  static void allowGroup(DefaultMQAdminExt admin, String brokerAddress, String group, boolean consume) throws Exception {
    SubscriptionGroupConfig config = new SubscriptionGroupConfig();
    config.setGroupName(group);
    config.setConsumeEnable(consume);
    admin.createAndUpdateSubscriptionGroupConfig(brokerAddress, config);
  }

  static void deleteRoute(DefaultMQAdminExt admin, String namesrv, String cluster, String topic) throws Exception {
    admin.deleteTopicInNameServer(Collections.singleton(namesrv), cluster, topic);
  }

  static void registerWholeBatches(Map<String, Case> cases) {
    WholeBatchCases.register(cases);
  }

  static void registerOwnWholeBatches(Map<String, Case> cases) {
    WholeBatchCases.registerOwn(cases);
  }

  static void registerTimers(Map<String, Case> cases) {
    TimerCases.register(cases);
  }

  static void registerNewer(Map<String, Case> cases) {
    PriorityCases.register(cases);
  }

  static void registerOwnNewer(Map<String, Case> cases) {
    PriorityCases.registerOwn(cases);
  }
}
