package redis

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// originalHub shares a server with programs of the original, which have the prefix "p".
func originalHub(t *testing.T, prefix string) (*rpw.Hub, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	h, err := rpw.Open(t.Context(), "redis://"+server.Addr+"?layout=original&prefix="+prefix)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h, server
}

// fixtures are what a program of the original wrote, as MONITOR showed it.
var fixtures = [][]string{
	{"XADD", "p:st", "1795399404210-0", "evt", `{"a":1,"s":"é<&>"}`},
	{"XADD", "p:st", "1795399404231-0", "u", ""},
	{"XADD", "p:st", "1795399404231-1", "n", "null"},
	{"XADD", "p:st", "1795399404231-2", "s", `"str"`},
	{"XADD", "p:st", "1795399404231-3", "z", "0"},
	{"SET", "p:k", `{"v":1}`},
	{"XADD", "p:logQueue", "1795399404264-0", "log", `{"id":"48a615ec-9f6d-4c35-8f80-0d1b0b0a7f11","type":"info","level":"warn","message":"hello","data":{"foo":1},"timestamp":1795399404264}`},
	{"SET", "p:entities:A1:data", `{"id":"A1","name":"act","created":1795399404334,"arg":{"x":1},"data":{},"status":"running","events":[]}`},
	{"XADD", "p:entityQueue", "1795399404336-0", "action", `{"id":"A1","name":"act","created":1795399404334,"arg":{"x":1},"data":{},"status":"running"}`},
}

func TestOriginalIsRead(t *testing.T) {
	h, server := originalHub(t, "p")
	for _, command := range fixtures {
		server.CLI(t, command...)
	}
	ctx := t.Context()
	start, err := h.Streams().Locate(ctx, "st", rpw.Oldest())
	require.NoError(t, err)
	events, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: "st", After: start, Max: 10})
	require.NoError(t, err)
	var got []string
	for _, e := range events {
		got = append(got, e.ID.String()+" "+e.Type+" "+string(e.Data))
	}
	assert.Equal(t, []string{
		`1795399404210-0 evt {"a":1,"s":"é<&>"}`, "1795399404231-0 u ", "1795399404231-1 n null", `1795399404231-2 s "str"`, "1795399404231-3 z 0",
	}, got)

	v, ok, err := rpw.Get[map[string]int](ctx, h, "k")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, map[string]int{"v": 1}, v)
	_, ok, err = rpw.Get[json.RawMessage](ctx, h, "entities:A1:data")
	require.NoError(t, err)
	assert.True(t, ok)

	page, err := h.Streams().Streams(ctx, rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"entityQueue", "logQueue", "st"}, page.Names)
	var keys []string
	for key, err := range rpw.Keys(ctx, h, "") {
		require.NoError(t, err)
		keys = append(keys, key)
	}
	assert.ElementsMatch(t, []string{"k", "entities:A1:data"}, keys)

	logs, err := h.Logs().Query(ctx, rpw.LogQuery{Max: 10})
	require.NoError(t, err)
	require.Len(t, logs.Records, 1)
	assert.Equal(t, "hello", logs.Records[0].Message)
	assert.Equal(t, slog.LevelWarn, logs.Records[0].Level)
}

// TestOriginalCanRead: the keys are its own, and the first field of an entry is type and JSON.
func TestOriginalCanRead(t *testing.T) {
	for prefix, begin := range map[string]string{"p": "p:", "p:": "p:", "": ""} {
		h, server := originalHub(t, prefix)
		ctx := t.Context()
		_, err := rpw.StreamOf[map[string]int]("st").Publish(ctx, h, "evt", map[string]int{"a": 1})
		require.NoError(t, err)
		entry := strings.Split(server.CLI(t, "XRANGE", begin+"st", "-", "+"), "\n")
		assert.Equal(t, []string{"evt", `{"a":1}`}, entry[1:3])
		require.NoError(t, rpw.Set(ctx, h, "k", map[string]int{"v": 1}, rpw.TTL(rpw.NoTTL)))
		assert.Equal(t, `{"v":1}`, server.CLI(t, "GET", begin+"k"))
	}
}

