package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestPub(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		id := strings.TrimSpace(b.ok("pub", "s", "write", `{"path":"cat.png"}`, "--header", "trace=7"))
		first := b.lines("pub", "s", "write", "2", "--key", "k")[0]
		again := b.lines("pub", "s", "write", "2", "--key", "k")[0]
		assert.Equal(t, first, again, "a key is stored once")
		b.ok("pub", "s", "null")

		events, err := b.hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s"})
		require.NoError(t, err)
		require.Len(t, events, 3)
		assert.Equal(t, id, events[0].ID.String())
		assert.Equal(t, `{"path":"cat.png"}`, string(events[0].Data))
		assert.Equal(t, map[string]string{"trace": "7"}, events[0].Header)
		assert.Equal(t, first["position"], events[1].Position().String())
		assert.Equal(t, first["id"], events[1].ID.String())
		assert.Equal(t, "null", string(events[2].Data))

		b.fails(exitUsage, "DATA is not JSON: invalid character 'h'", "pub", "s", "t", "hello")
		b.fails(exitUsage, "too large", "pub", "s", "t", `"`+strings.Repeat("x", rpw.MaxPayload)+`"`)
	})
}

func TestPubFromStdin(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		const n = 2500 // more than two batches
		var in strings.Builder
		for i := range n {
			fmt.Fprintf(&in, "  %d\r\n\n", i)
		}
		b.stdin = strings.NewReader(in.String())
		assert.Equal(t, n, strings.Count(b.ok("pub", "s", "n", "-"), "\n"))
		lines := objects(t, b.ok("tail", "s", "--from", "start", "--no-follow", "--json"))
		require.Len(t, lines, n)
		for i, line := range lines {
			require.EqualValues(t, i, line["data"])
		}

		b.stdin = strings.NewReader("1\n2\n\n{\n4\n")
		r := b.run("pub", "bad", "n", "-")
		assert.Equal(t, exitUsage, r.code)
		assert.Contains(t, r.stderr, "line 4: DATA is not JSON")
		assert.Equal(t, 2, strings.Count(r.stdout, "\n"), "those before it are stored")

		b.stdin = strings.NewReader("1\n\"" + strings.Repeat("x", rpw.MaxPayload+9) + "\"\n")
		r = b.run("pub", "long", "n", "-")
		assert.Equal(t, exitUsage, r.code)
		assert.Contains(t, r.stderr, "rpw: line 2: too large")
		assert.Equal(t, 1, strings.Count(r.stdout, "\n"))
	})
}

// A slow pipe: each line is stored when it comes.
func TestPubFromPipe(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		in, out := io.Pipe()
		b.stdin = in
		p := b.start("pub", "s", "n", "-")
		for i := range 3 {
			fmt.Fprintln(out, i)
			synctest.Wait()
			assert.Equal(t, i+1, strings.Count(p.stdout.String(), "\n"))
		}
		p.interrupt()
		assert.Equal(t, exitInterrupted, p.wait().code, "also while it waits for a line")
		out.Close()
	})
}

func TestTail(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.publish("s", "old", "0")
		p := b.start("tail", "s")
		b.publish("s", "write", `{"path":"cat.png"}`)
		synctest.Wait()
		assert.True(t, strings.HasSuffix(p.stdout.String(), `-1  write  {"path":"cat.png"}`+"\n"), p.stdout.String())
		assert.Equal(t, 1, strings.Count(p.stdout.String(), "\n"), "from now on")
		p.interrupt()
		assert.Equal(t, exitOK, p.wait().code, "it has no other end")

		p = b.start("tail", "s", "--count", "2", "--type", "write,remove")
		for _, kind := range []string{"write", "other", "remove", "write"} {
			b.publish("s", kind, "1")
		}
		assert.Equal(t, 2, strings.Count(p.wait().stdout, "\n"))

		p = b.start("tail", "s", "--count", "1")
		p.interrupt()
		assert.Equal(t, exitInterrupted, p.wait().code, "it had not seen all")
	})
}

