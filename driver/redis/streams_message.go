package redis

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// A message on the channel of a stream is the place after its newest event, in the form of wire, and in a second line what the call that published it was given as
// the beginning of a history, which no two calls share; or, if one batch was published that is not too large, the arguments of lua/stream_publish.lua in
// MessagePack, with the places after and before the batch in front. What was carried is kept for a moment, so that who follows the stream need not read it. A
// batch of this process is kept when its message comes or its answer, whichever is first.

// Bounds of what is carried and kept, in bytes.
const (
	carryMost = 64 << 10  // of one batch that somebody hears
	carryFree = 2 << 10   // of one that is carried whether anybody hears it or not
	topicMost = 256 << 10 // of one stream
	keepMost  = 16 << 20  // of all streams; beyond it batches are read from the store
)

// fresh is how long what was carried is good for: others may delete an event, which no message tells.
const fresh = time.Second

// carried is a batch that a message carried, or that this process has published.
type carried struct {
	begin, end rpw.Position // the places before and after it
	message    string
	events     []rpw.Event // of this process, in place of the message
	size       int
	heard      time.Time
}

// flight is a publish of this process that has no answer yet.
type flight struct {
	call   string // what its message says behind the place
	events []rpw.NewEvent
}

// carries says how many must have heard the message before, so that the message of a publish carries it; "": it never does. What it costs the server is
// seen where nobody hears it. own: this process itself will keep the batch.
func carries(batches []rpw.Batch, own bool) string {
	if len(batches) > 1 {
		return ""
	}
	size := 0
	for i := range batches[0].Events {
		if size += 16 + batches[0].Events[i].Size(); size > carryMost {
			return ""
		}
	}
	switch {
	case own:
		return "2"
	case size > carryFree:
		return "1"
	}
	return "0"
}

// hear takes in a message, and reports whether it tells more than this process knows from the answers to its own publishes. The waker's mu is held.
func (w *waker) hear(to *topic, message string) bool {
	newest, call := message, ""
	c := carried{size: len(message), heard: time.Now()}
	var err error
	if message != "" && message[0] >= 0x80 {
		u := unpacker{rest: message}
		u.array()
		newest, c.message = u.text(), message
		if c.begin, err = unwire(u.text()); err == nil {
			c.end, err = unwire(newest)
		}
	} else if newest, call, _ = strings.Cut(message, "\n"); to.own.Epoch != 0 || len(to.flights) > 0 {
		c.end, err = unwire(newest)
	}
	if err == nil && c.end.Epoch == to.own.Epoch && c.end.Epoch != 0 && c.end.Count <= to.own.Count && c.end.ID.Compare(to.own.ID) <= 0 {
		return false // a greater id with no greater count is of a server that has lost something
	}
	if i := slices.IndexFunc(to.flights, func(f flight) bool { return f.call == call }); i >= 0 && w.keepOwn(to, to.flights[i].events, c.end) {
		return true
	}
	to.newest = newest
	if c.message == "" || err != nil {
		w.forget(to)
	} else {
		w.keep(to, c)
	}
	return true
}

// takeoff reports whether the events of a call that this process is about to make will be kept, when its message comes or its answer, should they follow the
// newest event that is known. Then it has to land.
func (w *waker) takeoff(channel, call string, batches []rpw.Batch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := w.topics[channel]
	if to == nil || to.newest == "" || len(batches) > 1 {
		return false
	}
	to.flights = append(to.flights, flight{call, batches[0].Events})
	return true
}

// land ends what takeoff began, with whatever answer: the events are the caller's again.
func (w *waker) land(channel, call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to := w.topics[channel]; to != nil {
		to.flights = slices.DeleteFunc(to.flights, func(f flight) bool { return f.call == call })
	}
}

// published takes in the answer to a publish of this process, and wakes those who wait for its events, unless its message has.
func (w *waker) published(channel string, events []rpw.NewEvent, end rpw.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to := w.topics[channel]; to != nil && w.keepOwn(to, events, end) {
		w.wake(to)
	}
}

