package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func sync_(l *lab) {
	topic := l.topic("sync", 4)
	wanted := bodies("sync", 40)
	client := l.producer()
	next := map[int]int64{}
	results := map[string]*primitive.SendResult{}
	for _, body := range wanted {
		result := l.send(client, primitive.NewMessage(topic, []byte(body)))
		equal(result.QueueOffset, next[result.MessageQueue.QueueId], "queue offset")
		next[result.MessageQueue.QueueId]++
		results[body] = result
	}
	equal(len(next), 4, "queues used by the round robin")
	in := l.read(topic)
	in.expectExactly(wanted, 30)
	for _, message := range in.all() {
		result := results[string(message.Body)]
		equal(message.MsgId, result.MsgID, "message id")
		equal(message.QueueOffset, result.QueueOffset, "queue offset of the message")
		equal(message.Queue.QueueId, result.MessageQueue.QueueId, "queue of the message")
	}
}

func async(l *lab) {
	topic := l.topic("async", 4)
	wanted := bodies("async", 200)
	client := l.producer()
	var answered sync.WaitGroup
	var mutex sync.Mutex
	var bad []string
	for _, body := range wanted {
		answered.Add(1)
		must(client.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			if err != nil || result.Status != primitive.SendOK {
				mutex.Lock()
				bad = append(bad, fmt.Sprintf("%v %v", result, err))
				mutex.Unlock()
			}
			answered.Done()
		}, primitive.NewMessage(topic, []byte(body))), "asynchronous send")
	}
	answered.Wait()
	equal(strings.Join(bad, "; "), "", "outcome of the sends")
	l.read(topic).expectExactly(wanted, 30)
}

func oneway(l *lab) {
	topic := l.topic("oneway", 4)
	wanted := bodies("oneway", 100)
	client := l.producer()
	for _, body := range wanted {
		must(client.SendOneWay(context.Background(), primitive.NewMessage(topic, []byte(body))), "one-way send")
	}
	l.read(topic).expectExactly(wanted, 30)
}

func batch(l *lab) {
	topic := l.topic("batch", 2)
	wanted := bodies("batch", 100)
	var messages []*primitive.Message
	for i, body := range wanted {
		message := primitive.NewMessage(topic, []byte(body)).WithTag(fmt.Sprintf("Tag%d", i%3)).WithKeys([]string{fmt.Sprintf("key%d", i)})
		message.WithProperty("place", fmt.Sprint(i))
		messages = append(messages, message)
	}
	result, err := l.producer().SendSync(context.Background(), messages...)
	must(err, "send")
	equal(result.Status, primitive.SendOK, "send status")
	equal(result.QueueOffset, int64(0), "queue offset of the first")
	in := l.read(topic)
	in.expectExactly(wanted, 30)
	for _, message := range in.all() {
		place := fmt.Sprint(message.QueueOffset)
		equal(message.GetProperty("place"), place, "place in the queue follows the place in the batch")
		equal(message.GetKeys(), "key"+place, "key")
		equal(message.Queue.QueueId, result.MessageQueue.QueueId, "one queue for the batch")
	}
}

func autoCreate(l *lab) {
	topic := l.name("autoCreate")
	wanted := bodies("auto", 8)
	client := l.producer()
	for _, body := range wanted {
		l.send(client, primitive.NewMessage(topic, []byte(body)))
	}
	l.awaitRoute(topic)
	l.read(topic).expectExactly(wanted, 30)
}

func compressed(l *lab) {
	topic := l.topic("compressed", 1)
	body := strings.Repeat("the quick brown fox jumps over the lazy dog ", 2000)
	l.send(l.producer(producer.WithCompressMsgBodyOverHowmuch(4096)), primitive.NewMessage(topic, []byte(body)))
	in := l.read(topic)
	in.expectExactly([]string{body}, 30)
	if size := in.all()[0].StoreSize; int(size) > len(body)/4 {
		fail("stored as %d bytes, not compressed", size)
	}
}

func properties(l *lab) {
	topic := l.topic("properties", 1)
	wanted := map[string]string{
		"quotes":  `"double" 'single' \ / \\ \u0041`,
		"json":    `{"a":[1,2,{"b":null}]}`,
		"lines":   "a\nb\rc\td",
		"control": "\x03\x04\x1f\x7f",
		"unicode": "żółć 消息 🚀",
		"ключ-🚀":  "a name that is not ASCII",
	}
	message := primitive.NewMessage(topic, []byte("properties")).WithKeys([]string{"k1", "k2"}).WithTag("Tag-消息")
	for name, value := range wanted {
		message.WithProperty(name, value)
	}
	l.send(l.producer(), message)
	in := l.read(topic)
	in.expectExactly([]string{"properties"}, 30)
	got := in.all()[0]
	for name, value := range wanted {
		equal(got.GetProperty(name), value, "property "+name)
	}
	equal(strings.TrimSpace(got.GetKeys()), "k1 k2", "keys")
	equal(got.GetTags(), "Tag-消息", "tags")
}

func tags(l *lab) {
	topic := l.topic("tags", 2)
	// The broker filters by Java's hash of the tag, and "Aa" and "BB" share one: the client must drop the rest.
	wanted := map[string][]string{
		"TagA || TagB": {"TagA", "TagB"}, "TagC": {"TagC"}, "Aa": {"Aa"}, "*": {"TagA", "TagB", "TagC", "Aa", "BB", "none"},
	}
	client := l.producer()
	for round := 0; round < 5; round++ {
		for _, tag := range wanted["*"] {
			message := primitive.NewMessage(topic, []byte(fmt.Sprint(tag, round)))
			if tag != "none" {
				message.WithTag(tag)
			}
			l.send(client, message)
		}
	}
	number := 0
	for expression, expected := range wanted {
		in := new(inbox)
		l.push(l.name(fmt.Sprint("filter", number)), topic, expression, in.listener)
		number++
		var want []string
		for _, tag := range expected {
			for round := 0; round < 5; round++ {
				want = append(want, fmt.Sprint(tag, round))
			}
		}
		in.expectExactly(want, 30)
	}
}

// sqlFilter has groups that filter at the broker by SQL92 expressions. The broker needs enablePropertyFilter=true.
func sqlFilter(l *lab) {
	topic := l.topic("sql", 2)
	client := l.producer()
	const count = 20
	for i := 0; i < count; i++ {
		message := primitive.NewMessage(topic, []byte(fmt.Sprint("n", i)))
		message.WithProperty("a", fmt.Sprint(i))
		if i%5 == 0 {
			message.WithProperty("c", "it's")
		}
		l.send(client, message)
	}
	wanted := map[string]func(int) bool{
		"a BETWEEN 5 AND 7 OR c IS NOT NULL":      func(i int) bool { return i >= 5 && i <= 7 || i%5 == 0 },
		"a > 12.5 AND (c IS NULL OR c = 'it''s')": func(i int) bool { return i > 12 },
		"NOT (a >= 3)": func(i int) bool { return i < 3 },
		"c IN ('it''s', 'x') AND a NOT IN ('10')": func(i int) bool { return i%5 == 0 && i != 10 },
	}
	number := 0
	for expression, passes := range wanted {
		in := new(inbox)
		selector := consumer.MessageSelector{Type: consumer.SQL92, Expression: expression}
		l.pushBy(l.name(fmt.Sprint("sql", number)), topic, selector, in.listener)
		number++
		var want []string
		for i := 0; i < count; i++ {
			if passes(i) {
				want = append(want, fmt.Sprint("n", i))
			}
		}
		in.expectExactly(want, 30)
	}
}
