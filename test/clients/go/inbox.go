package main

import (
	"context"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// inbox collects what consumers receive; any goroutine may add.
type inbox struct {
	mutex    sync.Mutex
	messages []*primitive.MessageExt
}

// listener puts everything here and reports success.
func (in *inbox) listener(_ context.Context, batch ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	in.add(batch...)
	return consumer.ConsumeSuccess, nil
}

func (in *inbox) add(batch ...*primitive.MessageExt) {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	in.messages = append(in.messages, batch...)
}

func (in *inbox) all() []*primitive.MessageExt {
	in.mutex.Lock()
	defer in.mutex.Unlock()
	return append([]*primitive.MessageExt(nil), in.messages...)
}

func (in *inbox) bodies() []string {
	var bodies []string
	for _, message := range in.all() {
		bodies = append(bodies, string(message.Body))
	}
	return bodies
}

// expectExactly waits for these bodies and no others, each once, and then listens on for a moment.
func (in *inbox) expectExactly(expected []string, seconds int) {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for len(in.all()) < len(expected) && time.Now().Before(end) {
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond)
	if told := differences(in.bodies(), expected); told != "" {
		fail("bodies: %s", told)
	}
}
