package main

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRoughly(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"900ns": 900, "1.5ms": 1540 * time.Microsecond, "2.3s": 2345 * time.Millisecond, "10m10s": 10*time.Minute + 10*time.Second,
		"10m": 10 * time.Minute, "1h": time.Hour, "1h10m": 70 * time.Minute, "20h0m5s": 20*time.Hour + 5*time.Second, "3d4h": 76*time.Hour + time.Minute,
	} {
		assert.Equal(t, want, roughly(d))
	}
}

func TestText(t *testing.T) {
	assert.Equal(t, "-", text(""))
	assert.Equal(t, "-", text(time.Time{}))
	assert.Equal(t, "-", text(time.Duration(0)))
	assert.Equal(t, "0", text(0))
	harmless(t, text(hostile))
	harmless(t, text([]byte(hostile)))
	harmless(t, text(json.RawMessage(hostile)))
	assert.Equal(t, "äöü…", short("äöüß", 3))
	assert.Equal(t, "äöüß", short("äöüß", 4))
}

// What doctor tells to type is safe to paste, whatever the names are.
func TestWords(t *testing.T) {
	for _, s := range []string{"plain-1.2:a/b", "orders!dead!billing", "$(touch x)`id`", "it's", "a b", "-x", "", `"`, "~/a", "a;b&c|d>e", "日本"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		require.NoError(t, err, s)
		assert.Equal(t, s, string(out))
	}
	assert.Equal(t, "plain-1.2:a/b 'a b'", words("plain-1.2:a/b", "a b"))
	assert.Equal(t, "-- orders --url", words("orders", "--url"))
}

// JSON on a terminal is harmless, and is the same value.
func TestJSONLine(t *testing.T) {
	for _, s := range []string{hostile, "plain <b>&", "äöü 日本 🙂", "\U000e0001"} {
		line, err := jsonLine(s)
		require.NoError(t, err)
		harmless(t, string(line))
		var back, plain string
		require.NoError(t, json.Unmarshal(line, &back))
		marshalled, _ := json.Marshal(s)
		require.NoError(t, json.Unmarshal(marshalled, &plain))
		assert.Equal(t, plain, back)
	}
	line, err := jsonLine("äöü <🙂>")
	require.NoError(t, err)
	assert.Equal(t, "\"äöü <🙂>\"\n", string(line), "what is harmless stays readable")
}
