package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

func TestCount(t *testing.T) {
	s := new(script)
	failedOver(s)
	s.publish(event(9), No)
	s.publish(event(9), Unknown) // and repeated: it is one event
	s.publish(event(8), No)
	s.do(Record{Op: OpFault, Kind: "cut"}, OK)
	s.do(Record{Op: OpEnqueue, Ref: "q/1"}, OK)
	s.do(Record{Op: OpClaim}, OK, answer(Item{Ref: "q/1", Token: 1}))
	s.do(Record{Op: OpAdvance, Ref: "q/1", Token: 1, Kind: Complete}, No, code(rpw.ErrLeaseLost))
	s.do(Record{Op: OpFetch, Stream: "s", Group: "g"}, OK, answer(event(1)))
	s.do(Record{Op: OpFetch, Stream: "s", Group: "g"}, OK, answer(event(1)))
	s.Final.Actions = []ActionDump{{Ref: "q/1", State: rpw.Failed}}
	c := s.Count()
	want := Count{Faults: map[string]int{"cut": 1}, Acknowledged: 3, Uncertain: 1, Refused: 1, Delivered: 4, Reset: 1, Fetched: 2, Again: 1,
		Enqueued: 1, Ended: 1, Attempts: 1, Fenced: 1}
	assert.Equal(t, want, c)
	c.Add(want)
	assert.Equal(t, map[string]int{"cut": 2}, c.Faults)
	assert.Equal(t, []int{6, 8, 2}, []int{c.Acknowledged, c.Delivered, c.Fenced})
}

// TestRecovery: each thing is measured from the end of a fault to its first sign of life; what was published before is none, and what comes after the
// next fault is not measured.
func TestRecovery(t *testing.T) {
	s := new(script)
	s.subscribed(place(1, 0))
	s.published(event(1))
	s.do(Record{Op: OpFault, Kind: "cut"}, OK) // returns at 5 ms
	s.delivered(event(1))                      // 6 ms
	s.published(event(2))                      // 8 ms
	s.delivered(event(2))                      // 9 ms
	s.do(Record{Op: OpFault, Kind: "cut"}, OK) // returns at 11 ms
	s.do(Record{Op: OpAdvance, Kind: Complete}, OK)
	r := s.Recovery()
	assert.Equal(t, []time.Duration{3 * time.Millisecond}, r.Publish)
	assert.Equal(t, []time.Duration{4 * time.Millisecond}, r.Subscription)
	assert.Equal(t, []time.Duration{2 * time.Millisecond}, r.Completion)
	assert.Equal(t, 3, r.Overtaken)
}

func TestOverrun(t *testing.T) {
	s := new(script)
	s.do(Record{Op: OpTimed, Bound: time.Second}, OK)
	assert.Zero(t, s.Overrun())
	s.do(Record{Op: OpTimed}, OK)
	s.call(Record{Op: OpTimed})
	assert.Equal(t, time.Millisecond, s.Overrun())
}
