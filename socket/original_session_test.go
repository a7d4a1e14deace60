package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestOriginalClient is a day in the life of the original's browser client (K5).
func TestOriginalClient(t *testing.T) {
	hub := originalHub(t)
	url := originalServer(t, hub, Config{})
	alice, bob := connectOriginal(t, url), connectOriginal(t, url)

	events := bob.listen("chat")
	bob.ok(map[string]any{"type": "getVal", "key": "k"}) // behind the listen
	alice.ok(map[string]any{"type": "publish", "stream": "chat", "eventType": "message", "data": map[string]any{"text": "hello"}})
	got := nextEvent(t, events)
	assert.Equal(t, "message", got.EventType)
	assert.JSONEq(t, `{"text":"hello"}`, string(got.Data))

	entries := bob.ok(map[string]any{"type": "getStreamValues", "stream": "chat"}).Values
	assert.Equal(t, []originalEntry{{ID: got.ID, Type: "message", Data: got.Data}}, entries)

	alice.ok(map[string]any{"type": "setVal", "key": "user:1", "value": map[string]any{"name": "Alice"}})
	assert.JSONEq(t, `{"name":"Alice"}`, string(bob.ok(map[string]any{"type": "getVal", "key": "user:1"}).Value))
	bob.ok(map[string]any{"type": "delKeys", "pattern": "user:*"})
	assert.Empty(t, string(alice.ok(map[string]any{"type": "getVal", "key": "user:1"}).Value))

	failed := alice.request(map[string]any{"type": "getStreamValues", "stream": "chat", "count": -1})
	assert.JSONEq(t, `"rpw: invalid: count must be a whole number above 0"`, string(failed.Error))
	assert.False(t, failed.OK)

	bob.unlisten("chat")
	bob.ok(map[string]any{"type": "getVal", "key": "k"})
	again := bob.listen("chat")
	bob.ok(map[string]any{"type": "getVal", "key": "k"})
	alice.ok(map[string]any{"type": "publish", "stream": "chat", "eventType": "message", "data": 2})
	assert.Equal(t, "2", string(nextEvent(t, again).Data))
	assert.Empty(t, events)
}

// TestOriginalListenIsPinned: what is published after the acknowledgement of a listen arrives, without a pause in between.
func TestOriginalListenIsPinned(t *testing.T) {
	hub := originalHub(t)
	c := dialOriginal(t, originalServer(t, hub, Config{}))
	for i := range 50 {
		stream := fmt.Sprint("s", i)
		require.Contains(t, c.ask(`{"type":"listen","stream":"`+stream+`"}`), "subscribed")
		publish(t, hub, stream, "e", `1`)
		require.Contains(t, c.next(), `"stream":"`+stream+`"`)
	}
}

// TestOriginalUnlisten: when it is acknowledged no event follows, also none that waited for room, and listening again works.
func TestOriginalUnlisten(t *testing.T) {
	hub := originalHub(t)
	conn := serveTestConn(t, hub, Limits{Queue: 512, Requests: 8, Waits: 8})
	for range 50 {
		conn.in <- `{"type":"listen","stream":"s"}`
		require.Contains(t, <-conn.out, "subscribed")
		for range 10 {
			publish(t, hub, "s", "e", `1`)
		}
		conn.in <- `{"type":"unlisten","stream":"s"}`
		for !strings.Contains(<-conn.out, "unsubscribed") {
		}
		publish(t, hub, "s", "late", `1`)
		conn.in <- `{"type":"getVal","key":"none"}`
		require.Equal(t, `{"response":true,"ok":true}`, <-conn.out)
	}
}

