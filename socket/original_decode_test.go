package socket

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecodeOriginal(t *testing.T) {
	m, err := decodeOriginal([]byte("\t{ \"type\" : \"getVal\" ,\r\n\"k\\u0065y\":[ {\"key\":\"]}\\\"\\\\\"} , -1.5e3 ],\"data\":12345678901234567890 , \"KEY\":0,\"\":{} }\n"))
	require.NoError(t, err)
	assert.Equal(t, `[ {"key":"]}\"\\"} , -1.5e3 ]`, string(m[fieldKey]))
	assert.Equal(t, "12345678901234567890", string(m[fieldData]))
	assert.Nil(t, m[fieldStream])

	deep := func(n int) string { return strings.Repeat(`{"x":[`, n/2) + strings.Repeat(`]}`, n/2) }
	for frame, want := range map[string]error{
		`{"type":"x","requestMeta":` + deep(originalDepth) + `}`:   nil,
		`{"type":"x","requestMeta":` + deep(originalDepth+2) + `}`: errOriginalFormat,
		`{"type":"x","data":` + deep(9_000) + `}`:                  nil,
		`{"type":"x","value":` + deep(20_000) + `}`:                errOriginalJSON,
		`{"type":"x","type":"x"}`:                                  errOriginalFormat,
		`{"type":"x","data":1,"data":1}`:                           errOriginalFormat,
		`{"type":"x","other":1,"other":1,"Type":"y"}`:              nil,
		`{"type":null}`:           errOriginalFormat,
		`{}`:                      errOriginalFormat,
		`{"type":"x"},`:           errOriginalJSON,
		"\ufeff{\"type\":\"x\"}":  errOriginalJSON,
		`{"type":"x","data":NaN}`: errOriginalJSON,
		`{"type":"x","data":0x1}`: errOriginalJSON,
		`{'type':'x'}`:            errOriginalJSON,
	} {
		_, err := decodeOriginal([]byte(frame))
		assert.Equal(t, want, err, "%.60s", frame)
	}
}

// TestJavaScript: what JavaScript takes for true, and the text it makes of a number.
func TestJavaScript(t *testing.T) {
	for value, want := range map[string]bool{
		``: false, `null`: false, `false`: false, `0`: false, `-0`: false, `0.000e10`: false, `1e-999`: false, `""`: false,
		`true`: true, `1`: true, `-0.1`: true, `1e999`: true, `"0"`: true, `" "`: true, `[]`: true, `{}`: true,
	} {
		assert.Equal(t, want, truthy(json.RawMessage(value)), value)
	}
	for value, want := range map[string]string{
		`"a\u00e9\n"`: "aé\n", `"\ud83d\ude00"`: "😀", `"\ud800"`: "\uFFFD", `7`: "7", `7.0`: "7", `1795399404210`: "1795399404210", `1e21`: "1e+21", `0.1`: "0.1", `1e-7`: "1e-7",
		`9007199254740993`: "9007199254740992", `1e999`: "", `true`: "", `{}`: "", `[1]`: "", ``: "",
	} {
		assert.Equal(t, want, jsonText(json.RawMessage(value)), value)
	}
}

func TestAppendText(t *testing.T) {
	for _, text := range []string{"", "plain", "<&>", "\"\\\n\x00\x1f\x7f", "é€😀\u2028", "a\xffb"} {
		var back string
		require.NoError(t, json.Unmarshal(appendText(nil, text), &back))
		assert.Equal(t, strings.ToValidUTF8(text, "\uFFFD"), back)
	}
}

// FuzzOriginal feeds frames to the decoder: it takes what encoding/json and JavaScript take, what it answers is JSON, and its memory is bounded.
func FuzzOriginal(f *testing.F) {
	for _, seed := range []string{
		`{"type":"listen","stream":"s","requestId":"i","requestMeta":{"a":[1]}}`,
		`{"type":"publish","stream":12,"eventType":7,"data":{"b":"\ud800\\"},"requestId":42}`,
		`{"type":"getStreamValues","stream":"s","start":"(1-2","end":3,"count":"2","ignorePrefix":false}`,
		`{"type":"setVal","key":"k","value":null} `, `{"type":"delKeys","pattern":"[^a-c]\\*?"}`, `{"error":{"x":1},"type":true}`, `[]`, `{"a":{"b":[}`, "\xff", ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r originalRequest
		var err error
		used := uint64(math.MaxUint64)
		for try := 0; try < 3 && used > 4*uint64(len(data))+64<<10; try++ { // others allocate, too
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err = parseOriginal(websocket.MessageText, bytes.Clone(data))
			runtime.ReadMemStats(&after)
			used = after.TotalAlloc - before.TotalAlloc
		}
		require.LessOrEqual(t, used, 4*uint64(len(data))+64<<10)
		require.Equal(t, utf8.Valid(data), !isClose(err))
		if isClose(err) {
			return
		}
		answer := r.failure(errOriginalMessage)
		if err != nil {
			answer = r.failure(err)
		}
		require.True(t, json.Valid(answer), "%s", answer)
		require.Equal(t, json.Valid(data), err != errOriginalJSON)
		if err == errOriginalJSON || err == errOriginalFormat {
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data, &want))
		for field, name := range originalFieldNames {
			require.Equal(t, string(want[name]), string(r.message[field]), name)
		}
		if err == nil && r.verb.subject == fieldPattern {
			g, begin, whole := parseGlob(r.name)
			require.True(t, !whole || g.match(begin))
		}
		_, _ = countOf(r.message[fieldCount])
		_, _, _ = rangeOf(r.message[fieldStart], r.message[fieldEnd])
	})
}

func isClose(err error) bool {
	_, ok := err.(websocket.CloseError)
	return ok
}
