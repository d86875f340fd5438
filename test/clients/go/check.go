package main

import (
	"fmt"
	"sort"
	"time"
)

// failure ends a case; runCase turns it into the result line.
type failure struct{ text string }

func fail(format string, arguments ...any) {
	panic(failure{fmt.Sprintf(format, arguments...)})
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func equal[T comparable](actual, expected T, what string) {
	if actual != expected {
		fail("%s: expected %v, got %v", what, expected, actual)
	}
}

func await(what string, seconds int, holds func() bool) {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for !holds() {
		if time.Now().After(end) {
			fail("not within %d s: %s", seconds, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// differences names what is missing and what is too much or came twice; empty when both hold the same things.
func differences(actual, expected []string) string {
	counts := map[string]int{}
	for _, thing := range expected {
		counts[thing]--
	}
	for _, thing := range actual {
		counts[thing]++
	}
	var missing, extra []string
	for thing, count := range counts {
		if count < 0 {
			missing = append(missing, shorten(thing))
		} else if count > 0 {
			extra = append(extra, shorten(thing))
		}
	}
	if len(missing)+len(extra) == 0 {
		return ""
	}
	sort.Strings(missing)
	sort.Strings(extra)
	return fmt.Sprintf("%d missing %q, %d too much or twice %q", len(missing), first(missing), len(extra), first(extra))
}

func first(things []string) []string {
	if len(things) > 5 {
		return things[:5]
	}
	return things
}

func shorten(text string) string {
	if len(text) > 60 {
		return text[:60] + "..."
	}
	return text
}
