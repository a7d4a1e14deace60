package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

const servedToken = "CANARY-0123456789abcdef"

// served is a running rpw serve over a memory store.
type served struct {
	endpoint string
	stop     func() int // as a signal does; the exit code
	log      *strings.Builder
}

// startServing runs rpw serve with these flags beside --listen.
func startServing(t *testing.T, flags ...string) served {
	t.Helper()
	store := memory.New(memory.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	stderr, w := io.Pipe()
	code := make(chan int, 1)
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: w, env: func(string) string { return "" },
		open: func(_ context.Context, _ string, opts ...rpw.Option) (*rpw.Hub, error) {
			return rpw.New(store.Parts(), opts...)
		}}
	go func() {
		defer w.Close()
		code <- a.run(ctx, append([]string{"serve", "--url", "memory://", "--listen", "127.0.0.1:0"}, flags...))
	}()
	lines := bufio.NewScanner(stderr)
	s := served{log: new(strings.Builder)}
	for s.endpoint == "" && lines.Scan() {
		fmt.Fprintln(s.log, lines.Text())
		s.endpoint = regexp.MustCompile(`wss?://\S+`).FindString(lines.Text())
	}
	require.NotEmpty(t, s.endpoint, s.log)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
			fmt.Fprintln(s.log, lines.Text())
		}
	}()
	stopped := -1
	s.stop = func() int {
		if stopped < 0 {
			cancel()
			stopped = <-code
			<-drained
		}
		return stopped
	}
	t.Cleanup(func() { s.stop() })
	return s
}

// typed runs a command as a user types it, over the real drivers.
func typed(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs strings.Builder
	code = run(ctx, args, strings.NewReader(""), &out, &errs, func(string) string { return "" })
	return code, out.String(), errs.String()
}

func TestServeLetsAnyoneInWhenToldSo(t *testing.T) {
	s := startServing(t, "--allow-anonymous", "--vars")
	code, _, stderr := typed(t, "pub", "orders", "created", `{"n":1}`, "--url", s.endpoint)
	require.Zero(t, code, stderr)
	code, stdout, stderr := typed(t, "tail", "orders", "--from", "start", "--count", "1", "--json", "--url", s.endpoint)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, `"n":1`)

	base := "http" + strings.TrimSuffix(strings.TrimPrefix(s.endpoint, "ws"), "/ws")
	for path, status := range map[string]int{"/healthz": 200, "/readyz": 200, "/debug/vars": 200, "/elsewhere": 404, "/ws": http.StatusUpgradeRequired} {
		resp, err := http.Get(base + path)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, status, resp.StatusCode, path)
	}
	http.DefaultClient.CloseIdleConnections()
	assert.Zero(t, s.stop(), "a graceful stop")
}

// What the README says of edge processes, with another port.
func TestServeReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var endpoint string
	n := 0
	for line := range strings.Lines(string(readme)) {
		command, ok := strings.CutPrefix(line, "go run ./cmd/rpw ")
		if !ok || !strings.Contains(line, "127.0.0.1:8080") {
			continue
		}
		n++
		args := strings.Fields(strings.NewReplacer("'", "", "&", "", "ws://127.0.0.1:8080/ws", endpoint, "--url memory:// --listen 127.0.0.1:8080", "").Replace(command))
		if args[0] == "serve" {
			endpoint = startServing(t, args[1:]...).endpoint
			continue
		}
		code, _, stderr := typed(t, args...)
		require.Zero(t, code, "%s: %s", line, stderr)
	}
	assert.Equal(t, 3, n)
}

