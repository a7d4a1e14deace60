package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// Streams implements rpw.StreamBus. Streams are spread over the nodes, and there is no index of them: each page walks the keys of
// all nodes with SCAN. A stream exists if it has entries, or if a verb has named it, which leaves its meta hash.
func (b *streamBus) Streams(ctx context.Context, req rpw.StreamsRequest) (page rpw.StreamsPage, err error) {
	if err := ctx.Err(); err != nil {
		return page, err
	}
	names := make(map[string]struct{})
	for _, scan := range []struct{ kind, pattern string }{
		{"stream", "*" + escapeGlob(b.keys.stream(req.Prefix).main) + "*"},
		{"hash", "{" + escapeGlob(b.keys.stream(req.Prefix).main) + "*}:*"},
	} {
		for _, node := range b.client.Nodes() {
			if err := b.scan(ctx, node, scan.kind, scan.pattern, func(key string) {
				name, ok := b.keys.streamName(key, scan.kind == "hash")
				_, _, dead := rpw.ParseDeadLetter(name)
				if ok && strings.HasPrefix(name, req.Prefix) && name > req.After && (req.DeadLetters || !dead) {
					names[name] = struct{}{}
				}
			}); err != nil {
				return page, err
			}
		}
	}
	page.Names = make([]string, 0, len(names))
	for name := range names {
		page.Names = append(page.Names, name)
	}
	slices.Sort(page.Names)
	if most := pageMax(req.Max, rpw.MaxPage); len(page.Names) > most {
		page.Names = slices.Clip(page.Names[:most])
		page.Next = page.Names[most-1]
	}
	return page, nil
}

// scan calls f for the keys of one node.
func (b *streamBus) scan(ctx context.Context, node rueidis.Client, kind, pattern string, f func(key string)) error {
	for cursor := uint64(0); ; {
		bounded, cancel := b.bounded(ctx)
		result := b.send(bounded, node, node.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Type(kind).Build())[0]
		cancel()
		if err := b.fault(ctx, result.Error(), false); err != nil {
			return err
		}
		entry, err := result.AsScanEntry()
		if err != nil {
			return badReply(err.Error())
		}
		for _, key := range entry.Elements {
			f(key)
		}
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}

// escapeGlob makes a text stand for itself in a pattern.
var globs = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

func escapeGlob(s string) string { return globs.Replace(s) }

// streamName is the stream that a key belongs to: its own, or its meta hash.
func (k keyspace) streamName(key string, meta bool) (name string, ok bool) {
	begin := k.stream("").main
	main, side, tagged := key, "", false
	if rest, found := strings.CutPrefix(key, "{"); found {
		main, side, tagged = strings.Cut(rest, "}:")
		if !tagged {
			return "", false
		}
	}
	name, ok = strings.CutPrefix(main, begin)
	if !ok || name == "" {
		return "", false
	}
	switch {
	case !tagged:
		return name, !meta
	case meta && side == "m":
		return name, true
	case !meta:
		group, dead := strings.CutPrefix(side, "dead:")
		return rpw.DeadLetter(name, group), dead
	}
	length, rest, found := strings.Cut(strings.TrimPrefix(side, "of-dead:"), ":")
	n, err := strconv.Atoi(length)
	if !found || err != nil || !strings.HasPrefix(side, "of-dead:") || len(rest) != n+len(":m") || rest[n:] != ":m" {
		return "", false
	}
	return rpw.DeadLetter(name, rest[:n]), true
}
