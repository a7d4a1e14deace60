package redis

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// deed is something that a program does. Deeds are done in their order, each for itself.
type deed struct {
	of      string // the first role that may do it
	name    string
	command string // what is missing where it may not be done
	do      func(ctx context.Context, h *rpw.Hub, s *scene) error
}

// scene is what the deeds are done to.
type scene struct {
	held    rpw.Claimed    // by the worker "w"
	event   rpw.Delivery   // to the consumer "c" of the group "g"
	spare   rpw.Delivery   // another one
	pending rpw.ActionRef  // an action that waits
	oldest  []rpw.Position // of the stream "s"
}

var roleOrder = []string{"observer", "producer", "worker", "gateway"}

func job(id string) rpw.ActionSpec {
	return rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: id}, Name: "job"}
}

// setScene puts something into everything. The admin may do all.
func setScene(t *testing.T, admin *rpw.Hub) *scene {
	t.Helper()
	ctx, s := t.Context(), new(scene)
	published, err := admin.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Events: slices.Repeat([]rpw.NewEvent{{Type: "e", Data: []byte("1")}}, 10)}})
	require.NoError(t, err)
	s.oldest = published[0].Positions
	_, err = admin.Streams().EnsureGroup(ctx, rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest()})
	require.NoError(t, err)
	got, err := admin.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 3})
	require.NoError(t, err)
	s.event, s.spare = got[0], got[1]
	_, err = admin.Streams().Settle(ctx, rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: got[2].Receipt, Verdict: rpw.Reject}}})
	require.NoError(t, err)
	_, err = admin.Actions().Enqueue(ctx, []rpw.ActionSpec{job("1"), job("2"), job("3")})
	require.NoError(t, err)
	claimed, err := admin.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Lease: time.Hour})
	require.NoError(t, err)
	s.held, s.pending = claimed[0], job("3").Ref
	_, err = admin.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: "w", Name: "w", Status: rpw.WorkerBusy}, TTL: time.Hour})
	require.NoError(t, err)
	require.NoError(t, admin.Logs().Write(ctx, rpw.WriteLogs{Records: []rpw.LogRecord{{Message: "m"}}}))
	require.NoError(t, rpw.Set(ctx, admin, "k", 1, rpw.TTL(rpw.NoTTL)))
	return s
}

// first is the error of a call, or of its first item.
func first(err error, items ...error) error {
	for _, item := range items {
		if err == nil {
			err = item
		}
	}
	return err
}

func command(kind rpw.CommandKind) deed {
	return deed{"gateway", "command " + string(rune('0'+kind)), "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		ref := s.pending
		if kind == rpw.Pause || kind == rpw.Resume {
			ref.ID = ""
		}
		answers, err := h.Actions().Control(ctx, rpw.ControlRequest{Commands: []rpw.Command{{Kind: kind, Ref: ref}}})
		if err == nil {
			err = answers[0].Err
		}
		return err
	}}
}

func administer(cmd rpw.GroupCommand) deed {
	cmd.Stream, cmd.Group = "s", "g"
	return deed{"gateway", "administer", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		answers, err := h.Streams().Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
		if err == nil {
			err = answers[0].Err
		}
		return err
	}}
}