// TestOriginalKeepsOrder: without waiting for answers a client reads what it has written, and its events keep their order, also
// where requests are done together (K5).
func TestOriginalKeepsOrder(t *testing.T) {
	hub := originalHub(t)
	c := connectOriginal(t, originalServer(t, hub, Config{Limits: Limits{Requests: 8}}))
	var gets, publishes []<-chan originalFrame
	for i := range 500 {
		c.start(map[string]any{"type": "setVal", "key": "k", "value": i})
		gets = append(gets, c.start(map[string]any{"type": "getVal", "key": "k"}))
	}
	for i := range 2000 {
		publishes = append(publishes, c.start(map[string]any{"type": "publish", "stream": fmt.Sprint("s", i%3), "eventType": "e", "data": i + 1}))
	}
	for i, get := range gets {
		require.Equal(t, fmt.Sprint(i), string((<-get).Value))
	}
	for _, p := range publishes {
		require.True(t, (<-p).OK)
	}
	for s := range 3 {
		messages, err := rpw.StreamOf[int](fmt.Sprint("s", s)).Read(t.Context(), hub, rpw.Oldest(), 0)
		require.NoError(t, err)
		require.Len(t, messages, min(500, (2000-s+2)/3))
		for i, m := range messages {
			require.Equal(t, i*3+s+1, m.Data)
		}
	}
}

// TestOriginalEndedListen: a listen that cannot go on says so, in a frame that no listener of the original's client gets, and can be made anew.
func TestOriginalEndedListen(t *testing.T) {
	hub := originalHub(t)
	c := dialOriginal(t, originalServer(t, hub, Config{}))
	c.ask(`{"type":"listen","stream":"s","requestId":"i"}`)
	require.NoError(t, hub.Close())
	assert.Equal(t, `{"response":true,"requestId":"i","type":"error","stream":"s","error":"rpw: unavailable: the server is stopping"}`, c.next())
	assert.Equal(t, `{"response":true,"error":"rpw: unavailable: the server is stopping"}`, c.ask(`{"type":"listen","stream":"s"}`), "it is tried again")
	assert.Equal(t, `{"response":true,"ok":true,"unsubscribed":"s"}`, c.ask(`{"type":"unlisten","stream":"s"}`))
}

// TestOriginalOneMistakeIsOneError: requests that are done together with a wrong one succeed.
func TestOriginalOneMistakeIsOneError(t *testing.T) {
	hub := originalHub(t)
	c := connectOriginal(t, originalServer(t, hub, Config{}))
	var good, bad []<-chan originalFrame
	large := strings.Repeat("x", rpw.MaxPayload)
	for i := range 100 {
		key := fmt.Sprint("k", i)
		good = append(good, c.start(map[string]any{"type": "publish", "stream": "s", "eventType": "e", "data": i + 1}))
		if i%20 == 0 {
			bad = append(bad, c.start(map[string]any{"type": "publish", "stream": "s", "eventType": "a\nb", "data": 1}))
		}
		good = append(good, c.start(map[string]any{"type": "setVal", "key": key, "value": i}))
		if i%20 == 0 {
			bad = append(bad, c.start(map[string]any{"type": "setVal", "key": key, "value": large}), c.start(map[string]any{"type": "delKey", "key": "a*"}))
		}
	}
	for _, reply := range good {
		require.True(t, (<-reply).OK)
	}
	for _, reply := range bad {
		require.NotEmpty(t, (<-reply).Error)
	}
	messages, err := rpw.StreamOf[int]("s").Read(t.Context(), hub, rpw.Oldest(), 0)
	require.NoError(t, err)
	require.Len(t, messages, 100)
	for i, m := range messages {
		require.Equal(t, i+1, m.Data)
	}
}

// TestOriginalAckMeansStored: the acknowledgements of publish, setVal and delKey come after the deed. The original's came before.
func TestOriginalAckMeansStored(t *testing.T) {
	hub := originalHub(t)
	c := connectOriginal(t, originalServer(t, hub, Config{}))
	for i := range 100 {
		c.ok(map[string]any{"type": "publish", "stream": "s", "eventType": "e", "data": i + 1})
		info, err := hub.Streams().StreamInfo(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, int64(i+1), info.Events)
		c.ok(map[string]any{"type": "setVal", "key": "k", "value": i})
		value, _, err := rpw.Get[int](t.Context(), hub, "k")
		require.NoError(t, err)
		require.Equal(t, i, value)
	}
	c.ok(map[string]any{"type": "delKey", "key": "k"})
	_, ok, err := rpw.Get[int](t.Context(), hub, "k")
	require.NoError(t, err)
	require.False(t, ok)
}

