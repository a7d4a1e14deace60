package socket

import (
	"context"

	"github.com/redis-process-worker/rpw"
)

// parts are the contracts over a link.
func (l *remote) parts() rpw.Parts {
	return rpw.Parts{
		Name:    "socket",
		Streams: remoteStreams{l},
		Cache:   remoteCache{l},
		Logs:    remoteLogs{l},
		Actions: remoteActions{l},
		Health: func(ctx context.Context) error {
			_, err := call(ctx, l, opHealth, struct{}{})
			return err
		},
		Close: l.close,
	}
}

type remoteStreams struct{ l *remote }

var _ rpw.StreamBus = remoteStreams{}

func (r remoteStreams) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	return call(ctx, r.l, opPublish, batches)
}

func (r remoteStreams) Locate(ctx context.Context, stream string, at rpw.Start) (rpw.Position, error) {
	return call(ctx, r.l, opLocate, locateRequest{stream, at})
}

func (r remoteStreams) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	return call(ctx, r.l, opRead, req)
}

func (r remoteStreams) Streams(ctx context.Context, req rpw.StreamsRequest) (rpw.StreamsPage, error) {
	return call(ctx, r.l, opStreams, req)
}

func (r remoteStreams) StreamInfo(ctx context.Context, stream string) (rpw.StreamInfo, error) {
	return call(ctx, r.l, opStreamInfo, stream)
}

func (r remoteStreams) Trim(ctx context.Context, stream string, keep rpw.Retention) (int64, error) {
	return call(ctx, r.l, opTrim, trimRequest{stream, keep})
}

func (r remoteStreams) DeleteEvents(ctx context.Context, stream string, ids []rpw.ID) (int64, error) {
	return call(ctx, r.l, opDeleteEvents, deleteEventsRequest{stream, ids})
}

func (r remoteStreams) DeleteStream(ctx context.Context, stream string) error {
	_, err := call(ctx, r.l, opDeleteStream, stream)
	return err
}

func (r remoteStreams) EnsureGroup(ctx context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error) {
	return call(ctx, r.l, opEnsureGroup, cfg)
}

func (r remoteStreams) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return call(ctx, r.l, opFetch, req)
}

func (r remoteStreams) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	return call(ctx, r.l, opSettle, req)
}

func (r remoteStreams) Groups(ctx context.Context, stream string) ([]rpw.GroupInfo, error) {
	return call(ctx, r.l, opGroups, stream)
}

func (r remoteStreams) Pending(ctx context.Context, req rpw.PendingRequest) (rpw.PendingPage, error) {
	return call(ctx, r.l, opPending, req)
}

func (r remoteStreams) Administer(ctx context.Context, req rpw.GroupCommands) ([]rpw.GroupAnswer, error) {
	return call(ctx, r.l, opAdminister, req)
}

type remoteCache struct{ l *remote }

var _ rpw.Cache = remoteCache{}

func (r remoteCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	return call(ctx, r.l, opGet, req)
}

func (r remoteCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	return call(ctx, r.l, opSet, items)
}

func (r remoteCache) Delete(ctx context.Context, items []rpw.CacheDelete) ([]rpw.CacheDeleted, error) {
	return call(ctx, r.l, opDelete, items)
}

func (r remoteCache) Increment(ctx context.Context, items []rpw.CacheIncrement) ([]rpw.Counter, error) {
	return call(ctx, r.l, opIncrement, items)
}

func (r remoteCache) Scan(ctx context.Context, req rpw.ScanRequest) (rpw.ScanPage, error) {
	return call(ctx, r.l, opScan, req)
}

type remoteLogs struct{ l *remote }

var _ rpw.LogSink = remoteLogs{}

func (r remoteLogs) Write(ctx context.Context, req rpw.WriteLogs) error {
	_, err := call(ctx, r.l, opWriteLog, req)
	return err
}

func (r remoteLogs) Query(ctx context.Context, q rpw.LogQuery) (rpw.LogPage, error) {
	return call(ctx, r.l, opQueryLog, q)
}

type remoteActions struct{ l *remote }

var _ rpw.ActionStore = remoteActions{}

func (r remoteActions) Enqueue(ctx context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	return call(ctx, r.l, opEnqueue, specs)
}

func (r remoteActions) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	return call(ctx, r.l, opClaim, req)
}

func (r remoteActions) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	return call(ctx, r.l, opAdvance, req)
}

func (r remoteActions) Control(ctx context.Context, req rpw.ControlRequest) ([]rpw.Controlled, error) {
	return call(ctx, r.l, opControl, req)
}

func (r remoteActions) Get(ctx context.Context, refs []rpw.ActionRef) ([]rpw.GotAction, error) {
	return call(ctx, r.l, opGetAction, refs)
}

func (r remoteActions) List(ctx context.Context, req rpw.ListActions) (rpw.ActionsPage, error) {
	return call(ctx, r.l, opListActions, req)
}

func (r remoteActions) Count(ctx context.Context, filter rpw.ActionFilter) (map[rpw.State]int64, error) {
	return call(ctx, r.l, opCountActions, filter)
}

func (r remoteActions) Queues(ctx context.Context, req rpw.QueuesRequest) (rpw.QueuesPage, error) {
	return call(ctx, r.l, opQueues, req)
}

func (r remoteActions) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	return call(ctx, r.l, opChanges, req)
}

func (r remoteActions) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	return call(ctx, r.l, opHeartbeat, hb)
}

func (r remoteActions) Workers(ctx context.Context, req rpw.WorkersRequest) (rpw.WorkersPage, error) {
	return call(ctx, r.l, opWorkers, req)
}
