package socket

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestOriginalProtocol has a row for each row of the protocol's table: what is asked, and the exact answer (K5). Rows build on those before.
func TestOriginalProtocol(t *testing.T) {
	hub := originalHub(t)
	url := originalServer(t, hub, Config{})
	for _, row := range []struct{ about, ask, want string }{
		{"publish", `{"type":"publish","stream":"s","eventType":"e","data":{"a":1}}`, `{"response":true,"ok":true,"published":"s"}`},
		{"publish, repeated fields first", `{"type":"publish","stream":"s","eventType":"e","data":[1,"x"],"requestId":"i1","requestMeta":{"m":[1]}}`, `{"response":true,"requestId":"i1","requestMeta":{"m":[1]},"ok":true,"published":"s"}`},
		{"data may be a string", `{"type":"publish","stream":"s","eventType":"e","data":"x"}`, `{"response":true,"ok":true,"published":"s"}`},
		{"data may be true", `{"type":"publish","stream":"s","eventType":"e","data":true}`, `{"response":true,"ok":true,"published":"s"}`},
		{"data may be a number", `{"type":"publish","stream":"s","eventType":"e","data":9007199254740993}`, `{"response":true,"ok":true,"published":"s"}`},
		{"data null", `{"type":"publish","stream":"s","eventType":"e","data":null}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"data 0", `{"type":"publish","stream":"s","eventType":"e","data":0,"requestId":"i"}`, `{"response":true,"requestId":"i","error":"Unknown message type or missing fields"}`},
		{"data -0.0e5", `{"type":"publish","stream":"s","eventType":"e","data":-0.0e5}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"data false", `{"type":"publish","stream":"s","eventType":"e","data":false}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"data empty text", `{"type":"publish","stream":"s","eventType":"e","data":""}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"no data", `{"type":"publish","stream":"s","eventType":"e"}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"no eventType", `{"type":"publish","stream":"s","data":1}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"no stream", `{"type":"publish","eventType":"e","data":1}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"empty stream", `{"type":"publish","stream":"","eventType":"e","data":1}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"unknown fields are ignored", `{"type":"getVal","key":"none","Key":"other","x":{"stream":"y"}}`, `{"response":true,"ok":true}`},

		{"number kept", `{"type":"getVal","key":"none","requestId":42,"requestMeta":12345678901234567890}`, `{"response":true,"requestId":42,"requestMeta":12345678901234567890,"ok":true}`},
		{"0 and empty text are not repeated", `{"type":"getVal","key":"none","requestId":0,"requestMeta":""}`, `{"response":true,"ok":true}`},
		{"null and false neither", `{"type":"getVal","key":"none","requestId":null,"requestMeta":false}`, `{"response":true,"ok":true}`},
		{"objects whole", `{"type":"getVal","key":"none","requestId":{"b":1,"a":[2, 3]},"requestMeta":[]}`, `{"response":true,"requestId":{"b":1,"a":[2, 3]},"requestMeta":[],"ok":true}`},

		{"setVal", `{"type":"setVal","key":"k","value":{"v":[1,2.50,"<&>é\ud800"],"9":1,"1":2}}`, `{"response":true,"ok":true}`},
		{"getVal", `{"type":"getVal","key":"k","requestId":"i"}`, `{"response":true,"requestId":"i","ok":true,"value":{"v":[1,2.50,"<&>é\ud800"],"9":1,"1":2}}`},
		{"getRawVal", `{"type":"getRawVal","key":"k"}`, `{"response":true,"ok":true,"value":"{\"v\":[1,2.50,\"<&>é\\ud800\"],\"9\":1,\"1\":2}"}`},
		{"setVal null", `{"type":"setVal","key":"k","value":null}`, `{"response":true,"ok":true}`},
		{"getVal null", `{"type":"getVal","key":"k"}`, `{"response":true,"ok":true,"value":null}`},
		{"setVal 0", `{"type":"setVal","key":"k","value":0}`, `{"response":true,"ok":true}`},
		{"getVal 0", `{"type":"getVal","key":"k"}`, `{"response":true,"ok":true,"value":0}`},
		{"setVal empty text", `{"type":"setVal","key":"k","value":""}`, `{"response":true,"ok":true}`},
		{"getVal empty text", `{"type":"getVal","key":"k"}`, `{"response":true,"ok":true,"value":""}`},
		{"setVal false", `{"type":"setVal","key":"k","value":false}`, `{"response":true,"ok":true}`},
		{"getVal false", `{"type":"getVal","key":"k"}`, `{"response":true,"ok":true,"value":false}`},
		{"setVal undefined", `{"type":"setVal","key":"k"}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"number as key", `{"type":"setVal","key":12,"value":1}`, `{"response":true,"ok":true}`},
		{"is text", `{"type":"getVal","key":"12"}`, `{"response":true,"ok":true,"value":1}`},
		{"as JavaScript writes it", `{"type":"getVal","key":1.20e1}`, `{"response":true,"ok":true,"value":1}`},
		{"key 0", `{"type":"getVal","key":0}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"key of another type", `{"type":"getVal","key":["a"]}`, `{"response":true,"error":"rpw: invalid: key must be a string or a number"}`},
		{"getRawVal missing", `{"type":"getRawVal","key":"none"}`, `{"response":true,"ok":true}`},
		{"delKey", `{"type":"delKey","key":"k"}`, `{"response":true,"ok":true}`},
		{"it is gone", `{"type":"getVal","key":"k"}`, `{"response":true,"ok":true}`},
		{"delKey missing", `{"type":"delKey","key":"k"}`, `{"response":true,"ok":true}`},
		{"delKeys", `{"type":"delKeys","pattern":"1?"}`, `{"response":true,"ok":true}`},
		{"they are gone", `{"type":"getVal","key":"12"}`, `{"response":true,"ok":true}`},
		{"delKeys without pattern", `{"type":"delKeys"}`, `{"response":true,"error":"Unknown message type or missing fields"}`},

		{"getStreamValues of none", `{"type":"getStreamValues","stream":"none"}`, `{"response":true,"ok":true,"values":[]}`},
		{"getStreamValues without a stream", `{"type":"getStreamValues"}`, `{"response":true,"error":"Unknown message type or missing fields"}`},

		{"listen", `{"type":"listen","stream":"l","requestId":"i"}`, `{"response":true,"requestId":"i","ok":true,"subscribed":"l"}`},
		{"listen again", `{"type":"listen","stream":"l"}`, `{"response":true,"ok":true,"subscribed":"l"}`},
		{"listen without a stream", `{"type":"listen"}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"unlisten", `{"type":"unlisten","stream":"l"}`, `{"response":true,"ok":true,"unsubscribed":"l"}`},
		{"unlisten what is not listened to", `{"type":"unlisten","stream":"l","requestId":1}`, `{"response":true,"requestId":1,"ok":true,"unsubscribed":"l"}`},

		{"no JSON ping", `{"type":"ping"}`, `{"response":true,"error":"Unknown message type or missing fields"}`},
		{"type of another type", `{"type":{},"requestId":"i"}`, `{"response":true,"requestId":"i","error":"Unknown message type or missing fields"}`},
		{"error field", `{"type":"getVal","key":"k","error":{"x":1},"requestId":"i"}`, `{"response":true,"requestId":"i","type":"error","error":{"x":1}}`},
		{"falsy error field", `{"type":"getVal","key":"none","error":""}`, `{"response":true,"ok":true}`},
		{"no type", `{"requestId":"i"}`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"falsy type", `{"type":"","requestId":"i"}`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"null", `null`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"array", `[{"type":"ping"}]`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"string", ` "x"`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"number", `1`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"no JSON", `{"type":"getVal",`, `{"response":true,"type":"error","error":"Invalid JSON"}`},
		{"two values", `{"type":"getVal"} {}`, `{"response":true,"type":"error","error":"Invalid JSON"}`},
		{"empty", ``, `{"response":true,"type":"error","error":"Invalid JSON"}`},

		{"a field twice", `{"type":"getVal","key":"a","key":"b","requestId":"i"}`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"a field twice, escaped", `{"type":"getVal","key":"a","k\u0065y":"b"}`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"too deep", `{"type":"getVal","key":"a","requestMeta":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, `{"response":true,"type":"error","error":"Invalid message format"}`},
		{"payloads may be deep", `{"type":"setVal","key":"deep","value":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, `{"response":true,"ok":true}`},

		{"ignorePrefix, falsy", `{"type":"getVal","key":"none","ignorePrefix":false}`, `{"response":true,"ok":true}`},
		{"name", `{"type":"setVal","key":"a*","value":1}`, `{"response":true,"error":"rpw: invalid: key name \"a*\" has the character '*' at byte 1, which names may not hold"}`},
		{"event type", `{"type":"publish","stream":"s","eventType":"a*","data":1,"requestId":"i"}`, `{"response":true,"requestId":"i","error":"rpw: invalid: event type name \"a*\" has the character '*' at byte 1, which names may not hold"}`},
	} {
		t.Run(row.about, func(t *testing.T) {
			assert.Equal(t, row.want, dialOriginal(t, url).ask(row.ask))
		})
	}
	for _, verb := range []string{`"getStreamValues","stream":"s"`, `"getVal","key":"k"`, `"getRawVal","key":"k"`, `"setVal","key":"k","value":1`, `"delKey","key":"k"`, `"delKeys","pattern":"*"`} {
		t.Run("ignorePrefix "+verb, func(t *testing.T) { // B10
			got := dialOriginal(t, url).ask(`{"type":` + verb + `,"ignorePrefix":1,"requestId":7}`)
			assert.Equal(t, `{"response":true,"requestId":7,"error":"rpw: invalid: ignorePrefix is not allowed over a socket: all names are within the server's prefix; leave it out"}`, got)
		})
	}
	t.Run("binary", func(t *testing.T) {
		c := dialOriginal(t, url)
		require.NoError(t, c.conn.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"getVal","key":"k"}`)))
		assert.Equal(t, `{"response":true,"type":"error","error":"Invalid message format"}`, c.next())
		assert.Equal(t, `{"response":true,"ok":true}`, c.ask(`{"type":"getVal","key":"none"}`), "the connection goes on")
	})
	t.Run("invalid UTF-8", func(t *testing.T) { // B39
		c := dialOriginal(t, url)
		c.send("{\"type\":\"getVal\",\"key\":\"\xff\"}")
		assert.Equal(t, websocket.StatusInvalidFramePayloadData, c.closed())
	})
	keys, err := hub.Cache().Scan(t.Context(), rpw.ScanRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"deep"}, keys.Keys, "nothing was stored that was refused")
}

