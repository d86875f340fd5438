package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func orderly(l *lab) {
	const shards, each = 10, 20
	topic := l.topic("orderly", 4)
	client := l.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for i := 0; i < each; i++ {
		for shard := 0; shard < shards; shard++ {
			message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%d:%d", shard, i))).WithShardingKey(fmt.Sprint(shard))
			l.send(client, message)
		}
	}
	var mutex sync.Mutex
	next := map[int]int{}
	fault := ""
	total := 0
	l.push(l.name("line"), topic, "*", func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		mutex.Lock()
		defer mutex.Unlock()
		for _, message := range messages {
			var shard, place int
			fmt.Sscanf(string(message.Body), "%d:%d", &shard, &place)
			if next[shard] != place && fault == "" {
				fault = fmt.Sprintf("shard %d: expected place %d, got %d", shard, next[shard], place)
			}
			next[shard] = place + 1
			total++
		}
		return consumer.ConsumeSuccess, nil
	}, consumer.WithConsumerOrder(true))
	await("all messages in order", 40, func() bool {
		mutex.Lock()
		defer mutex.Unlock()
		return total >= shards*each
	})
	time.Sleep(300 * time.Millisecond)
	mutex.Lock()
	defer mutex.Unlock()
	equal(fault, "", "order")
	equal(total, shards*each, "deliveries")
}

func broadcast(l *lab) {
	topic := l.topic("broadcast", 4)
	inboxes := []*inbox{new(inbox), new(inbox)}
	for _, in := range inboxes {
		l.push(l.name("everyone"), topic, "*", in.listener, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	wanted := bodies("broadcast", 60)
	client := l.producer()
	for _, body := range wanted {
		l.send(client, primitive.NewMessage(topic, []byte(body)))
	}
	for _, in := range inboxes {
		in.expectExactly(wanted, 30)
	}
}

// settle sends one probe to each queue, again and again, until each consumer gets its share of a round.
func settle(l *lab, client rocketmq.Producer, topic string, queues int, inboxes []*inbox) {
	round := 0
	// Under the 20 s of the client's own rebalance timer: only the broker's notice (code 40) makes it.
	await(fmt.Sprintf("%d consumers share %d queues", len(inboxes), queues), 15, func() bool {
		probe := fmt.Sprintf("probe%d_", round)
		round++
		for queue := 0; queue < queues; queue++ {
			message := primitive.NewMessage(topic, []byte(fmt.Sprint(probe, queue)))
			message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: "", QueueId: queue}
			l.send(client, message)
		}
		time.Sleep(700 * time.Millisecond)
		for _, in := range inboxes {
			mine := 0
			for _, body := range in.bodies() {
				if len(body) > len(probe) && body[:len(probe)] == probe {
					mine++
				}
			}
			if mine != queues/len(inboxes) {
				return false
			}
		}
		return true
	})
}

// byQueueId sends to the queue with the id that the message names; the library's own selector wants a full queue.
type byQueueId struct{ other producer.QueueSelector }

func (s byQueueId) Select(message *primitive.Message, queues []*primitive.MessageQueue, lastBroker string) *primitive.MessageQueue {
	if message.Queue != nil {
		for _, queue := range queues {
			if queue.QueueId == message.Queue.QueueId {
				return queue
			}
		}
	}
	return s.other.Select(message, queues, lastBroker)
}

func together(inboxes []*inbox, stem string) []string {
	var all []string
	for _, in := range inboxes {
		for _, body := range in.bodies() {
			if len(body) > len(stem) && body[:len(stem)] == stem {
				all = append(all, body)
			}
		}
	}
	return all
}

func twoConsumers(l *lab) {
	const queues = 8
	topic := l.topic("split", queues)
	client := l.producer(producer.WithQueueSelector(byQueueId{producer.NewRoundRobinQueueSelector()}))
	inboxes := []*inbox{new(inbox), new(inbox)}
	group := l.name("team")
	l.push(group, topic, "*", inboxes[0].listener)
	settle(l, client, topic, queues, inboxes[:1])
	second := l.push(group, topic, "*", inboxes[1].listener)
	settle(l, client, topic, queues, inboxes)

	settled := bodies("settled", 200)
	for _, body := range settled {
		l.send(client, primitive.NewMessage(topic, []byte(body)))
	}
	await("all messages", 30, func() bool { return len(together(inboxes, "settled")) >= len(settled) })
	time.Sleep(300 * time.Millisecond)
	equal(differences(together(inboxes, "settled"), settled), "", "among both consumers")

	must(second.Shutdown(), "stop of the second consumer")
	settle(l, client, topic, queues, inboxes[:1])
	after := bodies("after", 100)
	for _, body := range after {
		l.send(client, primitive.NewMessage(topic, []byte(body)))
	}
	await("all messages after the stop", 30, func() bool { return len(together(inboxes[:1], "after")) >= len(after) })
	time.Sleep(300 * time.Millisecond)
	equal(differences(together(inboxes, "after"), after), "", "after one stopped")
}

// resume: what was consumed before a stop does not come again; what arrived meanwhile does.
func resume(l *lab) {
	topic := l.topic("resume", 4)
	client := l.producer()
	for life := 0; life < 2; life++ {
		wanted := bodies(fmt.Sprint("life", life), 30)
		for _, body := range wanted {
			l.send(client, primitive.NewMessage(topic, []byte(body)))
		}
		in := new(inbox)
		reader := l.push(l.name("stayer"), topic, "*", in.listener)
		in.expectExactly(wanted, 30)
		must(reader.Shutdown(), "stop of the consumer")
	}
}

func pullFrom(l *lab) {
	topic := l.topic("pull", 1)
	wanted := bodies("p", 50)
	client := l.producer()
	var queue *primitive.MessageQueue
	for _, body := range wanted {
		queue = l.send(client, primitive.NewMessage(topic, []byte(body))).MessageQueue
	}
	reader, err := rocketmq.NewPullConsumer(consumer.WithNameServer(l.servers()), consumer.WithGroupName(l.name("puller")),
		consumer.WithInstance(instance()))
	must(err, "pull consumer")
	must(reader.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}), "subscription")
	must(reader.Start(), "start of the pull consumer")
	l.closers = append(l.closers, func() { _ = reader.Shutdown() })
	var got []string
	for offset := int64(0); len(got) < len(wanted); {
		result, err := reader.PullFrom(context.Background(), queue, offset, 20)
		must(err, "pull")
		if result.Status == primitive.PullNoNewMsg && offset < 50 {
			time.Sleep(20 * time.Millisecond) // The queue's end may lag behind the answer to a send.
			continue
		}
		equal(result.Status, primitive.PullFound, "status")
		for _, message := range result.GetMessageExts() {
			equal(message.QueueOffset, int64(len(got)), "offset of the message")
			got = append(got, string(message.Body))
		}
		offset = result.NextBeginOffset
		if offset == 50 {
			equal(result.MaxOffset, int64(50), "max offset")
		}
	}
	equal(fmt.Sprint(got), fmt.Sprint(wanted), "bodies in order")
}

