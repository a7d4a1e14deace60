package redis

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// scanCursor is a place in a scan: nodes are scanned one after the other, in the order of their addresses. Its text is "cursor",
// followed by "@" and the address in a cluster.
type scanCursor struct {
	node string // "" before the first
	at   uint64 // 0 at the beginning of the node
}

func (c scanCursor) String() string {
	text := strconv.FormatUint(c.at, 10)
	if c.node != "" {
		text += "@" + c.node
	}
	return text
}

func parseScanCursor(text string) (c scanCursor, err error) {
	if text == "" {
		return c, nil
	}
	at, node, _ := strings.Cut(text, "@")
	if c.at, err = strconv.ParseUint(at, 10, 64); err != nil {
		return c, rpw.Errorf(rpw.ErrInvalid, "%s is no cursor of a scan; use the Next of a page as it was given", rpw.QuoteName(text))
	}
	c.node = node
	return c, nil
}

// scanLooks is how many keys a page looks at, at least: most of them may be no cache values.
const scanLooks = 256

// Scan implements rpw.Cache. A page holds a little more than Max at times. In a cluster, keys whose slot moves while a scan runs can be missed.
func (c cache) Scan(ctx context.Context, req rpw.ScanRequest) (page rpw.ScanPage, err error) {
	cursor, err := parseScanCursor(req.Cursor)
	if err != nil {
		return page, err
	}
	if err := ctx.Err(); err != nil {
		return page, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes := map[string]rueidis.Client{"": c.client}
	if c.clustered() {
		nodes = c.client.Nodes()
	}
	order := slices.Sorted(maps.Keys(nodes))
	i, same := slices.BinarySearch(order, cursor.node)
	if !same {
		cursor.at = 0 // the node is gone
	}
	if i == len(order) {
		return page, nil
	}
	found, next, err := c.scanNode(ctx, nodes[order[i]], cursor.at, req)
	if err != nil {
		return page, err
	}
	page.Keys = found
	switch {
	case next != 0:
		page.Next = scanCursor{order[i], next}.String()
	case i+1 < len(order):
		page.Next = scanCursor{order[i+1], 0}.String()
	}
	return page, nil
}

// scanNode reads a page of one node, nothing if that is a replica.
func (c cache) scanNode(ctx context.Context, node rueidis.Client, at uint64, req rpw.ScanRequest) (keys []string, next uint64, err error) {
	bounded, cancel := c.bounded(ctx)
	defer cancel()
	before := c.keys.cache("")
	looks := int64(max(req.Max, scanLooks))
	commands := []rueidis.Completed{node.B().Scan().Cursor(at).Match(globEscape.Replace(before+req.Prefix) + "*").Count(looks).Type("string").Build()}
	if c.clustered() {
		commands = append(commands, node.B().Role().Build())
	}
	results := c.send(bounded, node, commands...)
	for _, result := range results {
		if err := result.Error(); err != nil {
			return nil, 0, classify(ctx, err, false)
		}
	}
	if len(results) > 1 {
		role, err := results[1].ToArray()
		if err != nil || len(role) == 0 {
			return nil, 0, rpw.Errorf(rpw.ErrUnavailable, "the role of a node is unknown")
		}
		if name, _ := role[0].ToString(); name != "master" {
			return nil, 0, nil
		}
	}
	entry, err := results[0].AsScanEntry()
	if err != nil {
		return nil, 0, err
	}
	keys = entry.Elements[:0]
	for _, key := range entry.Elements {
		if key = key[len(before):]; !strings.Contains(key, "{") { // which has a side key, in the original's layout
			keys = append(keys, key)
		}
	}
	return keys, entry.Cursor, nil
}

// globEscape makes a pattern of text that matches itself alone.
var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
