package socket

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/redis"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// originalRedis is a server whose Hub shares a Redis with programs of the original, which have the prefix "p".
func originalRedis(t *testing.T) (url string, redis *redistest.Server) {
	t.Helper()
	redis = redistest.Start(t)
	hub, err := rpw.Open(t.Context(), "redis://"+redis.Addr+"?layout=original&prefix=p")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hub.Close()) })
	return originalServer(t, hub, Config{}), redis
}

// TestOriginalSharesRedis: what the original's processes write reaches clients here, and what clients write here is read by the original (K5).
func TestOriginalSharesRedis(t *testing.T) {
	url, redis := originalRedis(t)
	c := connectOriginal(t, url)
	events := c.listen("st")
	c.ok(map[string]any{"type": "getVal", "key": "k"})

	redis.CLI(t, "XADD", "p:st", "*", "evt", `{"a":1,"s":"é<&>"}`)
	redis.CLI(t, "XADD", "p:st", "*", "evt", "no JSON")
	redis.CLI(t, "XADD", "p:st", "*", "complete", `1`, "second", "field")
	redis.CLI(t, "XADD", "p:st", "*", "u", "")
	var got []string
	for range 4 {
		e := nextEvent(t, events)
		got = append(got, e.EventType+" "+string(e.Data)+" "+string(e.Error))
	}
	assert.Equal(t, []string{`evt {"a":1,"s":"é<&>"} `, `evt null "the data of this event is no JSON"`, "complete 1 ", "u {} "}, got)

	c.ok(map[string]any{"type": "publish", "stream": "st", "eventType": "mine", "data": map[string]any{"b": 2}})
	entry := strings.Split(redis.CLI(t, "XREVRANGE", "p:st", "+", "-", "COUNT", "1"), "\n")
	require.GreaterOrEqual(t, len(entry), 3)
	assert.Equal(t, []string{"mine", `{"b":2}`}, entry[1:3], "the first field is type and JSON")
	assert.Equal(t, entry[0], nextEvent(t, events).ID)

	c.ok(map[string]any{"type": "setVal", "key": "k", "value": map[string]any{"v": 1}})
	assert.Equal(t, `{"v":1}`, redis.CLI(t, "GET", "p:k"))
	redis.CLI(t, "SET", "p:theirs", `[1]`)
	redis.CLI(t, "SET", "other", "1")
	assert.Equal(t, `[1]`, string(c.ok(map[string]any{"type": "getVal", "key": "theirs"}).Value))
	c.ok(map[string]any{"type": "delKeys", "pattern": "*"})
	assert.Equal(t, "0", redis.CLI(t, "EXISTS", "p:theirs", "p:k"))
	assert.Equal(t, "2", redis.CLI(t, "EXISTS", "p:st", "other"), "no other keys are touched")
}

// TestOriginalWrongKinds: what ended the original's process is an error, and the server goes on.
func TestOriginalWrongKinds(t *testing.T) {
	url, redis := originalRedis(t)
	c := connectOriginal(t, url)
	c.ok(map[string]any{"type": "setVal", "key": "text", "value": 1})
	redis.CLI(t, "XADD", "p:st", "*", "e", "1")
	for _, message := range []map[string]any{
		{"type": "listen", "stream": "text"},
		{"type": "publish", "stream": "text", "eventType": "e", "data": 1},
		{"type": "getStreamValues", "stream": "text"},
		{"type": "getVal", "key": "st"},
		{"type": "setVal", "key": "st", "value": 1},
		{"type": "publish", "stream": "st", "eventType": "complete", "data": 1}, // it would end readers of the original
	} {
		assert.NotEmpty(t, string(c.request(message).Error), message)
	}
	assert.Len(t, c.ok(map[string]any{"type": "getStreamValues", "stream": "st"}).Values, 1)
}

// TestOriginalRangesAreThoseOfRedis compares getStreamValues with XRANGE.
func TestOriginalRangesAreThoseOfRedis(t *testing.T) {
	t.Parallel()
	url, redis := originalRedis(t)
	c := connectOriginal(t, url)
	for _, id := range []string{"5-1", "5-2", "5-10", "6-0", "6-18446744073709551615", "7-0", "1795399404210-0", "1795399404210-3"} {
		redis.CLI(t, "XADD", "p:st", id, "e", "1")
	}
	ends := []string{"-", "+", "0", "5", "5-0", "5-2", "(5-2", "5-11", "6", "(6", "(6-18446744073709551615", "7", "(7", "8", "1795399404210", "(1795399404210-3", "18446744073709551615"}
	for _, start := range ends {
		for _, end := range ends {
			var want []string
			for _, line := range strings.Split(redis.CLI(t, "XRANGE", "p:st", start, end), "\n") {
				if strings.Contains(line, "-") {
					want = append(want, line)
				}
			}
			var got []string
			for _, e := range c.ok(map[string]any{"type": "getStreamValues", "stream": "st", "start": start, "end": end}).Values {
				got = append(got, e.ID)
			}
			assert.Equal(t, want, got, "from %s to %s", start, end)
		}
	}
}

