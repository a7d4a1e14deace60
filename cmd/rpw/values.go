package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Values of flags. Each checks itself, so that a mistake is told before anything is opened.

// choice is one word out of a few.
type choice struct {
	value string
	of    []string
}

// oneOf is a choice whose first word is the default.
func oneOf(words ...string) *choice { return &choice{value: words[0], of: words} }

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "word" }
func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("it is one of %s", strings.Join(c.of, ", "))
	}
	c.value = s
	return nil
}

// moment is a time; zero if it was not given.
type moment struct{ time.Time }

const momentForms = "a time like 2026-11-23T10:00:00Z, a date, or how long ago: 10m, 2h, 7d"

func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}
func (m *moment) Type() string { return "time" }
func (m *moment) Set(s string) (err error) {
	m.Time, err = parseMoment(s)
	return err
}

func parseMoment(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	ago := strings.TrimSpace(strings.TrimSuffix(s, "ago"))
	if days, ok := strings.CutSuffix(ago, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Now().AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("it is %s", momentForms)
}

// place is where to begin to read.
type place struct{ rpw.Start }

func (p *place) String() string {
	if p.Kind == rpw.StartNewest {
		return "now"
	}
	return "" // not a default
}
func (p *place) Type() string { return "place" }
func (p *place) Set(s string) error {
	switch s {
	case "now":
		p.Start = rpw.Newest()
		return nil
	case "start":
		p.Start = rpw.Oldest()
		return nil
	case "":
		return fmt.Errorf("it is empty")
	}
	if at, err := rpw.ParsePosition(s); err == nil {
		p.Start = rpw.After(at)
		return nil
	}
	if id, err := rpw.ParseID(s); err == nil {
		p.Start = rpw.After(rpw.Position{ID: id}) // in the present history
		return nil
	}
	t, err := parseMoment(s)
	if err != nil {
		return fmt.Errorf("it is start, now, the id of an event or a position (what follows it), %s", momentForms)
	}
	p.Start = rpw.Since(t)
	return nil
}

// level is the lowest level of a log record to be shown; nil shows all.
type level struct{ *slog.Level }

func (l *level) String() string {
	if l.Level == nil {
		return ""
	}
	return l.Level.String()
}
func (l *level) Type() string { return "level" }
func (l *level) Set(s string) error {
	var parsed slog.Level
	if parsed.UnmarshalText([]byte(s)) != nil {
		return fmt.Errorf("it is debug, info, warn, error, or one with a number like warn+2")
	}
	l.Level = &parsed
	return nil
}

// states are states of actions.
type states []rpw.State

func (s *states) String() string {
	words := make([]string, len(*s))
	for i, state := range *s {
		words[i] = string(state)
	}
	return strings.Join(words, ",")
}
func (s *states) Type() string { return "states" }
func (s *states) Set(text string) error {
	known := []rpw.State{rpw.Pending, rpw.Running, rpw.Completed, rpw.Failed, rpw.Cancelled}
	for word := range strings.SplitSeq(text, ",") {
		if !slices.Contains(known, rpw.State(word)) {
			return fmt.Errorf("a state is one of pending, running, completed, failed, cancelled")
		}
		*s = append(*s, rpw.State(word))
	}
	return nil
}