func TestOriginalRefusesWhatItCannotRead(t *testing.T) {
	h, server := originalHub(t, "p")
	ctx := t.Context()
	published, err := h.Streams().Publish(ctx, []rpw.Batch{
		{Stream: "st", Events: []rpw.NewEvent{{Type: "a", Data: []byte("1")}}},
		{Stream: "st", Events: []rpw.NewEvent{{Type: "a", Data: []byte("2")}, {Type: "complete", Data: []byte("1")}}},
		{Stream: "st", Events: []rpw.NewEvent{{Type: "a", Data: []byte("{")}}},
		{Stream: "st", Events: []rpw.NewEvent{{Type: "a"}}},
	})
	require.NoError(t, err)
	assert.NoError(t, published[0].Err)
	assert.ErrorIs(t, published[1].Err, rpw.ErrInvalid)
	assert.ErrorIs(t, published[2].Err, rpw.ErrInvalid)
	assert.NoError(t, published[3].Err)
	assert.Equal(t, "2", server.CLI(t, "XLEN", "p:st"))

	errs, err := h.Cache().Set(ctx, []rpw.CacheSet{{Key: "k", Data: []byte("{"), TTL: rpw.NoTTL}, {Key: "k", Data: []byte("1"), TTL: rpw.NoTTL}})
	require.NoError(t, err)
	assert.ErrorIs(t, errs[0], rpw.ErrInvalid)
	assert.NoError(t, errs[1])

	// a name is of one kind
	errs, err = h.Cache().Set(ctx, []rpw.CacheSet{{Key: "st", Data: []byte("1"), TTL: rpw.NoTTL}})
	require.NoError(t, err)
	assert.ErrorIs(t, errs[0], rpw.ErrConflict)
	_, err = h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"st"}})
	assert.ErrorIs(t, err, rpw.ErrConflict)
	_, err = rpw.StreamOf[int]("k").Publish(ctx, h, "a", 1)
	assert.ErrorIs(t, err, rpw.ErrConflict)
	require.ErrorIs(t, h.Streams().DeleteStream(ctx, "k"), rpw.ErrConflict)
	assert.Equal(t, "1", server.CLI(t, "GET", "p:k"))
}

// TestOriginalKeepsEverything: retention is off unless asked for.
func TestOriginalKeepsEverything(t *testing.T) {
	h, server := originalHub(t, "p")
	for range 12 {
		server.CLI(t, "EVAL", "for i = 1, 100000 do redis.call('XADD', 'p:st', '*', 't', '1') end return 1", "0")
	}
	_, err := rpw.StreamOf[int]("st").Publish(t.Context(), h, "t", 1)
	require.NoError(t, err)
	assert.Equal(t, "1200001", server.CLI(t, "XLEN", "p:st"))
	_, err = h.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "st", Events: []rpw.NewEvent{{Type: "t"}}, Keep: rpw.Retention{Events: 1000}}})
	require.NoError(t, err)
	assert.Eventually(t, func() bool { return len(server.CLI(t, "XLEN", "p:st")) <= 7 }, time.Minute, time.Millisecond)
}

// TestOriginalWakes: listeners hear of what the original adds, and it is the same hub that adds.
func TestOriginalWakes(t *testing.T) {
	h, server := originalHub(t, "p")
	r := &reading{bus: h.Streams()}
	var err error
	r.at, err = h.Streams().Locate(t.Context(), "st", rpw.Newest())
	require.NoError(t, err)
	assert.Less(t, r.wakes(t, "st", func() { server.CLI(t, "XADD", "p:st", "*", "evt", "1") }), 2*time.Second)
}

func TestTheOriginalsLayout(t *testing.T) {
	client := dial(t, shared.Server(t))
	prefix := "o" + strconv.FormatInt(prefixes.Add(1), 10)
	parts, err := New(t.Context(), client, Options{Prefix: prefix, Original: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, parts.Close(context.Background())) }()
	b := bus{parts.Streams.(*streamBus), t}
	publish := func(events ...rpw.NewEvent) error {
		answers, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: events}})
		require.NoError(t, err)
		return answers[0].Err
	}
	require.ErrorIs(t, publish(rpw.NewEvent{Type: "t", Data: []byte("{broken")}), rpw.ErrInvalid)
	require.ErrorIs(t, publish(rpw.NewEvent{Type: "complete", Data: []byte("1")}), rpw.ErrInvalid)
	require.NoError(t, publish(rpw.NewEvent{Type: "t", Data: []byte("1")}, rpw.NewEvent{Type: "t"}))
	b.bare("XADD", prefix+":s", "*", "t", "2")
	assert.Equal(t, []string{"1", "", "2"}, b.read(rpw.Position{}))
	info, err := b.StreamInfo(t.Context(), "s")
	require.NoError(t, err)
	assert.EqualValues(t, rpw.Unlimited, info.Keep.Events, "retention is off unless asked for")
	page, err := b.Streams(t.Context(), rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"s"}, page.Names)
}
