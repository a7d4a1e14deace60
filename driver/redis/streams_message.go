package redis

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// A message on the channel of a stream is the place after its newest event, in the form of wire; or, if one batch was published that is not too
// large, the arguments of lua/stream_publish.lua in MessagePack, with the places after and before the batch in front. What was carried is kept for a
// moment, so that who follows the stream need not read it.

// Bounds of what is carried and kept, in bytes.
const (
	carryMost = 64 << 10  // of one batch that somebody hears
	carryFree = 2 << 10   // of one that is carried whether anybody hears it or not
	topicMost = 256 << 10 // of one stream
	keepMost  = 16 << 20  // of all streams; beyond it batches are read from the store
)

// fresh is how long what was carried is good for: others may delete an event, which no message tells.
const fresh = time.Second

// carried is a batch that a message carried.
type carried struct {
	begin, end rpw.Position // the places before and after it
	message    string
	heard      time.Time
}

// carries says whether the message of a publish carries it. What it costs the server is seen where nobody hears it.
func carries(batches []rpw.Batch) string {
	if len(batches) > 1 {
		return ""
	}
	size := 0
	for i := range batches[0].Events {
		if size += 16 + batches[0].Events[i].Size(); size > carryMost {
			return ""
		}
	}
	if size > carryFree {
		return "2"
	}
	return "1"
}

// keep keeps what a message carries, and returns the place that it tells. The waker's mu is held.
func (w *waker) keep(to *topic, message string) string {
	if message == "" || message[0] < 0x80 {
		w.forget(to)
		return message
	}
	u := unpacker{rest: message}
	u.array()
	end, begin := u.text(), u.text()
	c := carried{message: message, heard: time.Now()}
	var err1, err2 error
	c.begin, err1 = unwire(begin)
	c.end, err2 = unwire(end)
	if n := len(to.recent); n > 0 && to.recent[n-1].end != c.begin {
		w.forget(to)
	}
	if err1 != nil || err2 != nil || w.size+len(message) > keepMost {
		w.forget(to)
		return end
	}
	drop := 0
	for ; to.size+len(message) > topicMost; drop++ {
		w.resize(to, -len(to.recent[drop].message))
	}
	to.recent = append(slices.Delete(to.recent, 0, drop), c)
	w.resize(to, len(message))
	return end
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

// eventsOf reads the events after a place that the first of the batches has, at most so many.
func eventsOf(batches []carried, here rpw.Position, most int) []rpw.Event {
	if len(batches) == 0 {
		return nil
	}
	n := batches[len(batches)-1].end.Count - here.Count
	events := make([]rpw.Event, 0, min(n, uint64(most)))
	for i := range batches {
		events = batches[i].appendTo(events, here, most)
	}
	return events
}

// appendTo appends the events after a place, up to so many altogether. They are copies, since one of them should not keep all.
func (c *carried) appendTo(events []rpw.Event, here rpw.Position, most int) []rpw.Event {
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
