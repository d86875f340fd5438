package millrace;

import java.util.Collections;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.common.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What the 4.x client spells in its own way; the twin of this class serves the other major version. */
final class Api {
  private Api() {}

  static void broadcast(DefaultMQPushConsumer consumer) {
    consumer.setMessageModel(MessageModel.BROADCASTING);
  }

  /** By property: the setter of 4.9 changes the mark on the message, but not the compressor. */
  static synchronized DefaultMQProducer compressing(String type, Supplier<DefaultMQProducer> make) {
    System.setProperty(MixAll.MESSAGE_COMPRESS_TYPE, type);
    try {
      return make.get();
    } finally {
      System.clearProperty(MixAll.MESSAGE_COMPRESS_TYPE);
    }
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
    admin.deleteTopicInNameServer(Collections.singleton(namesrv), topic, cluster);
  }

  /** The 4.9 client does not take batches apart. */
  static void registerWholeBatches(Map<String, Case> cases) {}

  static void registerOwnWholeBatches(Map<String, Case> cases) {}

  /** The 4.9 client has no setters for a message's own time, and no recall. */
  static void registerTimers(Map<String, Case> cases) {}

  /** Nor kinds of messages, priorities and retry policies. */
  static void registerNewer(Map<String, Case> cases) {}

  static void registerOwnNewer(Map<String, Case> cases) {}
}
