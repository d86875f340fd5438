package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// calls notes what a listener is given, as text and reconsumeTimes.
type calls struct {
	mutex sync.Mutex
	made  []string
}

func (c *calls) add(message *primitive.MessageExt) int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.made = append(c.made, fmt.Sprint(string(message.Body), " ", message.ReconsumeTimes))
	return len(c.made)
}

func (c *calls) all() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]string(nil), c.made...)
}

// makeRetryTopic has the group's first heart-beat make its retry topic: a client that does not find the route at its start
// looks again 30 s later.
func makeRetryTopic(l *lab, group, topic string) {
	first := l.push(group, topic, "*", new(inbox).listener)
	l.awaitRoute("%RETRY%" + group)
	must(first.Shutdown(), "stop of the first consumer")
}

// toDeadLetters fails each time; after as many retries as the consumer wants the message is a dead letter.
func toDeadLetters(l *lab) {
	topic, group := l.topic("dead", 1), l.name("fails")
	makeRetryTopic(l, group, topic)
	var tries calls
	l.push(group, topic, "*", func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		tries.add(messages[0])
		if own, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			own.DelayLevelWhenNextConsume = 1
		}
		return consumer.ConsumeRetryLater, nil
	}, consumer.WithMaxReconsumeTimes(2))
	message := primitive.NewMessage(topic, []byte("bad")).WithTag("TagA").WithKeys([]string{"k1"})
	message.WithProperty("own", "kept")
	sent := l.send(l.producer(), message)
	l.awaitRoute("%DLQ%" + group)
	dead := l.read("%DLQ%" + group)
	dead.expectExactly([]string{"bad"}, 40)
	equal(strings.Join(tries.all(), ", "), "bad 0, bad 1, bad 2", "calls of the listener")
	letter := dead.all()[0]
	equal(letter.GetTags(), "TagA", "tags")
	equal(strings.TrimSpace(letter.GetKeys()), "k1", "keys")
	equal(letter.GetProperty("own"), "kept", "user property")
	equal(letter.GetProperty("RETRY_TOPIC"), topic, "RETRY_TOPIC")
	equal(letter.GetProperty("ORIGIN_MESSAGE_ID"), sent.OffsetMsgID, "ORIGIN_MESSAGE_ID")
}

// orderlySuspend: a listener that says "suspend" gets the same message again, and nothing behind it before.
func orderlySuspend(l *lab) {
	topic := l.topic("suspend", 1)
	client := l.producer()
	for _, body := range []string{"a", "b", "c"} {
		l.send(client, primitive.NewMessage(topic, []byte(body)))
	}
	var made calls
	l.push(l.name("line"), topic, "*", func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if made.add(messages[0]) == 2 {
			return consumer.SuspendCurrentQueueAMoment, nil
		}
		return consumer.ConsumeSuccess, nil
	}, consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(300*time.Millisecond))
	await("all three", 40, func() bool { return len(made.all()) >= 4 })
	equal(strings.Join(made.all(), ", "), "a 0, b 0, b 1, c 0", "calls of the listener")
}

// delayed: a level, and the properties that 5.x clients set.
func delayed(l *lab) {
	topic := l.topic("delayed", 1)
	in := l.read(topic)
	begun := time.Now()
	level := primitive.NewMessage(topic, []byte("level")).WithDelayTimeLevel(2)
	seconds := primitive.NewMessage(topic, []byte("seconds"))
	seconds.WithProperty("TIMER_DELAY_SEC", "8")
	at := primitive.NewMessage(topic, []byte("at"))
	at.WithProperty("TIMER_DELIVER_MS", fmt.Sprint(begun.Add(2500*time.Millisecond).UnixMilli()))
	client := l.producer()
	for _, message := range []*primitive.Message{level, seconds, at, primitive.NewMessage(topic, []byte("now"))} {
		l.send(client, message)
	}
	in.expectExactly([]string{"now", "at", "level", "seconds"}, 40)
	equal(strings.Join(in.bodies(), ", "), "now, at, level, seconds", "order of arrival")
	due := map[string]int64{"now": 0, "at": 2500, "level": 5000, "seconds": 8000}
	for _, message := range in.all() {
		// Levels are measured from the store time, which is after the sending.
		if early := begun.UnixMilli() + due[string(message.Body)] - message.StoreTimestamp; early > 0 {
			fail("%s was delivered %d ms early", message.Body, early)
		}
	}
}

