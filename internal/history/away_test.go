package history

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestJoin: the records of another process stand among those of this one, a call before it is made, with a number that is its own, and
// what the process did not live to tell has not returned.
func TestJoin(t *testing.T) {
	r := NewRecorder()
	own := r.Call(Record{Actor: "here", Op: OpPublish})
	records, toRecords := io.Pipe()
	answers, toAnswers := io.Pipe()
	var joined sync.WaitGroup
	joined.Go(func() { assert.NoError(t, r.Join(records, toAnswers)) })

	other := RecordTo(toRecords, answers, r.Began())
	ret := other.Call(Record{Actor: "there", Op: OpFetch, Until: other.Now() + time.Second})
	h := r.History(Dump{}, Bounds{})
	require.Len(t, h.Records, 2, "the call is told before it is made")
	ret(func(rec *Record) { rec.Outcome = OK })
	other.Call(Record{Actor: "there", Op: OpSettle})
	own(func(rec *Record) { rec.Outcome = OK })
	_, err := toRecords.Write([]byte(`{"op":"sett`)) // it is killed
	require.NoError(t, err)
	require.NoError(t, toRecords.Close())
	joined.Wait()

	h = r.History(Dump{}, Bounds{})
	calls := h.operations(OpPublish, OpFetch, OpSettle)
	require.Len(t, calls, 3)
	assert.Equal(t, []Outcome{OK, OK, Unknown}, []Outcome{calls[0].Outcome, calls[1].Outcome, calls[2].Outcome})
	assert.Equal(t, last, calls[2].done)
	assert.InDelta(t, calls[1].T+time.Second, calls[1].Until, float64(10*time.Second), "both have one scale of time")
}
