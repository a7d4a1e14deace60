package socket

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// The requests of methods that take more than one value.
type (
	locateRequest struct {
		Stream string
		At     rpw.Start
	}
	trimRequest struct {
		Stream string
		Keep   rpw.Retention
	}
	deleteEventsRequest struct {
		Stream string
		IDs    []rpw.ID
	}
)

var opPublish = define(1, "Streams.Publish", "publish", verb[[]rpw.Batch, []rpw.Published]{
	call: streams(rpw.StreamBus.Publish),
	access: func(q *[]rpw.Batch, n *needs) {
		for _, b := range *q {
			n.add(Write, KindStream, b.Stream)
			n.trims(b.Keep, KindStream, b.Stream)
		}
	},
	fits: func(q *[]rpw.Batch, answers *[]rpw.Published) bool {
		for i, a := range *answers {
			if i < len(*q) && a.Err == nil && len(a.Positions) != len((*q)[i].Events) {
				return false
			}
		}
		return itemByItem(q, answers)
	},
	bind: func(q *[]rpw.Batch, bind func(*[16]byte)) {
		for i := range *q {
			bind(&(*q)[i].Producer.ID)
		}
	},
})

var opLocate = define(2, "Streams.Locate", "locate", verb[locateRequest, rpw.Position]{
	opInfo: opInfo{reads: true},
	call: func(h *rpw.Hub, ctx context.Context, q locateRequest) (rpw.Position, error) {
		return h.Streams().Locate(ctx, q.Stream, q.At)
	},
	access: func(q *locateRequest, n *needs) { n.add(Read, KindStream, q.Stream) },
})

var opRead = define(3, "Streams.Read", "read", verb[rpw.ReadRequest, []rpw.Event]{
	opInfo: opInfo{reads: true},
	call:   streams(rpw.StreamBus.Read),
	access: func(q *rpw.ReadRequest, n *needs) { n.add(Read, KindStream, q.Stream) },
	wait:   func(q *rpw.ReadRequest) *time.Duration { return &q.Wait },
	holds:  func(q *rpw.ReadRequest) int { return pageHolds(q.Max) },
	size:   sizeOfEvents,
})

var opStreams = define(4, "Streams.Streams", "streams", verb[rpw.StreamsRequest, rpw.StreamsPage]{
	opInfo: opInfo{reads: true},
	call:   streams(rpw.StreamBus.Streams),
	access: func(_ *rpw.StreamsRequest, n *needs) { n.add(Read, KindStream, "") },
	filter: func(l lister[rpw.StreamsRequest, rpw.StreamsPage], q rpw.StreamsRequest, page *rpw.StreamsPage) error {
		return visiblePage(l, q, page,
			func(q *rpw.StreamsRequest) (*string, *int) { return &q.After, &q.Max },
			func(p *rpw.StreamsPage) (*[]string, *string) { return &p.Names, &p.Next },
			func(name string) bool { return l.see(KindStream, name) })
	},
})

var opStreamInfo = define(5, "Streams.StreamInfo", "stream info", verb[string, rpw.StreamInfo]{
	opInfo: opInfo{reads: true},
	call:   streams(rpw.StreamBus.StreamInfo),
	access: func(stream *string, n *needs) { n.add(Read, KindStream, *stream) },
})

var opTrim = define(6, "Streams.Trim", verbTrim, verb[trimRequest, int64]{
	call: func(h *rpw.Hub, ctx context.Context, q trimRequest) (int64, error) {
		return h.Streams().Trim(ctx, q.Stream, q.Keep)
	},
	access: func(q *trimRequest, n *needs) { n.add(Admin, KindStream, q.Stream) },
})

var opDeleteEvents = define(7, "Streams.DeleteEvents", "delete events", verb[deleteEventsRequest, int64]{
	call: func(h *rpw.Hub, ctx context.Context, q deleteEventsRequest) (int64, error) {
		return h.Streams().DeleteEvents(ctx, q.Stream, q.IDs)
	},
	access: func(q *deleteEventsRequest, n *needs) { n.add(Admin, KindStream, q.Stream) },
})

