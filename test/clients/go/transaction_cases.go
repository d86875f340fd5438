package main

import (
	"context"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// The broker's interval between questions is 30 s unless it is told otherwise, and what is too young waits for the next.
const checkSeconds = 75

// decisions says what becomes of a message, by its text: first the local part, then the answer to a question.
type decisions struct {
	local, later map[string]primitive.LocalTransactionState
	mutex        sync.Mutex
	questions    map[string]int
}

func (d *decisions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return d.local[string(message.Body)]
}

func (d *decisions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.questions[string(message.Body)]++
	return d.later[string(message.Body)]
}

func (d *decisions) asked(text string) int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.questions[text]
}

// transactions: committed, rolled back, and both after a question.
func transactions(l *lab) {
	topic := l.topic("transactions", 2)
	in := l.read(topic)
	d := &decisions{
		local: map[string]primitive.LocalTransactionState{
			"yes": primitive.CommitMessageState, "no": primitive.RollbackMessageState,
			"later yes": primitive.UnknowState, "later no": primitive.UnknowState,
		},
		later: map[string]primitive.LocalTransactionState{
			"later yes": primitive.CommitMessageState, "later no": primitive.RollbackMessageState,
		},
		questions: map[string]int{},
	}
	client, err := rocketmq.NewTransactionProducer(d,
		producer.WithNameServer(l.servers()), producer.WithGroupName(l.name("transactions")), producer.WithInstanceName(instance()),
		producer.WithSendMsgTimeout(10*time.Second), producer.WithRetry(0))
	must(err, "producer")
	must(client.Start(), "start of the producer")
	l.closers = append(l.closers, func() { _ = client.Shutdown() })
	for text, state := range d.local {
		result, err := client.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(text)))
		must(err, "send of a half message")
		equal(result.Status, primitive.SendOK, "send status")
		equal(result.State, state, "local state")
	}
	await("questions", checkSeconds, func() bool { return d.asked("later yes") > 0 && d.asked("later no") > 0 })
	in.expectExactly([]string{"yes", "later yes"}, 30)
	time.Sleep(3 * time.Second)
	equal(len(in.all()), 2, "messages in the end")
	equal(d.asked("yes")+d.asked("no"), 0, "questions about the decided")
}
