package socket

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

var opGet = define(15, "Cache.Get", "get", verb[rpw.GetRequest, []rpw.Value]{
	opInfo: opInfo{reads: true},
	call: func(h *rpw.Hub, ctx context.Context, q rpw.GetRequest) ([]rpw.Value, error) {
		return inParts(ctx, q.Keys, func(ctx context.Context, keys []string) ([]rpw.Value, error) {
			q.Keys = keys
			return h.Cache().Get(ctx, q)
		}, sizeOfValues)
	},
	holds: func(q *rpw.GetRequest) int { return len(q.Keys) * rpw.MaxPayload },
	size:  sizeOfValues,
	access: func(q *rpw.GetRequest, n *needs) {
		for _, key := range q.Keys {
			n.add(Read, KindKey, key)
		}
	},
	fits: func(q *rpw.GetRequest, values *[]rpw.Value) bool { return len(q.Keys) == len(*values) },
})

var opSet = define(16, "Cache.Set", "set", verb[[]rpw.CacheSet, []error]{
	call: cache(rpw.Cache.Set),
	access: func(q *[]rpw.CacheSet, n *needs) {
		for i := range *q {
			n.add(Write, KindKey, (*q)[i].Key)
		}
	},
	fits: itemByItem[rpw.CacheSet, error],
})

var opDelete = define(17, "Cache.Delete", "delete", verb[[]rpw.CacheDelete, []rpw.CacheDeleted]{
	call: cache(rpw.Cache.Delete),
	access: func(q *[]rpw.CacheDelete, n *needs) {
		for i := range *q {
			n.add(Write, KindKey, (*q)[i].Key)
		}
	},
	fits: itemByItem[rpw.CacheDelete, rpw.CacheDeleted],
})

var opIncrement = define(18, "Cache.Increment", "increment", verb[[]rpw.CacheIncrement, []rpw.Counter]{
	call: cache(rpw.Cache.Increment),
	access: func(q *[]rpw.CacheIncrement, n *needs) {
		for i := range *q {
			n.add(Write, KindKey, (*q)[i].Key)
		}
	},
	fits: itemByItem[rpw.CacheIncrement, rpw.Counter],
})

var opScan = define(19, "Cache.Scan", "scan", verb[rpw.ScanRequest, rpw.ScanPage]{
	opInfo: opInfo{reads: true},
	call:   cache(rpw.Cache.Scan),
	access: func(_ *rpw.ScanRequest, n *needs) { n.add(Read, KindKey, "") },
	filter: func(l lister[rpw.ScanRequest, rpw.ScanPage], _ rpw.ScanRequest, page *rpw.ScanPage) error {
		page.Keys = visible(page.Keys, func(key string) bool { return l.see(KindKey, key) })
		return nil
	},
})

var opWriteLog = define(20, "Logs.Write", "write log", verb[rpw.WriteLogs, struct{}]{
	call: func(h *rpw.Hub, ctx context.Context, q rpw.WriteLogs) (struct{}, error) {
		return struct{}{}, h.Logs().Write(ctx, q)
	},
	access: func(q *rpw.WriteLogs, n *needs) {
		log := cmp.Or(q.Log, rpw.DefaultLog)
		n.add(Write, KindLog, log)
		n.trims(q.Keep, KindLog, log)
	},
})

var opQueryLog = define(21, "Logs.Query", "query log", verb[rpw.LogQuery, rpw.LogPage]{
	opInfo: opInfo{reads: true},
	call:   logs(rpw.LogSink.Query),
	access: func(q *rpw.LogQuery, n *needs) { n.add(Read, KindLog, cmp.Or(q.Log, rpw.DefaultLog)) },
	wait:   func(q *rpw.LogQuery) *time.Duration { return &q.Wait },
	holds:  func(q *rpw.LogQuery) int { return pageHolds(q.Max) },
	size:   sizeOfRecords,
})

// visiblePage keeps the items of a page that may be seen. Where the next page begins tells of the last item of this one, so a page ends with one that may be
// seen: a shorter page, or the next one, takes the place of a page that does not. at finds a request's cursor and Max, in a page's items and Next.
func visiblePage[Q, A, T any](l lister[Q, A], q Q, page *A, at func(q *Q) (cursor *string, most *int), in func(page *A) (items *[]T, next *string), see func(T) bool) error {
	cursor, most := at(&q)
	for wanted := *most; ; {
		items, next := in(page)
		n := len(*items)
		for n > 0 && !see((*items)[n-1]) {
			n--
		}
		if *next == "" || n > 0 && n == len(*items) {
			*items = visible(*items, see)
			return nil
		}
		if *most = n; n == 0 {
			*cursor, *most = *next, wanted
		}
		more, err := l.again(q)
		if err != nil {
			return err
		}
		*page = more
	}
}

// visible keeps the items that may be seen. The slice of an answer is the caller's.
func visible[T any](items []T, see func(T) bool) []T {
	return slices.DeleteFunc(items, func(item T) bool { return !see(item) })
}
