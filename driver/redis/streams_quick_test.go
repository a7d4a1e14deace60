package redis

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestPublishSeesWhatOthersDid: a publish takes the end of the stream for where the one before has left it, but not if others have added or
// removed events meanwhile. Its answer is what readers find.
func TestPublishSeesWhatOthersDid(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server, "p")
	b := s.streams()
	producers := [2]rpw.Producer{{ID: [16]byte{1}}, {ID: [16]byte{2, ' ', '\n', 0}}}
	publish := func(stream string, producer int) rpw.Position {
		t.Helper()
		p := &producers[producer]
		p.Seq++
		batch := []rpw.Batch{{Stream: stream, Producer: *p, Events: []rpw.NewEvent{{Type: "t", Data: []byte("1")}, {Type: "t", Data: []byte("2")}}}}
		answers, err := b.Publish(t.Context(), batch)
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
		again, err := b.Publish(t.Context(), batch)
		require.NoError(t, err)
		assert.Equal(t, answers, again, "a repeat")
		return answers[0].Positions[1]
	}
	cli := func(args ...string) func(string) {
		return func(stream string) { server.CLI(t, append([]string{args[0], "p:s:" + stream}, args[1:]...)...) }
	}
	newest := func(stream string) string {
		id, _, _ := strings.Cut(server.CLI(t, "XREVRANGE", "p:s:"+stream, "+", "-", "COUNT", "1"), "\n")
		return id
	}
	for name, others := range map[string]func(stream string){
		"nothing":           func(string) {},
		"add":               cli("XADD", "*", "o", "x"),
		"add and trim":      cli("XADD", "MAXLEN", "=", "6", "*", "o", "x"),
		"trim":              cli("XTRIM", "MAXLEN", "=", "2"),
		"delete the newest": func(stream string) { server.CLI(t, "XDEL", "p:s:"+stream, newest(stream)) },
		"add and delete": func(stream string) {
			server.CLI(t, "XDEL", "p:s:"+stream, server.CLI(t, "XADD", "p:s:"+stream, "*", "o", "x"))
		},
		"add to come and delete": func(stream string) {
			server.CLI(t, "XDEL", "p:s:"+stream, server.CLI(t, "XADD", "p:s:"+stream, "9795399404210-7", "o", "x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			publish(name, 0)
			publish(name, 0)
			before := publish(name, 0)
			others(name)
			for i := range 3 {
				after := publish(name, i%2)
				info, err := b.StreamInfo(t.Context(), name)
				require.NoError(t, err)
				assert.Equal(t, after, info.Last)
				events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: name, Reverse: true, Max: 2})
				require.NoError(t, err)
				assert.Equal(t, after, events[0].Position())
				assert.Equal(t, after.Count-1, events[1].Count)
				if name == "delete the newest" { // that is where a reader would stand, and it is gone
					continue
				}
				events, err = b.Read(t.Context(), rpw.ReadRequest{Stream: name, After: before})
				require.NoError(t, err, "no gap")
				last := before.Count
				for _, e := range events {
					assert.Greater(t, e.Count, last)
					last = e.Count
				}
				before = after
			}
		})
	}
	before := publish("gone", 0)
	server.CLI(t, "DEL", "p:s:gone")
	after := publish("gone", 0)
	assert.NotEqual(t, before.Epoch, after.Epoch)
	assert.EqualValues(t, 2, after.Count)
}
