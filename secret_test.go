package rpw_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestSecretNeverShows(t *testing.T) {
	const canary = "canary-4711"
	type account struct {
		User     string
		Password rpw.Secret
		Former   []rpw.Secret
		ByHost   map[string]rpw.Secret
	}
	s := rpw.Secret(canary)
	holder := account{"u", s, []rpw.Secret{s}, map[string]rpw.Secret{"h": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%10s", "%-3v"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", holder)
	}
	data, err := json.Marshal(holder)
	require.NoError(t, err)
	assert.JSONEq(t, `{"User":"u","Password":"***","Former":["***"],"ByHost":{"h":"***"}}`, string(data))
	out.Write(data)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "s", s, "p", &s, "holder", holder, "err", errors.New(s.String()))
	}
	out.WriteString(s.GoString())
	out.WriteString(errors.Join(fmt.Errorf("login with %s failed", s)).Error())
	assert.NotContains(t, out.String(), canary)
	assert.NotContains(t, out.String(), fmt.Sprintf("%x", canary))
	assert.Contains(t, out.String(), "***")
}

func TestSecretReads(t *testing.T) {
	var account struct{ Password rpw.Secret }
	require.NoError(t, json.Unmarshal([]byte(`{"Password":"open sesame"}`), &account))
	assert.Equal(t, "open sesame", string(account.Password))
}