func TestServeByTokens(t *testing.T) {
	sum := sha256.Sum256([]byte(servedToken))
	tokens := fmt.Sprintf(`[{"name":"edge","sha256":%q,"grants":[{"rights":["read","write"],"streams":["orders"]}]}]`, hex.EncodeToString(sum[:]))
	inFile := filepath.Join(t.TempDir(), "tokens.json")
	require.NoError(t, os.WriteFile(inFile, []byte(`{"tokens":`+tokens+`}`), 0o600))
	config := filepath.Join(t.TempDir(), "rpw.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"path":"/edge","origin":["https://app.example.com"],"limits":{"Requests":16,"DrainTime":"100ms"},"tokens":`+tokens+`}`), 0o600))

	for name, flags := range map[string][]string{"file": {"--tokens", inFile}, "config": {"--config", config}} {
		t.Run(name, func(t *testing.T) {
			s := startServing(t, flags...)
			withToken := strings.Replace(s.endpoint, "ws://", "ws://:"+servedToken+"@", 1)
			code, _, stderr := typed(t, "pub", "orders", "created", `1`, "--url", withToken)
			require.Zero(t, code, stderr)
			code, _, stderr = typed(t, "pub", "invoices", "created", `1`, "--url", withToken)
			assert.Equal(t, 5, code, "no grant for it: %s", stderr)
			code, _, stderr = typed(t, "pub", "orders", "created", `1`, "--url", s.endpoint)
			assert.Equal(t, 5, code, "no token: %s", stderr)
			code, _, stderr = typed(t, "pub", "orders", "created", `1`, "--url", strings.Replace(s.endpoint, "ws://", "ws://:"+servedToken+"x@", 1))
			assert.Equal(t, 5, code, "another token: %s", stderr)
			assert.NotContains(t, stderr, servedToken)
			s.stop()
			assert.NotContains(t, s.log.String(), servedToken)
		})
	}
}

// A plain client of the original, without a subprotocol, on any path.
func TestServeOriginal(t *testing.T) {
	s := startServing(t, "--allow-anonymous", "--original")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, path := range []string{"/ws", "/", "/any/path"} {
		c, _, err := websocket.Dial(ctx, strings.TrimSuffix(s.endpoint, "/ws")+path, nil)
		require.NoError(t, err, path)
		require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(`{"type":"setVal","key":"k","value":{"a":1},"requestId":"1"}`)))
		_, reply, err := c.Read(ctx)
		require.NoError(t, err)
		assert.JSONEq(t, `{"response":true,"requestId":"1","ok":true}`, string(reply), path)
		require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	}
}

func TestServeRefusesWhatCannotBeMeant(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for name, c := range map[string]struct {
		flags []string
		says  string
	}{
		"nobody may come in":   {nil, "nobody could connect; say who may with --tokens"},
		"half of TLS":          {[]string{"--allow-anonymous", "--tls-cert", "x.pem"}, "go together"},
		"no path":              {[]string{"--allow-anonymous", "--path", "ws"}, "--path"},
		"a port that is none":  {[]string{"--allow-anonymous", "--listen", "127.0.0.1:99999"}, "cannot listen"},
		"any origin":           {[]string{"--allow-anonymous", "--origin", "*"}, "origin"},
		"no such file":         {[]string{"--tokens", filepath.Join(dir, "none")}, "no such file"},
		"a broken file":        {[]string{"--tokens", file("broken", `{"tokens":[{"name":"a","tokn":"`+servedToken+`"}]}`)}, "tokn"},
		"an unknown key":       {[]string{"--config", file("key", `{"listne":":1"}`)}, "listne"},
		"an unknown limit":     {[]string{"--config", file("limit", `{"limits":{"Reqests":1}}`)}, "Reqests"},
		"a limit that is none": {[]string{"--config", file("time", `{"limits":{"DrainTime":5}}`)}, "DrainTime"},
		"a value of no use":    {[]string{"--config", file("value", `{"allow-anonymous":"perhaps"}`)}, "allow-anonymous"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := typed(t, append([]string{"serve", "--url", "memory://"}, c.flags...)...)
			assert.Equal(t, exitUsage, code, stderr)
			assert.Contains(t, stderr, c.says)
			assert.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %s", stderr)
			assert.NotContains(t, stderr, servedToken)
		})
	}
}