// TestOriginalSurvivesAnOutage: listens go on after Redis was away, which ended the original's process (K5).
func TestOriginalSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	url, redis := originalRedis(t)
	c := connectOriginal(t, url)
	events := c.listen("st")
	c.ok(map[string]any{"type": "publish", "stream": "st", "eventType": "e", "data": 1})
	nextEvent(t, events)
	redis.Kill()
	away := c.request(map[string]any{"type": "setVal", "key": "k", "value": 1})
	assert.NotContains(t, string(away.Error), redis.Addr)
	assert.Contains(t, string(away.Error), "rpw: ")
	redis.Restart(t)
	assert.Eventually(t, func() bool {
		return c.request(map[string]any{"type": "publish", "stream": "st", "eventType": "back", "data": 1}).OK
	}, inTime, 10*time.Millisecond)
	assert.Equal(t, "back", nextEvent(t, events).EventType)
}

// originalScript is a client written with the WebSocket of JavaScript, as the original's is.
const originalScript = `
const listeners = {}, pending = {};
const ws = new WebSocket(process.argv[2]);
ws.onmessage = ({ data }) => {
	const frame = JSON.parse(data);
	if (frame.requestId && pending[frame.requestId]) {
		pending[frame.requestId](frame);
		delete pending[frame.requestId];
	} else if ((frame.type === "event" || frame.type === "response") && frame.stream) {
		listeners[frame.stream]?.(frame);
	}
};
let ids = 0;
const send = message => ws.send(JSON.stringify(message));
const request = message => new Promise(resolve => {
	const requestId = "id-" + ++ids;
	pending[requestId] = resolve;
	send({ ...message, requestId });
});
await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject; });
const out = [];
const events = new Promise(resolve => {
	const seen = [];
	listeners.chat = frame => seen.push([frame.eventType, frame.data]) === 3 && resolve(seen);
});
send({ type: "listen", stream: "chat" });
for (const data of [{ text: "h\u00e9 \ud83d\ude00 \ud800" }, [1, null], 2 ** 60]) out.push((await request({ type: "publish", stream: "chat", eventType: "m", data })).ok);
out.push(await events);
out.push((await request({ type: "setVal", key: "k", value: { b: 1, a: "\ud800" } })).ok);
out.push((await request({ type: "getVal", key: "k" })).value);
out.push((await request({ type: "getRawVal", key: "k" })).value);
out.push((await request({ type: "getStreamValues", stream: "chat", count: 2 })).values.map(({ type, data }) => [type, data]));
send({ type: "unlisten", stream: "chat" });
out.push((await request({ type: "getVal", key: "k", ignorePrefix: true })).ok ?? "refused");
out.push((await request({ type: "delKeys", pattern: "*" })).ok, "value" in (await request({ type: "getVal", key: "k" })));
console.log(JSON.stringify(out));
ws.close();
`

// TestOriginalFromJavaScript runs a client in Node, where there is one (K5).
func TestOriginalFromJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		return // the rules of the client are tested in Go too
	}
	script := filepath.Join(t.TempDir(), "client.mjs")
	require.NoError(t, os.WriteFile(script, []byte(originalScript), 0o600))
	command := exec.CommandContext(t.Context(), node, "--experimental-websocket", script, originalServer(t, originalHub(t), Config{}))
	var failed strings.Builder
	command.Stderr = &failed
	out, err := command.Output()
	require.NoError(t, err, failed.String())
	require.True(t, json.Valid(out))
	assert.Equal(t, `[true,true,true,[["m",{"text":"hé 😀 \ud800"}],["m",[1,null]],["m",1152921504606847000]],true,{"b":1,"a":"\ud800"},"{\"b\":1,\"a\":\"\\ud800\"}",`+
		`[["m",{"text":"hé 😀 \ud800"}],["m",[1,null]]],"refused",true,false]`, strings.TrimSpace(string(out)))
}
