package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// scanCursor is a place in a scan: the shards are walked one after the other, each in order of insertion up to where it
// ended when the scan came to it, so that a scan ends even while others insert.
type scanCursor struct {
	shard     int
	seq, last uint64 // the next entry, and the end; both 0: the shard was not begun
}

// scanStep is how many entries a page looks at, at most.
const scanStep = 2 * rpw.MaxPage

func (c scanCursor) String() string { return fmt.Sprintf("%d.%d.%d", c.shard, c.seq, c.last) }

func parseScanCursor(text string) (c scanCursor, err error) {
	if text == "" {
		return c, nil
	}
	if _, err := fmt.Sscanf(text, "%d.%d.%d", &c.shard, &c.seq, &c.last); err != nil || c.shard < 0 || c.String() != text {
		return c, rpw.Errorf(rpw.ErrInvalid, "%s is no cursor of a scan; use the Next of a page as it was given", rpw.QuoteName(text))
	}
	return c, nil
}

// Scan implements rpw.Cache.
func (c *cacheStore) Scan(ctx context.Context, req rpw.ScanRequest) (page rpw.ScanPage, err error) {
	if err := ctx.Err(); err != nil {
		return page, err
	}
	at, err := parseScanCursor(req.Cursor)
	if err != nil {
		return page, err
	}
	now := time.Now()
	most, looks := pageSize(req.Max, rpw.MaxPage), scanStep
	for at.shard < cacheShards {
		if len(page.Keys) == most || looks == 0 {
			page.Next = at.String()
			break
		}
		page.Keys, looks = c.shards[at.shard].scan(&at, req.Prefix, page.Keys, most, looks, now)
	}
	return page, nil
}

// scan adds keys to a page until it has most keys, the looks are used up, or the shard ends; then the cursor is at the next shard. It
// returns the looks that are left.
func (s *cacheShard) scan(at *scanCursor, prefix string, keys []string, most, looks int, now time.Time) ([]string, int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if at.seq == 0 && at.last == 0 {
		at.last = s.next
	}
	i, _ := slices.BinarySearchFunc(s.inserted, at.seq, func(e *cacheEntry, seq uint64) int { return cmp.Compare(e.seq, seq) })
	for ; i < len(s.inserted) && s.inserted[i].seq < at.last; i++ {
		if len(keys) == most || looks == 0 {
			return keys, looks
		}
		e := s.inserted[i]
		at.seq = e.seq + 1
		looks--
		if !e.gone && !e.expired(now) && strings.HasPrefix(e.key, prefix) {
			keys = append(keys, e.key)
		}
	}
	*at = scanCursor{shard: at.shard + 1}
	return keys, looks
}