// poll reads through the library's own rebalance: messages come as batches that are acknowledged.
func poll(l *lab) {
	topic := l.topic("poll", 4)
	wanted := bodies("poll", 60)
	client := l.producer()
	for _, body := range wanted {
		l.send(client, primitive.NewMessage(topic, []byte(body)))
	}
	reader, err := rocketmq.NewPullConsumer(consumer.WithNameServer(l.servers()), consumer.WithGroupName(l.name("poller")),
		consumer.WithInstance(instance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	must(err, "pull consumer")
	must(reader.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}), "subscription")
	must(reader.Start(), "start of the pull consumer")
	l.closers = append(l.closers, func() { _ = reader.Shutdown() })
	in := new(inbox)
	await("all messages", 40, func() bool {
		request, err := reader.Poll(context.Background(), time.Second)
		if err == nil {
			in.add(request.GetMsgList()...)
			reader.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
		return len(in.all()) >= len(wanted)
	})
	in.expectExactly(wanted, 1)
}

func topicLife(l *lab) {
	topic := l.topic("life", 3)
	client, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{l.namesrv})))
	must(err, "admin")
	defer client.Close()
	topics, err := client.FetchAllTopicList(context.Background())
	must(err, "topic list")
	found := false
	for _, name := range topics.TopicList {
		found = found || name == topic
	}
	equal(found, true, "the topic list has "+topic)
	queues, err := client.FetchPublishMessageQueues(context.Background(), topic)
	must(err, "queues")
	equal(len(queues), 3, "queues")
	must(client.DeleteTopic(context.Background(), admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(l.brokerAddress()),
		admin.WithNameSrvAddr([]string{l.namesrv})), "deletion")
	await("route is gone", 10, func() bool { return !l.hasRoute(topic) })
}
