package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestSecretsStayOut: a secret shows neither in the log nor on the console, wherever it stands.
func TestSecretsStayOut(t *testing.T) {
	const canary = "canary-0815"
	type login struct {
		User     string
		Password rpw.Secret
		hidden   rpw.Secret
	}
	secret := rpw.Secret(canary)
	in := &login{"u", secret, secret}
	sink := &fakeSink{}
	hub := sinkHub(t, sink)
	var out bytes.Buffer
	log := slog.New(slog.NewMultiHandler(NewHandler(hub), Console(&out), Console(&out, ConsoleColor(true)))).With("with", secret)
	log.Info("values", "s", secret, "p", &secret, "in", in, "slice", []rpw.Secret{secret}, "map", map[string]any{"k": in},
		slog.Group("g", "s", secret), "err", fmt.Errorf("login with %s: %w", secret, fmt.Errorf("%q", secret)))
	require.NoError(t, hub.Close())
	stored, err := json.Marshal(sink.written())
	require.NoError(t, err)
	for _, text := range []string{string(stored), out.String()} {
		assert.NotContains(t, text, canary)
		assert.Contains(t, text, "***")
	}
}