// deeds are all verbs of the contracts.
var deeds = []deed{
	{"observer", "locate", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Locate(ctx, "s", rpw.Newest())
		return err
	}},
	{"observer", "locate what is absent", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Locate(ctx, "absent", rpw.Newest())
		return err
	}},
	{"observer", "read", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		_, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: "s", After: s.oldest[2]})
		return err
	}},
	{"observer", "wait for events", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		_, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: "s", After: s.oldest[9], Wait: 50 * time.Millisecond})
		return err
	}},
	{"observer", "streams", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Streams(ctx, rpw.StreamsRequest{DeadLetters: true})
		return err
	}},
	{"observer", "stream info", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().StreamInfo(ctx, "s")
		return err
	}},
	{"observer", "groups", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Groups(ctx, "s")
		return err
	}},
	{"observer", "pending", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Pending(ctx, rpw.PendingRequest{Stream: "s", Group: "g"})
		return err
	}},
	{"observer", "dead letters", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: rpw.DeadLetter("s", "g")})
		return err
	}},
	{"observer", "get", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"k"}})
		return err
	}},
	{"observer", "get from nearby", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"k"}, MaxStale: time.Second})
		return err
	}},
	{"observer", "scan", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Cache().Scan(ctx, rpw.ScanRequest{})
		return err
	}},
	{"observer", "logs", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Logs().Query(ctx, rpw.LogQuery{})
		return err
	}},
	{"observer", "actions", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		got, err := h.Actions().Get(ctx, []rpw.ActionRef{s.pending})
		return first(err, got[0].Err)
	}},
	{"observer", "list", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().List(ctx, rpw.ListActions{})
		return err
	}},
	{"observer", "count", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Count(ctx, rpw.ActionFilter{})
		return err
	}},
	{"observer", "queues", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Queues(ctx, rpw.QueuesRequest{})
		return err
	}},
	{"observer", "changes", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		_, err := h.Actions().Changes(ctx, rpw.ChangesRequest{Ref: s.pending})
		return err
	}},
	{"observer", "watch", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		_, err := h.Actions().Changes(ctx, rpw.ChangesRequest{Ref: s.pending, After: 1, Wait: 50 * time.Millisecond})
		return err
	}},
	{"observer", "workers", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Workers(ctx, rpw.WorkersRequest{})
		return err
	}},

	{"producer", "publish", "HSET", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		answers, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Keep: rpw.Retention{Events: 100}, Events: []rpw.NewEvent{{Type: "e", Key: "k"}}, Producer: rpw.Producer{ID: [16]byte{1}, Seq: 1}}})
		return first(err, answersErr(answers)...)
	}},
	{"producer", "begin a stream", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		answers, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "new", Events: []rpw.NewEvent{{Type: "e"}}}, {Stream: "s", Events: []rpw.NewEvent{{Type: "e"}}}})
		return first(err, answersErr(answers)...)
	}},
	{"producer", "trim what a group holds", "XTRIM", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Trim(ctx, "s", rpw.Retention{Events: 9})
		return err
	}},
	{"producer", "set", "SET", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		errs, err := h.Cache().Set(ctx, []rpw.CacheSet{{Key: "k", Data: []byte("2"), TTL: time.Hour}})
		return first(err, errs...)
	}},
	{"producer", "increment", "INCRBY", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		answers, err := h.Cache().Increment(ctx, []rpw.CacheIncrement{{Key: "n", By: 1, TTL: time.Hour}})
		if err == nil {
			err = answers[0].Err
		}
		return err
	}},
	{"producer", "delete a value", "UNLINK", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		answers, err := h.Cache().Delete(ctx, []rpw.CacheDelete{{Key: "k"}})
		if err == nil {
			err = answers[0].Err
		}
		return err
	}},
	{"producer", "log", "XADD", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		return h.Logs().Write(ctx, rpw.WriteLogs{Records: []rpw.LogRecord{{Message: "m"}}})
	}},
	{"producer", "enqueue", "HSET", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		spec := job("4")
		spec.Unique, spec.Delay = "key", time.Hour
		answers, err := h.Actions().Enqueue(ctx, []rpw.ActionSpec{spec})
		if err == nil {
			err = answers[0].Err
		}
		return err
	}},
	{"producer", "begin a queue", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: rpw.ActionRef{Queue: "new", ID: "1"}, Name: "job"}})
		return err
	}},

	{"worker", "join a group", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().EnsureGroup(ctx, rpw.GroupConfig{Stream: "s", Group: "other", From: rpw.Oldest()})
		return err
	}},
	{"worker", "fetch", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "w", Max: 2})
		return err
	}},
	{"worker", "settle", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		errs, err := h.Streams().Settle(ctx, rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{
			{Receipt: s.event.Receipt, Verdict: rpw.Ack}, {Receipt: s.spare.Receipt, Verdict: rpw.Reject, Reason: "no"},
		}})
		return first(err, errs...)
	}},
	{"worker", "claim", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q", "other"}, Worker: "w"})
		return err
	}},
	{"worker", "advance", "", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		answers, err := h.Actions().Advance(ctx, rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: s.held.Lease, Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}}}})
		if err == nil {
			err = answers[0].Err
		}
		return err
	}},
	{"worker", "beat", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: "w", Name: "w", Status: rpw.WorkerBusy}, Wait: 50 * time.Millisecond})
		return err
	}},
	{"worker", "leave", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		_, err := h.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: "w", Name: "w", Status: rpw.WorkerOffline}})
		return err
	}},

	command(rpw.Reschedule),
	command(rpw.Pause),
	command(rpw.Resume),
	command(rpw.Cancel),
	command(rpw.Retry),
	command(rpw.DeleteAction),
	administer(rpw.GroupCommand{Verb: rpw.Redrive}),
	administer(rpw.GroupCommand{Verb: rpw.RemoveConsumer, Consumer: "c"}),
	administer(rpw.GroupCommand{Verb: rpw.ResetGroup, From: rpw.Oldest()}),
	administer(rpw.GroupCommand{Verb: rpw.DeleteGroup}),
	{"gateway", "delete an event", "XDEL", func(ctx context.Context, h *rpw.Hub, s *scene) error {
		_, err := h.Streams().DeleteEvents(ctx, "s", []rpw.ID{s.oldest[9].ID})
		return err
	}},
	{"gateway", "delete a stream", "", func(ctx context.Context, h *rpw.Hub, _ *scene) error {
		return h.Streams().DeleteStream(ctx, "s")
	}},
}

func answersErr(answers []rpw.Published) (errs []error) {
	for _, answer := range answers {
		errs = append(errs, answer.Err)
	}
	return errs
}
