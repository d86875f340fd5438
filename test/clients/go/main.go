// Acceptance cases that run on the official Go client. Prints one JSON line for each case:
// {"case":"sync","ok":true,"detail":"","ms":123}. Exit code 0 if all passed, 1 if one failed, 2 for bad arguments.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

type namedCase struct {
	name string
	run  func(*lab)
}

// The longest first: run side by side, they then bound the time of the whole set.
var cases = []namedCase{
	{"transactions", transactions}, {"twoConsumers", twoConsumers}, {"tags", tags}, {"orderly", orderly}, {"broadcast", broadcast}, {"resume", resume},
	{"sync", sync_}, {"async", async}, {"oneway", oneway}, {"batch", batch}, {"autoCreate", autoCreate},
	{"compressed", compressed}, {"properties", properties}, {"pullFrom", pullFrom}, {"poll", poll}, {"topicLife", topicLife},
	{"sqlFilter", sqlFilter}, {"toDeadLetters", toDeadLetters}, {"orderlySuspend", orderlySuspend}, {"delayed", delayed},
	{"requestReply", requestReply}, {"trace", trace}, {"suspended", suspended}, {"fromWhere", fromWhere}, {"rewound", rewound},
}

var out sync.Mutex

func runCase(one namedCase, namesrv, run string, timeout time.Duration) bool {
	start := time.Now()
	detail := make(chan string, 1)
	l := &lab{namesrv: namesrv, suffix: one.name + "_" + run}
	go func() {
		told := ""
		defer func() {
			switch fault := recover().(type) {
			case nil:
			case failure:
				told = fault.text
			default:
				told = fmt.Sprint("panic: ", fault)
			}
			detail <- told
		}()
		defer l.close()
		one.run(l)
	}()
	told := ""
	select {
	case told = <-detail:
	case <-time.After(timeout):
		told = fmt.Sprintf("no end after %v", timeout)
	}
	line, _ := json.Marshal(struct {
		Case   string `json:"case"`
		Ok     bool   `json:"ok"`
		Detail string `json:"detail"`
		Ms     int64  `json:"ms"`
	}{one.name, told == "", told, time.Since(start).Milliseconds()})
	out.Lock()
	fmt.Println(string(line))
	out.Unlock()
	return told == ""
}

func main() {
	namesrv := flag.String("namesrv", "", "HOST:PORT of the name server")
	names := flag.String("case", "normal", "NAME,NAME or normal for all")
	parallel := flag.Int("parallel", 1, "cases at a time")
	timeout := flag.Int("timeout", 60, "seconds for each case")
	list := flag.Bool("list", false, "print the names of the cases")
	flag.Parse()
	rlog.SetLogLevel("error")
	if *list {
		for _, one := range cases {
			fmt.Println("normal", one.name)
		}
		return
	}
	chosen := choose(*names)
	if *namesrv == "" || chosen == nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	slots := make(chan struct{}, *parallel)
	var running sync.WaitGroup
	failed := false
	for _, one := range chosen {
		slots <- struct{}{}
		running.Add(1)
		go func(one namedCase) {
			defer running.Done()
			if !runCase(one, *namesrv, run, time.Duration(*timeout)*time.Second) {
				out.Lock()
				failed = true
				out.Unlock()
			}
			<-slots
		}(one)
	}
	running.Wait()
	if failed {
		os.Exit(1)
	}
}

func choose(names string) []namedCase {
	if names == "normal" {
		return cases
	}
	var chosen []namedCase
	for _, name := range strings.Split(names, ",") {
		found := false
		for _, one := range cases {
			if one.name == name {
				chosen = append(chosen, one)
				found = true
			}
		}
		if !found {
			fmt.Fprintln(os.Stderr, "no case", name)
			return nil
		}
	}
	return chosen
}