// TestOriginalLeaver: what a page sends before it is closed is carried out, as by the original.
func TestOriginalLeaver(t *testing.T) {
	hub := originalHub(t)
	url := originalServer(t, hub, Config{})
	for range 10 {
		c := dialOriginal(t, url)
		for range 20 {
			c.send(`{"type":"publish","stream":"s","eventType":"e","data":1}`)
		}
		c.conn.Close(websocket.StatusGoingAway, "")
	}
	require.Eventually(t, func() bool {
		info, err := hub.Streams().StreamInfo(t.Context(), "s")
		return err == nil && info.Events == 200
	}, inTime, time.Millisecond)
}

// TestOriginalStreamValues: which entries a range has.
func TestOriginalStreamValues(t *testing.T) {
	hub := originalHub(t)
	c := connectOriginal(t, originalServer(t, hub, Config{}))
	var ids []rpw.ID
	for i := range 1200 {
		ids = append(ids, publish(t, hub, "s", "e", fmt.Sprint(i)).ID)
	}
	values := func(more map[string]any) (got []string) {
		t.Helper()
		message := map[string]any{"type": "getStreamValues", "stream": "s"}
		for k, v := range more {
			message[k] = v
		}
		for _, e := range c.ok(message).Values {
			got = append(got, string(e.Data))
		}
		return got
	}
	numbers := func(from, until int) (all []string) {
		for i := from; i <= until; i++ {
			all = append(all, fmt.Sprint(i))
		}
		return all
	}
	at := func(i int) string { return ids[i].String() }
	for _, row := range []struct {
		ask  map[string]any
		want []string
	}{
		{nil, numbers(0, 999)},
		{map[string]any{"count": 0, "start": "", "end": ""}, numbers(0, 999)},
		{map[string]any{"count": "", "start": nil}, numbers(0, 999)},
		{map[string]any{"count": "2"}, numbers(0, 1)},
		{map[string]any{"count": 1100.0}, numbers(0, 1099)},
		{map[string]any{"count": 1_000_000_000}, numbers(0, 1199)},
		{map[string]any{"start": at(1190)}, numbers(1190, 1199)},
		{map[string]any{"start": "(" + at(1190)}, numbers(1191, 1199)},
		{map[string]any{"start": at(5), "end": at(8)}, numbers(5, 8)},
		{map[string]any{"start": at(5), "end": "(" + at(8)}, numbers(5, 7)},
		{map[string]any{"start": at(5), "end": at(8), "count": 2}, numbers(5, 6)},
		{map[string]any{"start": at(8), "end": at(5)}, nil},
		{map[string]any{"start": "+", "end": "-"}, nil},
		{map[string]any{"start": "-", "end": "+", "count": 1}, numbers(0, 0)},
		{map[string]any{"end": "0-0"}, nil},
		{map[string]any{"end": "(0-0"}, nil},
		{map[string]any{"start": "(18446744073709551615-18446744073709551615"}, nil},
		{map[string]any{"start": fmt.Sprint(ids[1199].MS + 1)}, nil},
	} {
		assert.Equal(t, row.want, values(row.ask), row.ask)
	}
	for _, wrong := range []map[string]any{{"count": -1}, {"count": "x"}, {"count": 1.5}, {"count": true}, {"start": "x"}, {"start": "1-x"}, {"end": "(-"}, {"end": []int{1}}} {
		message := map[string]any{"type": "getStreamValues", "stream": "s"}
		for k, v := range wrong {
			message[k] = v
		}
		assert.Contains(t, string(c.request(message).Error), "rpw: invalid: ", wrong)
	}

	// What is gone is left out, what is no JSON is told.
	_, err := hub.Streams().Trim(t.Context(), "s", rpw.Retention{Events: 1})
	require.NoError(t, err)
	left := values(map[string]any{"start": at(5)})
	require.NotEmpty(t, left)
	assert.Equal(t, "1199", left[len(left)-1])
	bad := publish(t, hub, "bad", "e", "{")
	empty := publish(t, hub, "bad", "e", "")
	raw := dialOriginal(t, originalServer(t, hub, Config{}))
	assert.Equal(t, fmt.Sprintf(`{"response":true,"ok":true,"values":[{"id":"%s","type":"e","data":null,"error":"the data of this event is no JSON"},{"id":"%s","type":"e","data":{}}]}`, bad.ID, empty.ID),
		raw.ask(`{"type":"getStreamValues","stream":"bad"}`))
}