func TestTailFrom(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		var at []rpw.Position
		for i := range 5 {
			at = append(at, b.publish("s", "n", fmt.Sprint(i)))
			time.Sleep(time.Hour) // virtual
		}
		seen := func(args ...string) (data []string) {
			for _, line := range b.lines(append([]string{"tail", "s", "--no-follow"}, args...)...) {
				data = append(data, fmt.Sprint(line["data"]))
			}
			return data
		}
		assert.Equal(t, []string{"0", "1", "2", "3", "4"}, seen("--from", "start"))
		assert.Empty(t, seen("--from", "now"))
		assert.Empty(t, seen())
		assert.Equal(t, []string{"3", "4"}, seen("--last", "2"))
		assert.Equal(t, []string{"2", "3"}, seen("--from", at[1].ID.String(), "--count", "2"))
		assert.Equal(t, []string{"2", "3", "4"}, seen("--from", at[1].String()))
		assert.Equal(t, []string{"3", "4"}, seen("--from", "2h"))
		assert.Equal(t, []string{"3", "4"}, seen("--from", "2h ago"))
		assert.Equal(t, []string{"1", "2", "3", "4"}, seen("--from", at[1].ID.Time().Format(time.RFC3339)))
		assert.Equal(t, []string{"0", "1", "2", "3", "4"}, seen("--from", "1d"))

		first := b.lines("tail", "s", "--from", "start", "--count", "1")[0]
		assert.Equal(t, map[string]any{
			"id": at[0].ID.String(), "time": at[0].ID.Time().UTC().Format(time.RFC3339), "type": "n", "data": 0.0, "position": at[0].String(),
		}, first)
	})
}

// A look begins no stream, and a name that is wrong is told.
func TestTailOfNothing(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		for _, args := range [][]string{nil, {"--from", "start"}, {"--last", "3"}, {"--from", "1h"}} {
			b.fails(3, "does not exist", append([]string{"tail", "typo", "--no-follow"}, args...)...)
		}
		assert.Empty(t, b.ok("tail", rpw.DeadLetter("orders", "billing"), "--from", "start", "--no-follow"))
		assert.Empty(t, b.ok("stream", "ls", "--json"))

		from := b.publish("gone", "n", "0").String()
		b.ok("stream", "delete", "gone")
		b.fails(8, "gap (reset)", "tail", "gone", "--from", from, "--no-follow")
	})
}

func TestTailGap(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		from := b.publish("s", "n", "0").String()
		for i := 1; i < 2000; i++ {
			b.publish("s", "n", fmt.Sprint(i))
		}
		_, err := b.hub.Streams().Trim(t.Context(), "s", rpw.Retention{Events: 10})
		require.NoError(t, err)
		info, err := b.hub.Streams().StreamInfo(t.Context(), "s")
		require.NoError(t, err)
		left := int(info.Events)

		for _, follow := range [][]string{{"--no-follow"}, {"--count", "1"}} {
			args := append([]string{"tail", "s", "--from", from}, follow...)
			b.fails(8, "events are missing", args...)
			b.fails(8, "gap (trimmed)", append(args, "--on-gap", "stop")...)
			r := b.run(append(args, "--json")...)
			gap := objects(t, r.stdout)[0]["gap"].(map[string]any)
			assert.Equal(t, "trimmed", gap["kind"])
			assert.EqualValues(t, 2000-1-left, gap["missed"])
			assert.Equal(t, from, gap["after"])
		}
		for _, policy := range []string{"continue", "replay"} {
			r := b.run("tail", "s", "--from", from, "--no-follow", "--on-gap", policy)
			assert.Equal(t, exitOK, r.code)
			assert.Contains(t, r.stderr, "events are missing")
			assert.Equal(t, left, strings.Count(r.stdout, "\n"))
		}
	})
}

// What others write is no JSON, and no friend of terminals.
func TestTailHostile(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		_, err := b.hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{
			{Type: "raw", Data: []byte(hostile), Header: map[string]string{"h": strings.ReplaceAll(hostile, "\x00", "")}},
			{Type: "text", Data: []byte("caf\u00e9\x1b\u202e"), Key: "k"},
			{Type: "json", Data: []byte("\"\x7f\u009b\u202e\U000e0001\xff\"")},
			{Type: "empty"},
		}}})
		require.NoError(t, err)
		out := b.ok("tail", "s", "--from", "start", "--count", "4")
		harmless(t, out)
		assert.Equal(t, 4, strings.Count(out, "\n"))
		assert.Contains(t, out, `  raw  \x1b[31mred`)
		assert.Contains(t, out, "  key=k\n")
		assert.Contains(t, out, "  empty  -\n")

		out = b.ok("tail", "s", "--from", "start", "--count", "4", "--json")
		harmless(t, out)
		lines := objects(t, out)
		assert.NotEmpty(t, lines[0]["base64"])
		assert.Equal(t, "caf\u00e9\x1b\u202e", lines[1]["text"])
		assert.Equal(t, "\x7f\u009b\u202e\U000e0001\ufffd", lines[2]["data"])
		assert.Equal(t, "", lines[3]["text"])
	})
}