var opDeleteStream = define(8, "Streams.DeleteStream", "delete stream", verb[string, struct{}]{
	call: func(h *rpw.Hub, ctx context.Context, stream string) (struct{}, error) {
		return struct{}{}, h.Streams().DeleteStream(ctx, stream)
	},
	access: func(stream *string, n *needs) { n.add(Admin, KindStream, *stream) },
})

// EnsureGroup is what consumers begin with; changing a group is not.
var opEnsureGroup = define(9, "Streams.EnsureGroup", "ensure group", verb[rpw.GroupConfig, rpw.GroupInfo]{
	call: streams(rpw.StreamBus.EnsureGroup),
	access: func(q *rpw.GroupConfig, n *needs) {
		right := Consume
		if q.Update {
			right = Admin
		}
		n.add(right, KindStream, q.Stream)
	},
})

var opFetch = define(10, "Streams.Fetch", "fetch", verb[rpw.FetchRequest, []rpw.Delivery]{
	call:   streams(rpw.StreamBus.Fetch),
	access: func(q *rpw.FetchRequest, n *needs) { n.add(Consume, KindStream, q.Stream) },
	wait:   func(q *rpw.FetchRequest) *time.Duration { return &q.Wait },
	holds:  func(q *rpw.FetchRequest) int { return pageHolds(max(1, q.Max)) },
	size:   sizeOfDeliveries,
	bind:   func(q *rpw.FetchRequest, bind func(*[16]byte)) { bind(&q.Lane.ID) },
	undo: func(p rpw.Parts, ctx context.Context, q *rpw.FetchRequest, deliveries []rpw.Delivery) {
		back := make([]rpw.Settlement, len(deliveries))
		for i, d := range deliveries {
			back[i] = rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Release}
		}
		if len(back) > 0 { // what cannot be handed back is delivered again when its lease has lapsed
			p.Streams.Settle(ctx, rpw.SettleRequest{Stream: q.Stream, Group: q.Group, Settlements: back})
		}
	},
})

var opSettle = define(11, "Streams.Settle", "settle", verb[rpw.SettleRequest, []error]{
	call:   streams(rpw.StreamBus.Settle),
	access: func(q *rpw.SettleRequest, n *needs) { n.add(Consume, KindStream, q.Stream) },
	fits:   func(q *rpw.SettleRequest, errs *[]error) bool { return len(q.Settlements) == len(*errs) },
	bind:   func(q *rpw.SettleRequest, bind func(*[16]byte)) { bind(&q.Lane.ID) },
})

var opGroups = define(12, "Streams.Groups", "groups", verb[string, []rpw.GroupInfo]{
	opInfo: opInfo{reads: true},
	call:   streams(rpw.StreamBus.Groups),
	access: func(stream *string, n *needs) { n.add(Read, KindStream, *stream) },
})

var opPending = define(13, "Streams.Pending", "pending", verb[rpw.PendingRequest, rpw.PendingPage]{
	opInfo: opInfo{reads: true},
	call:   streams(rpw.StreamBus.Pending),
	access: func(q *rpw.PendingRequest, n *needs) { n.add(Read, KindStream, q.Stream) },
})

var opAdminister = define(14, "Streams.Administer", "administer", verb[rpw.GroupCommands, []rpw.GroupAnswer]{
	call: streams(rpw.StreamBus.Administer),
	access: func(q *rpw.GroupCommands, n *needs) {
		for _, cmd := range q.Commands {
			n.add(Admin, KindStream, cmd.Stream)
		}
	},
	fits: func(q *rpw.GroupCommands, answers *[]rpw.GroupAnswer) bool {
		return len(q.Commands) == len(*answers)
	},
	bind: func(q *rpw.GroupCommands, bind func(*[16]byte)) { bind(&q.Lane.ID) },
})