// TestOriginalValuesAreBounded: an answer that would not fit is an error that says what to do.
func TestOriginalValuesAreBounded(t *testing.T) {
	hub := originalHub(t)
	c := connectOriginal(t, originalServer(t, hub, Config{}))
	data := `"` + strings.Repeat("x", 1<<20-10) + `"`
	for range 9 {
		publish(t, hub, "s", "e", data)
	}
	assert.Contains(t, string(c.request(map[string]any{"type": "getStreamValues", "stream": "s"}).Error), "ask for fewer with count")
	assert.Len(t, c.ok(map[string]any{"type": "getStreamValues", "stream": "s", "count": 7}).Values, 7)
}

// TestOriginalCacheOfOthers: values that programs of others stored.
func TestOriginalCacheOfOthers(t *testing.T) {
	hub := originalHub(t)
	c := dialOriginal(t, originalServer(t, hub, Config{}))
	for key, data := range map[string]string{"empty": "", "text": "no JSON", "bytes": "\"\xff\""} {
		errs, err := hub.Cache().Set(t.Context(), []rpw.CacheSet{{Key: key, Data: []byte(data), TTL: rpw.NoTTL}})
		require.NoError(t, err)
		require.NoError(t, errs[0])
	}
	for ask, want := range map[string]string{
		`{"type":"getVal","key":"empty"}`:    `{"response":true,"ok":true}`, // what setVal(undefined) of the original stores
		`{"type":"getRawVal","key":"empty"}`: `{"response":true,"ok":true,"value":""}`,
		`{"type":"getVal","key":"text"}`:     `{"response":true,"error":"rpw: conflict: the value of \"text\" is no JSON; getRawVal gives it as it is"}`,
		`{"type":"getRawVal","key":"text"}`:  `{"response":true,"ok":true,"value":"no JSON"}`,
		`{"type":"getVal","key":"bytes"}`:    `{"response":true,"ok":true,"value":"` + "\uFFFD" + `"}`,
		`{"type":"getRawVal","key":"bytes"}`: `{"response":true,"ok":true,"value":"\"` + "\uFFFD" + `\""}`,
	} {
		assert.Equal(t, want, c.ask(ask))
	}
}