// TestOriginalStoresWhatWasSent: payloads are stored byte by byte (B16), eventType 7 is "7" (K5).
func TestOriginalStoresWhatWasSent(t *testing.T) {
	hub := originalHub(t)
	c := dialOriginal(t, originalServer(t, hub, Config{}))
	c.ask(`{"type":"publish","stream":"s","eventType":7,"data":{"b":9007199254740993,"a":"<é\ud800>","9":1,"1":-0.10e+2}}`)
	events, err := hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.NoError(t, err)
	require.Len(t, events, 1)
	assert.Equal(t, "7", events[0].Type)
	assert.Equal(t, `{"b":9007199254740993,"a":"<é\ud800>","9":1,"1":-0.10e+2}`, string(events[0].Data))
}

// TestOriginalEvents: what a listener gets, in which order of fields (K5).
func TestOriginalEvents(t *testing.T) {
	hub := originalHub(t)
	url := originalServer(t, hub, Config{})
	plain, marked := dialOriginal(t, url), dialOriginal(t, url)
	publish(t, hub, "s", "before", `1`)
	plain.ask(`{"type":"listen","stream":"s"}`)
	plain.ask(`{"type":"listen","stream":"s","requestId":"second"}`)
	marked.ask(`{"type":"listen","stream":"s","requestId":"i","requestMeta":{"m":1}}`)
	for _, each := range []struct{ kind, data, tail string }{
		{"e", `{"a":1}`, `"data":{"a":1}`},
		{"complete", `1`, `"data":1`},
		{"empty", ``, `"data":{}`},
		{"bad", `{not JSON`, `"data":null,"error":"the data of this event is no JSON"`},
		{"bytes", "\"\xff\"", `"data":"` + "\uFFFD" + `"`},
		{`quo"te`, `"<&>"`, `"data":"<&>"`},
	} {
		id := publish(t, hub, "s", each.kind, each.data).ID
		kind, _ := json.Marshal(each.kind)
		body := fmt.Sprintf(`"type":"response","stream":"s","eventType":%s,%s,"id":"%s"}`, kind, each.tail, id)
		assert.Equal(t, `{"response":true,`+body, plain.next())
		assert.Equal(t, `{"response":true,"requestId":"i","requestMeta":{"m":1},`+body, marked.next())
	}
}

func publish(t testing.TB, hub *rpw.Hub, stream, kind, data string) rpw.Position {
	t.Helper()
	answers, err := hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: stream, Events: []rpw.NewEvent{{Type: kind, Data: []byte(data)}}}})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err)
	return answers[0].Last()
}
