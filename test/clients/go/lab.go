package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// lab is what one case works with: names that no other case or run uses, and clients that are closed at its end,
// youngest first. Each client gets an instance name of its own; otherwise they would share one client id.
type lab struct {
	namesrv string
	suffix  string
	note    string
	closers []func()
}

var instances atomic.Int64

func instance() string { return fmt.Sprintf("lab%d", instances.Add(1)) }

func (l *lab) name(stem string) string { return stem + "_" + l.suffix }

func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
}

func (l *lab) servers() primitive.NamesrvAddr { return primitive.NamesrvAddr{l.namesrv} }

// brokerAddress asks the name server for its brokers (code 106), which the Go library cannot; HOST:PORT of a master.
func (l *lab) brokerAddress() string {
	body := ask(l.namesrv, `{"code":106,"language":"GO","version":317,"opaque":1,"flag":0,"extFields":{}}`)
	// Not standard JSON: Apache writes the broker id without quotes.
	found := regexp.MustCompile(`"brokerAddrs":\{"?0"?:"([^"]+)"`).FindSubmatch(body)
	if found == nil {
		fail("no master in the cluster information %s", body)
	}
	return string(found[1])
}

func ask(address, header string) []byte {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	must(err, "connection")
	defer connection.Close()
	must(connection.SetDeadline(time.Now().Add(5*time.Second)), "deadline")
	frame := new(bytes.Buffer)
	binary.Write(frame, binary.BigEndian, uint32(4+len(header)))
	binary.Write(frame, binary.BigEndian, uint32(len(header)))
	frame.WriteString(header)
	_, err = connection.Write(frame.Bytes())
	must(err, "request")
	var sizes [2]uint32
	must(binary.Read(connection, binary.BigEndian, &sizes), "answer")
	rest := make([]byte, sizes[0]-4)
	_, err = io.ReadFull(connection, rest)
	must(err, "answer")
	return rest[sizes[1]&0xffffff:]
}

// topic creates a topic by the library's admin and waits for its route.
func (l *lab) topic(stem string, queues int) string {
	topic := l.name(stem)
	l.createTopic(topic, queues)
	l.awaitRoute(topic)
	return topic
}

func (l *lab) createTopic(topic string, queues int) {
	client, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{l.namesrv})))
	must(err, "admin")
	defer client.Close()
	must(client.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(l.brokerAddress()),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues)), "creation of "+topic)
}

func (l *lab) hasRoute(topic string) bool {
	body := ask(l.namesrv, fmt.Sprintf(
		`{"code":105,"language":"GO","version":317,"opaque":1,"flag":0,"extFields":{"topic":"%s"}}`, topic))
	return bytes.Contains(body, []byte("queueDatas"))
}

func (l *lab) awaitRoute(topic string) {
	await("route of "+topic, 30, func() bool { return l.hasRoute(topic) })
}

func (l *lab) producer(options ...producer.Option) rocketmq.Producer {
	options = append([]producer.Option{
		producer.WithNameServer(l.servers()), producer.WithGroupName(l.name("producer")), producer.WithInstanceName(instance()),
		producer.WithSendMsgTimeout(10 * time.Second), producer.WithRetry(0),
	}, options...)
	made, err := rocketmq.NewProducer(options...)
	must(err, "producer")
	must(made.Start(), "start of the producer")
	l.closers = append(l.closers, func() { _ = made.Shutdown() })
	return made
}

func (l *lab) send(to rocketmq.Producer, message *primitive.Message) *primitive.SendResult {
	result, err := to.SendSync(context.Background(), message)
	must(err, "send")
	equal(result.Status, primitive.SendOK, "send status")
	return result
}

// push makes and starts a push consumer that reads from the first message on.
func (l *lab) push(group, topic, expression string,
	listener func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error), options ...consumer.Option,
) rocketmq.PushConsumer {
	return l.pushBy(group, topic, consumer.MessageSelector{Type: consumer.TAG, Expression: expression}, listener, options...)
}

// pushBy is push with any kind of selector.
func (l *lab) pushBy(group, topic string, selector consumer.MessageSelector,
	listener func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error), options ...consumer.Option,
) rocketmq.PushConsumer {
	options = append([]consumer.Option{
		consumer.WithNameServer(l.servers()), consumer.WithGroupName(group), consumer.WithInstance(instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	made, err := rocketmq.NewPushConsumer(options...)
	must(err, "consumer")
	must(made.Subscribe(topic, selector, listener), "subscription")
	must(made.Start(), "start of the consumer")
	l.closers = append(l.closers, func() { _ = made.Shutdown() })
	return made
}

func (l *lab) read(topic string) *inbox {
	in := new(inbox)
	l.push(l.name("reader"), topic, "*", in.listener)
	return in
}

func bodies(stem string, count int) []string {
	var made []string
	for i := 0; i < count; i++ {
		made = append(made, fmt.Sprintf("%s-%d", stem, i))
	}
	return made
}