// TestOriginalDelKeys: patterns are of the names that clients see, many keys go in bounded steps, and the namespace of the server is no pattern.
func TestOriginalDelKeys(t *testing.T) {
	hub := originalHub(t, rpw.WithNamespace("o"))
	url := originalServer(t, hub, Config{})
	keys := func() (all []string) {
		for key, err := range rpw.Keys(t.Context(), hub, "") {
			require.NoError(t, err)
			all = append(all, key)
		}
		slices.Sort(all)
		return all
	}
	for _, row := range []struct {
		pattern string
		left    []string
	}{
		{"a", []string{"ab", "abc", "b", "é"}},
		{"a*", []string{"b", "é"}},
		{"a?", []string{"a", "abc", "b", "é"}},
		{"?", []string{"ab", "abc", "é"}},
		{"[^a]*", []string{"a", "ab", "abc"}},
		{`a\b`, []string{"a", "abc", "b", "é"}},
		{"none*", []string{"a", "ab", "abc", "b", "é"}},
		{"o:*", []string{"a", "ab", "abc", "b", "é"}},
		{"*", nil},
	} {
		for _, key := range []string{"a", "ab", "abc", "b", "é"} {
			require.NoError(t, rpw.Set(t.Context(), hub, key, 1))
		}
		pattern, _ := json.Marshal(row.pattern)
		require.Equal(t, `{"response":true,"ok":true}`, dialOriginal(t, url).ask(`{"type":"delKeys","pattern":`+string(pattern)+`}`))
		assert.Equal(t, row.left, keys(), row.pattern)
	}
	for i := range 3000 {
		require.NoError(t, rpw.Set(t.Context(), hub, fmt.Sprint("many:", i), 1))
	}
	dialOriginal(t, url).ask(`{"type":"delKeys","pattern":"many:*"}`)
	assert.Empty(t, keys())
	assert.Contains(t, dialOriginal(t, url).ask(`{"type":"delKeys","pattern":"`+strings.Repeat("*a", originalPattern)+`"}`), "rpw: too large: the pattern has")
}

// TestOriginalRights: every message needs the right to what it names, and delKeys passes over what its client may not delete (B48, B49).
func TestOriginalRights(t *testing.T) {
	hub := originalHub(t)
	asked := make(chan Access, 100)
	url := originalServer(t, hub, Config{
		Authenticate: func(*http.Request) (Identity, error) { return Identity{Name: "page"}, nil },
		Authorize: func(_ context.Context, id Identity, a Access) error {
			asked <- a
			if id.Name != "page" || strings.HasPrefix(a.Name, "secret") {
				return errors.New("no")
			}
			return nil
		},
	})
	for _, key := range []string{"secret", "mine", "mine2"} {
		require.NoError(t, rpw.Set(t.Context(), hub, key, 1))
	}
	c := dialOriginal(t, url)
	for _, row := range []struct {
		ask  string
		want Access
	}{
		{`"listen","stream":"secret"`, Access{"read", Read, KindStream, "secret"}},
		{`"getStreamValues","stream":"secret"`, Access{"read", Read, KindStream, "secret"}},
		{`"publish","stream":"secret","eventType":"e","data":1`, Access{"publish", Write, KindStream, "secret"}},
		{`"getVal","key":"secret"`, Access{"get", Read, KindKey, "secret"}},
		{`"getRawVal","key":"secret"`, Access{"get", Read, KindKey, "secret"}},
		{`"setVal","key":"secret","value":2`, Access{"set", Write, KindKey, "secret"}},
		{`"delKey","key":"secret"`, Access{"delete", Write, KindKey, "secret"}},
	} {
		got := c.ask(`{"type":` + row.ask + `,"requestId":"i"}`)
		assert.Contains(t, got, `{"response":true,"requestId":"i","error":"rpw: permission denied: `, row.ask)
		assert.Equal(t, row.want, <-asked, row.ask)
		assert.Empty(t, asked)
	}
	assert.Equal(t, `{"response":true,"ok":true}`, c.ask(`{"type":"delKeys","pattern":"*"}`))
	assert.Equal(t, `{"response":true,"ok":true}`, c.ask(`{"type":"delKeys","pattern":"secret"}`))
	page, err := hub.Cache().Scan(t.Context(), rpw.ScanRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"secret"}, page.Keys)
	streams, err := hub.Streams().Streams(t.Context(), rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.Empty(t, streams.Names, "nothing has begun to exist")
}