// keepOwn keeps events of one batch of this process, which have this end, if they follow the newest event that is known. The waker's mu is held.
func (w *waker) keepOwn(to *topic, events []rpw.NewEvent, end rpw.Position) bool {
	begin, err := unwire(to.newest)
	n := uint64(len(events))
	if err != nil || begin.Epoch != end.Epoch || begin.Count+n != end.Count {
		return false
	}
	c := carried{begin: begin, end: end, heard: time.Now()}
	for i := range events {
		if events[i].Key != "" { // another event may be stored under it
			return false
		}
		c.size += 16 + events[i].Size()
	}
	to.newest, to.own = wire(end), end
	if c.size > carryMost {
		w.forget(to)
		return true
	}
	c.events = make([]rpw.Event, n)
	for i := range events {
		e, back := &events[i], n-1-uint64(i)
		c.events[i] = rpw.Event{
			ID: rpw.ID{MS: end.ID.MS, Seq: end.ID.Seq - back}, Epoch: end.Epoch, Count: end.Count - back,
			Type: e.Type, Data: bytes.Clone(e.Data), Header: maps.Clone(e.Header),
		}
	}
	w.keep(to, c)
	return true
}

// keep keeps a batch, as far as there is room. The waker's mu is held.
func (w *waker) keep(to *topic, c carried) {
	if n := len(to.recent); n > 0 && to.recent[n-1].end != c.begin || w.size+c.size > keepMost {
		w.forget(to)
	}
	if w.size+c.size > keepMost {
		return
	}
	drop := 0
	for ; to.size+c.size > topicMost; drop++ {
		w.resize(to, -to.recent[drop].size)
	}
	to.recent = append(slices.Delete(to.recent, 0, drop), c)
	w.resize(to, c.size)
}

func (w *waker) resize(to *topic, by int) {
	to.size += by
	w.size += by
}

// forget drops what messages have carried. The waker's mu is held.
func (w *waker) forget(to *topic) {
	w.resize(to, -to.size)
	to.recent = nil
}

// after is the payload of the newest message of a channel, "" if it is not known, and the batches that were carried from a place on.
func (w *waker) after(channel string, here rpw.Position) (newest string, batches []carried) {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := w.topics[channel]
	if to == nil {
		return "", nil
	}
	for i := len(to.recent) - 1; i >= 0 && time.Since(to.recent[i].heard) < fresh; i-- {
		if to.recent[i].has(here) {
			return to.newest, slices.Clone(to.recent[i:])
		}
	}
	return to.newest, nil
}

// has reports whether a place is before one of the events.
func (c *carried) has(here rpw.Position) bool {
	if here == c.begin {
		return true
	}
	back := c.end.Count - here.Count
	return here.Epoch == c.end.Epoch && here.Count > c.begin.Count && here.Count < c.end.Count && // they follow one another
		here.ID == rpw.ID{MS: c.end.ID.MS, Seq: c.end.ID.Seq - back}
}

// eventsOf reads the events after a place that the first of the batches has, at most so many, into a page that may be written over.
func eventsOf(page []rpw.Event, batches []carried, here rpw.Position, most int) []rpw.Event {
	if len(batches) == 0 {
		return nil
	}
	n := batches[len(batches)-1].end.Count - here.Count
	events := slices.Grow(page[:0], int(min(n, uint64(most))))
	for i := range batches {
		events = batches[i].appendTo(events, here, most)
	}
	return events
}

// appendTo appends the events after a place, up to so many altogether. They are copies, since one of them should not keep all.
func (c *carried) appendTo(events []rpw.Event, here rpw.Position, most int) []rpw.Event {
	if c.events != nil {
		rest := c.events[max(here.Count, c.begin.Count)-c.begin.Count:]
		return append(events, rest[:min(len(rest), most-len(events))]...)
	}
	u := unpacker{rest: c.message}
	u.array()
	for range callHead + batchHead - 1 {
		u.text()
	}
	plain := u.text() == "1"
	at := rpw.Event{Epoch: c.end.Epoch, Count: c.begin.Count, ID: c.end.ID}
	at.ID.Seq -= c.end.Count - c.begin.Count
	kind := ""
	for at.Count < c.end.Count && len(events) < most {
		at.Count++
		at.ID.Seq++
		e := at
		if text := u.text(); text != kind {
			kind = strings.Clone(text)
		}
		data := u.text()
		if !plain {
			u.extras(&e)
		}
		if u.err != nil {
			return events
		}
		if at.Count > here.Count {
			e.Type, e.Data = kind, []byte(data)
			events = append(events, e)
		}
	}
	return events
}

// extras reads the key and the headers of an event.
func (u *unpacker) extras(e *rpw.Event) {
	more := u.text()
	if more == "" {
		return
	}
	n, err := strconv.Atoi(more)
	if err != nil || n < 1 {
		u.fail()
		return
	}
	e.Key = strings.Clone(u.text())
	for ; n > 2; n -= 2 {
		if e.Header == nil {
			e.Header = make(map[string]string, n/2)
		}
		name := strings.Clone(u.text())
		e.Header[name] = strings.Clone(u.text())
	}
}