// requestReply asks, and another client answers by way of the broker.
func requestReply(l *lab) {
	topic := l.topic("request", 1)
	replier, asker := l.producer(), l.producer()
	l.push(l.name("server"), topic, "*", func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			if !strings.HasPrefix(string(message.Body), "question") {
				continue
			}
			// The library takes the body that it is given for properties.
			reply, err := consumer.CreateReplyMessage(message, nil)
			if err != nil {
				return consumer.ConsumeRetryLater, err
			}
			reply.Body = []byte("answer to " + string(message.Body))
			if _, err = replier.SendSync(context.Background(), reply); err != nil {
				return consumer.ConsumeRetryLater, err
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	// The broker finds who asked by a heart-beat, and the client tells of the producer only after a first send.
	l.send(asker, primitive.NewMessage(topic, []byte("warm up")))
	answered := 0
	await("three answers", 60, func() bool {
		question := fmt.Sprint("question ", answered)
		reply, err := asker.Request(context.Background(), 3*time.Second, primitive.NewMessage(topic, []byte(question)))
		if err != nil {
			return false
		}
		equal(string(reply.Body), "answer to "+question, "reply")
		answered++
		return answered == 3
	})
}

// trace: what producer and consumer tell of a message is in the trace topic. The broker needs traceTopicEnable=true.
func trace(l *lab) {
	topic := l.topic("trace", 1)
	traces := new(inbox)
	l.push(l.name("tracer"), "RMQ_SYS_TRACE_TOPIC", "*", traces.listener)
	config := func() *primitive.TraceConfig {
		return &primitive.TraceConfig{Access: primitive.Local, GroupName: l.name("traced"), NamesrvAddrs: l.servers()}
	}
	in := new(inbox)
	l.push(l.name("reader"), topic, "*", in.listener, consumer.WithTrace(config()))
	sent := l.send(l.producer(producer.WithTrace(config())), primitive.NewMessage(topic, []byte("traced")))
	in.expectExactly([]string{"traced"}, 30)
	for _, kind := range []string{"Pub", "SubBefore", "SubAfter"} {
		await(kind+" of the message", 40, func() bool {
			for _, body := range traces.bodies() {
				if strings.Contains(body, sent.MsgID) && strings.Contains(body, kind) {
					return true
				}
			}
			return false
		})
	}
}

// suspended: a suspended consumer hands out nothing, and misses nothing.
func suspended(l *lab) {
	topic := l.topic("suspended", 1)
	in := new(inbox)
	reader := l.push(l.name("sleeper"), topic, "*", in.listener)
	client := l.producer()
	l.send(client, primitive.NewMessage(topic, []byte("before")))
	in.expectExactly([]string{"before"}, 30)
	reader.Suspend()
	// A pull that is held at the broker at that moment is still answered and handed out.
	l.send(client, primitive.NewMessage(topic, []byte("ends the held pull")))
	await("the held pull ends", 30, func() bool { return len(in.all()) == 2 })
	l.send(client, primitive.NewMessage(topic, []byte("behind")))
	time.Sleep(2 * time.Second)
	equal(len(in.all()), 2, "deliveries while suspended")
	reader.Resume()
	in.expectExactly([]string{"before", "ends the held pull", "behind"}, 30)
}

// fromWhere: first, last, and a time; by broadcast, whose consumers keep their offsets themselves.
func fromWhere(l *lab) {
	topic := l.topic("where", 1)
	client := l.producer()
	l.send(client, primitive.NewMessage(topic, []byte("early")))
	time.Sleep(2100 * time.Millisecond) // The client's time is in whole seconds.
	middle := time.Now().UTC().Format("20060102150405")
	time.Sleep(1100 * time.Millisecond)
	l.send(client, primitive.NewMessage(topic, []byte("late")))
	time.Sleep(500 * time.Millisecond)
	first, at, last := new(inbox), new(inbox), new(inbox)
	inboxes := []*inbox{first, at, last}
	for i, where := range []consumer.ConsumeFromWhere{
		consumer.ConsumeFromFirstOffset, consumer.ConsumeFromTimestamp, consumer.ConsumeFromLastOffset,
	} {
		l.push(l.name(fmt.Sprint("where", i)), topic, "*", inboxes[i].listener, consumer.WithConsumerModel(consumer.BroadCasting),
			consumer.WithConsumeFromWhere(where), consumer.WithConsumeTimestamp(middle))
	}
	await("the first two", 30, func() bool { return len(first.all()) == 2 && len(at.all()) == 1 })
	time.Sleep(time.Second) // The third has its queue by now, and nobody tells.
	l.send(client, primitive.NewMessage(topic, []byte("after")))
	first.expectExactly([]string{"early", "late", "after"}, 30)
	at.expectExactly([]string{"late", "after"}, 30)
	last.expectExactly([]string{"after"}, 30)
}

// rewound: an administrator sets the group back by time, and its running consumer goes on there.
func rewound(l *lab) {
	topic, group := l.topic("rewound", 1), l.name("rewound")
	client := l.producer()
	in := new(inbox)
	l.push(group, topic, "*", in.listener)
	l.send(client, primitive.NewMessage(topic, []byte("early")))
	in.expectExactly([]string{"early"}, 30)
	time.Sleep(300 * time.Millisecond)
	middle := time.Now().UnixMilli()
	time.Sleep(300 * time.Millisecond)
	l.send(client, primitive.NewMessage(topic, []byte("late")))
	in.expectExactly([]string{"early", "late"}, 30)
	// 222; the library's admin has no such call.
	body := ask(l.brokerAddress(), fmt.Sprintf(
		`{"code":222,"language":"GO","version":317,"opaque":1,"flag":0,"extFields":{"topic":%q,"group":%q,"timestamp":"%d","isForce":"true"}}`,
		topic, group, middle))
	if !strings.Contains(string(body), `:1`) {
		fail("new offsets: %s", body)
	}
	in.expectExactly([]string{"early", "late", "late"}, 60)
}