// TestOriginalLimits: what a client can ask for is bounded, and who goes beyond is refused or closed alone (K4).
func TestOriginalLimits(t *testing.T) {
	hub := originalHub(t)
	url := originalServer(t, hub, Config{Limits: Limits{Waits: 2, Bad: 10, Message: 64 << 10}})
	c := dialOriginal(t, url)
	for i, want := range []string{"subscribed", "subscribed", "store full"} {
		assert.Contains(t, c.ask(fmt.Sprintf(`{"type":"listen","stream":"s%d"}`, i)), want)
	}
	assert.Contains(t, c.ask(`{"type":"unlisten","stream":"s0"}`), "unsubscribed")
	assert.Contains(t, c.ask(`{"type":"listen","stream":"s2"}`), "subscribed", "a place is free again")
	assert.Contains(t, dialOriginal(t, url).ask(`{"type":"listen","stream":"s","requestMeta":"`+strings.Repeat("x", originalListenMeta)+`"}`), "too large")

	for range 10 {
		c.ask(`{"type":"nonsense"}`)
	}
	c.send(`{`)
	assert.Equal(t, websocket.StatusPolicyViolation, c.closed())
	c = dialOriginal(t, url)
	for range 30 { // requests, though refused
		c.ask(`{"type":"publish","stream":"s","eventType":"e","data":0}`)
	}
	c.send(strings.Repeat("x", 65<<10))
	assert.Equal(t, websocket.StatusMessageTooBig, c.closed())
}

// TestOriginalListensEndWithTheirConnection: nothing of a client is left behind. The original kept a connection to Redis for each listen.
func TestOriginalListensEndWithTheirConnection(t *testing.T) {
	hub := originalHub(t)
	for range 20 {
		t.Run("", func(t *testing.T) { // whose end waits for the session and all it has started
			conn := serveTestConn(t, hub, Limits{Queue: 1 << 20, Requests: 256, Waits: 1024})
			for i := range 10 {
				conn.in <- fmt.Sprintf(`{"type":"listen","stream":"s%d"}`, i)
				<-conn.out
			}
		})
	}
}

// TestOriginalSlowReader: a client that does not read for a while misses what was trimmed meanwhile, and goes on with what is there, in order; no
// more waits for it than its queue holds (S6).
func TestOriginalSlowReader(t *testing.T) {
	hub := originalHub(t)
	conn := serveTestConn(t, hub, Limits{Queue: 4 << 10, Requests: 256, Waits: 1024})
	conn.in <- `{"type":"listen","stream":"s"}`
	<-conn.out
	for i := range 3000 {
		publish(t, hub, "s", "e", fmt.Sprint(i))
	}
	_, err := hub.Streams().Trim(t.Context(), "s", rpw.Retention{Events: 10})
	require.NoError(t, err)
	var got []int
	for len(got) == 0 || got[len(got)-1] < 2999 {
		var frame originalFrame
		require.NoError(t, json.Unmarshal([]byte(<-conn.out), &frame))
		var n int
		require.NoError(t, json.Unmarshal(frame.Data, &n))
		got = append(got, n)
	}
	assert.True(t, slices.IsSorted(got))
	assert.Less(t, len(got), 1000)
	publish(t, hub, "s", "e", `3000`)
	assert.Contains(t, <-conn.out, `"data":3000`)
}

// TestOriginalSlowClientIsClosedAlone: who takes nothing is cut off, and the others get everything (K4).
func TestOriginalSlowClientIsClosedAlone(t *testing.T) {
	t.Parallel()
	hub := originalHub(t)
	s, url := startOriginal(t, hub, Config{Limits: Limits{WriteTime: time.Second}})
	slow, quick := dialOriginal(t, url), connectOriginal(t, url)
	slow.ask(`{"type":"listen","stream":"s"}`)
	events := quick.listen("s")
	quick.ok(map[string]any{"type": "getVal", "key": "k"})
	data := `"` + strings.Repeat("x", 512<<10) + `"`
	const n = 60
	for i := range n {
		publish(t, hub, "s", fmt.Sprint("e", i), data)
		assert.Equal(t, fmt.Sprint("e", i), nextEvent(t, events).EventType)
	}
	require.Eventually(t, func() bool { return s.Stats().Closed["4008"] == 1 }, inTime, time.Millisecond)
	assert.Equal(t, 1, s.Stats().Connections)
}
