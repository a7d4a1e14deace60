package rpw_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestActionJSON(t *testing.T) {
	at := time.UnixMilli(1795399404334).UTC()
	a := rpw.Action{
		Ref: rpw.ActionRef{Queue: "q", ID: "A1"}, Name: "act", State: rpw.Failed, Created: at, Arg: json.RawMessage(`{"x":1}`), Data: json.RawMessage(`{"d":2}`),
		Output: json.RawMessage(`3`), Failure: &rpw.ActionFailure{Message: "boom", Attempt: 2, Time: at, Worker: "w"}, Attempt: 2, MaxAttempts: 2,
		Timeout: time.Minute, Backoff: rpw.Backoff{First: time.Second}, Labels: []string{"l"}, Seq: 7, Progress: 0.5,
		Events: []rpw.Change{{Seq: 7, Kind: rpw.ChangeFailed, Time: at, State: rpw.Failed, Attempt: 2}},
	}
	text, err := json.Marshal(a)
	require.NoError(t, err)
	var names map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &names))
	for _, name := range []string{"id", "name", "created", "arg", "data", "status", "output", "error", "events"} {
		assert.Contains(t, names, name, "the original has it")
	}
	assert.JSONEq(t, `"failed"`, string(names["status"]))
	var again rpw.Action
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, a, again)
}

// TestActionRefText: also a reference to nothing can be written and read.
func TestActionRefText(t *testing.T) {
	for text, ref := range map[string]rpw.ActionRef{`"q/1"`: {Queue: "q", ID: "1"}, `"a/b/1"`: {Queue: "a/b", ID: "1"}, `""`: {}} {
		written, err := json.Marshal(ref)
		require.NoError(t, err)
		assert.Equal(t, text, string(written))
		read := rpw.ActionRef{Queue: "other", ID: "other"}
		require.NoError(t, json.Unmarshal(written, &read))
		assert.Equal(t, ref, read)
	}
	for _, text := range []string{`"/"`, `"q/"`, `"/1"`, `"q"`, `"q*/1"`} {
		var read rpw.ActionRef
		assert.ErrorIs(t, json.Unmarshal([]byte(text), &read), rpw.ErrInvalid, text)
	}
	_, err := rpw.ParseActionRef("")
	assert.ErrorIs(t, err, rpw.ErrInvalid)
}
