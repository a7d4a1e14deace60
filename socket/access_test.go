package socket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func event(typ string) []rpw.NewEvent { return []rpw.NewEvent{{Type: typ, Data: []byte("1")}} }

// limited returns a server whose clients may do some things: "edge" with streams and keys that begin with a, "other" nothing.
func limited(t *testing.T) *site {
	var grants = map[string][]Grant{"edge": {
		{Rights: []Right{Read, Write, Consume}, Streams: []string{"a*"}, Keys: []string{"a*"}, Queues: []string{"a*"}, Workers: []string{"a*"}, Logs: []string{"a*"}},
	}}
	list := tokens(t)
	return openSite(t, Config{Authenticate: func(r *http.Request) (Identity, error) {
		id, err := list.Authenticate(r)
		id.Grants = grants[id.Name]
		return id, err
	}})
}

// attempts are all kinds of verbs on a name, by the verb.
func attempts(h *rpw.Hub, name string) map[string]func(context.Context) error {
	ref := rpw.ActionRef{Queue: name, ID: "1"}
	return map[string]func(context.Context) error{
		"publish": func(ctx context.Context) error {
			_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: name, Events: event("x")}})
			return err
		},
		"read": func(ctx context.Context) error {
			_, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: name})
			return err
		},
		"locate": func(ctx context.Context) error {
			_, err := h.Streams().Locate(ctx, name, rpw.Newest())
			return err
		},
		"ensure group": func(ctx context.Context) error {
			_, err := h.Streams().EnsureGroup(ctx, rpw.GroupConfig{Stream: name, Group: "g"})
			return err
		},
		"fetch": func(ctx context.Context) error {
			_, err := h.Streams().Fetch(ctx, rpw.FetchRequest{Stream: name, Group: "g", Consumer: "c"})
			return err
		},
		"groups": func(ctx context.Context) error {
			_, err := h.Streams().Groups(ctx, name)
			return err
		},
		"get": func(ctx context.Context) error {
			_, err := h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{name}})
			return err
		},
		"set": func(ctx context.Context) error {
			_, err := h.Cache().Set(ctx, []rpw.CacheSet{{Key: name, Data: []byte("1"), TTL: rpw.NoTTL}})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := h.Cache().Delete(ctx, []rpw.CacheDelete{{Key: name}})
			return err
		},
		"increment": func(ctx context.Context) error {
			_, err := h.Cache().Increment(ctx, []rpw.CacheIncrement{{Key: name + "-n", By: 1, TTL: rpw.NoTTL}})
			return err
		},
		"enqueue": func(ctx context.Context) error {
			_, err := h.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: ref, Name: "x"}})
			return err
		},
		"claim": func(ctx context.Context) error {
			_, err := h.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{name}, Worker: "a", Max: 1})
			return err
		},
		"cancel": func(ctx context.Context) error {
			_, err := h.Actions().Control(ctx, rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref}}})
			return err
		},
		"count": func(ctx context.Context) error {
			_, err := h.Actions().Count(ctx, rpw.ActionFilter{Queues: []string{name}})
			return err
		},
		"write log": func(ctx context.Context) error {
			return h.Logs().Write(ctx, rpw.WriteLogs{Log: name, Records: []rpw.LogRecord{{ID: "1", Message: "x"}}})
		},
		"query log": func(ctx context.Context) error {
			_, err := h.Logs().Query(ctx, rpw.LogQuery{Log: name})
			return err
		},
		"heartbeat": func(ctx context.Context) error {
			_, err := h.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: name, Name: name, Status: rpw.WorkerIdle}})
			return err
		},
	}
}

// administration is what only an administrator may do with a name, by the verb.
func administration(h *rpw.Hub, name string) map[string]func(context.Context) error {
	ref := rpw.ActionRef{Queue: name, ID: "1"}
	control := func(c rpw.Command) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := h.Actions().Control(ctx, rpw.ControlRequest{Commands: []rpw.Command{c}})
			return err
		}
	}
	return map[string]func(context.Context) error{
		"trim": func(ctx context.Context) error {
			_, err := h.Streams().Trim(ctx, name, rpw.Retention{Events: 1})
			return err
		},
		"publish with retention": func(ctx context.Context) error {
			_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: name, Events: event("x"), Keep: rpw.Retention{Events: 1}}})
			return err
		},
		"publish with retention by age": func(ctx context.Context) error {
			_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: name, Events: event("x"), Keep: rpw.Retention{Events: rpw.Unlimited, Age: time.Second}}})
			return err
		},
		"write log with retention": func(ctx context.Context) error {
			return h.Logs().Write(ctx, rpw.WriteLogs{Log: name, Records: []rpw.LogRecord{{ID: "1", Message: "x"}}, Keep: rpw.Retention{Events: 1}})
		},
		"delete events": func(ctx context.Context) error {
			_, err := h.Streams().DeleteEvents(ctx, name, []rpw.ID{{MS: 1}})
			return err
		},
		"delete stream": func(ctx context.Context) error { return h.Streams().DeleteStream(ctx, name) },
		"administer": func(ctx context.Context) error {
			_, err := h.Streams().Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{{Stream: name, Group: "g", Verb: rpw.DeleteGroup}}})
			return err
		},
		"delete action": control(rpw.Command{Kind: rpw.DeleteAction, Ref: ref}),
		"pause":         control(rpw.Command{Kind: rpw.Pause, Ref: rpw.ActionRef{Queue: name}}),
	}
}

// TestDenied is B48: what a client has no right to is refused, by each verb, and changes nothing. It protects K2.
func TestDenied(t *testing.T) {
	t.Parallel()
	s := limited(t)
	ctx := within(t)
	edge, other := s.client(edgeToken), s.client(otherToken)
	check := func(h *rpw.Hub, list func(*rpw.Hub, string) map[string]func(context.Context) error, name string, allowed bool) {
		for verb, try := range list(h, name) {
			err := try(ctx)
			assert.Equal(t, allowed, !errors.Is(err, rpw.ErrPermission), "%s %s: %v", verb, name, err)
		}
	}
	check(edge, attempts, "a1", true)
	check(edge, attempts, "b1", false)
	check(edge, administration, "a1", false)
	check(other, attempts, "a1", false)
	check(other, administration, "b1", false)

	page, err := s.hub.Streams().Streams(ctx, rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.NotContains(t, page.Names, "b1")
	values, err := s.hub.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"b1", "b1-n"}})
	require.NoError(t, err)
	assert.False(t, values[0].Found || values[1].Found)
	queues, err := s.hub.Actions().Queues(ctx, rpw.QueuesRequest{Prefix: "b"})
	require.NoError(t, err)
	assert.Empty(t, queues.Queues)

	_, err = edge.Cache().Set(ctx, []rpw.CacheSet{{Key: "a2", TTL: rpw.NoTTL}, {Key: "b2", TTL: rpw.NoTTL}})
	assert.ErrorIs(t, err, rpw.ErrPermission, "one name of several is enough")
	values, err = s.hub.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"a2"}})
	require.NoError(t, err)
	assert.False(t, values[0].Found, "nothing was done")

	_, err = edge.Streams().StreamInfo(ctx, "b1")
	_, absent := edge.Streams().StreamInfo(ctx, "b2")
	assert.Equal(t, rpw.Code(absent), rpw.Code(err), "absent and forbidden are the same")
}

// TestRetentionNeedsARightOfItsOwn: who may only write cannot take away what others wrote by what he publishes (K2).
func TestRetentionNeedsARightOfItsOwn(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{Authenticate: func(r *http.Request) (Identity, error) {
		name, _ := Bearer(r)
		rights := map[string][]Right{"writer": {Read, Write}, "owner": {Read, Write, Admin}}[name]
		return Identity{Name: name, Grants: []Grant{{Rights: rights, Streams: []string{"orders"}, Logs: []string{"app"}}}}, nil
	}})
	ctx := within(t)
	orders := rpw.StreamOf[int]("orders")
	kept := rpw.StreamOf[int]("orders", rpw.Keep(rpw.Retention{Events: 1, Age: time.Minute}))
	writer, owner := s.client("writer"), s.client("owner")
	for i := range 300 {
		_, err := orders.Publish(ctx, writer, "made", i)
		require.NoError(t, err)
	}
	_, err := kept.Publish(ctx, writer, "made", 0)
	assert.ErrorIs(t, err, rpw.ErrPermission)
	assert.ErrorContains(t, err, "no right to admin the stream \"orders\", as Keep needs it")
	record := rpw.WriteLogs{Log: "app", Records: []rpw.LogRecord{{ID: "1", Message: "x"}}, Keep: rpw.Retention{Age: time.Minute}}
	assert.ErrorContains(t, writer.Logs().Write(ctx, record), "no right to admin the log \"app\", as Keep needs it")
	info, err := writer.Streams().StreamInfo(ctx, "orders")
	require.NoError(t, err)
	assert.EqualValues(t, 300, info.Events)
	assert.Equal(t, rpw.Retention{Events: rpw.DefaultKeepEvents}, info.Keep)

	_, err = kept.Publish(ctx, owner, "made", 0)
	require.NoError(t, err)
	assert.NoError(t, owner.Logs().Write(ctx, record))
	info, err = writer.Streams().StreamInfo(ctx, "orders")
	require.NoError(t, err)
	assert.Less(t, info.Events, int64(300))
}

// TestAnonymousRights: without a name, a client may do all but administer. It protects K2.
func TestAnonymousRights(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	ctx, h := within(t), s.client("")
	for verb, try := range attempts(h, "x") {
		assert.NotErrorIs(t, try(ctx), rpw.ErrPermission, verb)
	}
	for verb, try := range administration(h, "x") {
		assert.ErrorIs(t, try(ctx), rpw.ErrPermission, verb)
	}
}

// TestListings is B49: they show what the client may read, also where a page goes on. It protects K2.
func TestListings(t *testing.T) {
	t.Parallel()
	s := limited(t)
	ctx := within(t)
	for i := range 20 {
		for _, letter := range []string{"a", "b"} {
			name := fmt.Sprintf("%s%d", letter, i)
			for verb, try := range attempts(s.hub, name) {
				if verb == "publish" || verb == "set" || verb == "enqueue" || verb == "heartbeat" {
					require.NoError(t, try(ctx), verb)
				}
			}
		}
	}
	edge := s.client(edgeToken)
	var streams, keys, queues, workers []string
	for req := (rpw.StreamsRequest{Max: 3}); ; {
		page, err := edge.Streams().Streams(ctx, req)
		require.NoError(t, err)
		streams = append(streams, page.Names...)
		assert.NotContains(t, page.Next, "b")
		if req.After = page.Next; page.Next == "" {
			break
		}
	}
	for req := (rpw.ScanRequest{Max: 3}); ; {
		page, err := edge.Cache().Scan(ctx, req)
		require.NoError(t, err)
		keys = append(keys, page.Keys...)
		if req.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	for req := (rpw.QueuesRequest{Max: 3}); ; {
		page, err := edge.Actions().Queues(ctx, req)
		require.NoError(t, err)
		for _, q := range page.Queues {
			queues = append(queues, q.Name)
		}
		assert.NotContains(t, page.Next, "b")
		if req.After = page.Next; page.Next == "" {
			break
		}
	}
	for req := (rpw.WorkersRequest{Max: 3}); ; {
		page, err := edge.Actions().Workers(ctx, req)
		require.NoError(t, err)
		for _, w := range page.Workers {
			workers = append(workers, w.Name)
		}
		if req.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	for what, names := range map[string][]string{"streams": streams, "keys": keys, "queues": queues, "workers": workers} {
		assert.Len(t, names, 20, what)
		for _, name := range names {
			assert.Equal(t, "a", name[:1], what)
		}
	}
	counts, err := edge.Actions().Count(ctx, rpw.ActionFilter{})
	require.NoError(t, err)
	assert.Equal(t, int64(20), counts[rpw.Pending])

	other := s.client(otherToken)
	_, err = other.Streams().Streams(ctx, rpw.StreamsRequest{})
	assert.ErrorIs(t, err, rpw.ErrPermission)
	_, err = other.Cache().Scan(ctx, rpw.ScanRequest{})
	assert.ErrorIs(t, err, rpw.ErrPermission)
}

// TestAuthorize: a function decides instead of the grants, and what it says of its reasons stays on the server.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Authorize: func(_ context.Context, id Identity, a Access) error {
		if a == (Access{"publish", Write, KindStream, "open"}) && id.Name == "" {
			return nil
		}
		return errors.New("CANARY of the policy")
	}})
	ctx, h := within(t), s.client("")
	_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "open", Events: event("x")}})
	assert.NoError(t, err)
	_, err = h.Streams().Publish(ctx, []rpw.Batch{{Stream: "shut", Events: event("x")}})
	require.ErrorIs(t, err, rpw.ErrPermission)
	assert.ErrorContains(t, err, `no right to write the stream "shut"`)
	assert.NotContains(t, err.Error(), "CANARY")
}

// TestRightsAreWithdrawn is F38: a right that is taken away ends the subscription that needs it, and nothing else.
func TestRightsAreWithdrawn(t *testing.T) {
	t.Parallel()
	var shut atomic.Bool
	var asked atomic.Int64
	s := openSite(t, Config{AllowAnonymous: true, Authorize: func(_ context.Context, _ Identity, a Access) error {
		if a.Verb == opRead.name {
			asked.Add(1)
		}
		if shut.Load() && a.Name == "x" {
			return errors.New("no more")
		}
		return nil
	}})
	ctx, h := within(t), s.client("")
	read := func(stream string) (err error) {
		asked.Store(0)
		sub, err := rpw.StreamOf[int](stream).Subscribe(ctx, h, rpw.Oldest())
		require.NoError(t, err)
		defer sub.Close()
		for range 2 {
			if _, err := s.hub.Streams().Publish(ctx, []rpw.Batch{{Stream: stream, Events: event("x")}}); err != nil {
				return err
			}
			if _, err := sub.Next(ctx); err != nil {
				return err
			}
		}
		next := make(chan error, 1)
		go func() {
			_, err := sub.Next(ctx)
			next <- err
		}()
		// each read is asked for when it comes and when it goes, and the third one has only come
		require.Eventually(t, func() bool { return s.srv.Stats().Waits == 1 && asked.Load() == 5 }, soon, time.Millisecond)
		shut.Store(true) // while it waits
		if _, err := s.hub.Streams().Publish(ctx, []rpw.Batch{{Stream: stream, Events: event("x")}}); err != nil {
			return err
		}
		return <-next
	}
	assert.ErrorIs(t, read("x"), rpw.ErrPermission)
	assert.NoError(t, read("y"))
	assert.Empty(t, s.srv.Stats().Closed)
}

// TestAuthorizeThatPanics refuses the client that asked, and leaves the others alone.
func TestAuthorizeThatPanics(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Authorize: func(_ context.Context, _ Identity, a Access) error {
		if a.Name == "x" {
			panic("out of order")
		}
		return nil
	}})
	ctx, h := within(t), s.client("")
	_, err := h.Streams().StreamInfo(ctx, "x")
	assert.ErrorIs(t, err, rpw.ErrPermission)
	_, err = h.Streams().StreamInfo(ctx, "y")
	assert.ErrorIs(t, err, rpw.ErrNotFound)
	assert.Contains(t, s.log.String(), "out of order")
}

// TestNamespace: there is no way out of the server's namespace, whatever a client's own is. It protects K2, and is B10.
func TestNamespace(t *testing.T) {
	t.Parallel()
	whole, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	defer whole.Close()
	var parts rpw.Parts
	parts.Name, parts.Streams, parts.Cache = "whole", whole.Streams(), whole.Cache()
	inner, err := rpw.New(parts, rpw.WithNamespace("tenant"))
	require.NoError(t, err)
	defer inner.Close()
	s := serveSite(t, inner, Config{AllowAnonymous: true})
	ctx, h := within(t), s.client("")
	for _, name := range []string{"x", "other:x", ":x"} {
		_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: name, Events: event("x")}})
		require.NoError(t, err)
	}
	page, err := whole.Streams().Streams(ctx, rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"tenant:x", "tenant:other:x", "tenant::x"}, page.Names)
	_, err = h.Streams().Publish(ctx, []rpw.Batch{{Stream: "../x", Events: event("x")}})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
}

// TestProducersAreBound: a client cannot speak for another's producer; without a name, each producer is its own.
func TestProducersAreBound(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{Authenticate: tokens(t).Authenticate})
	ctx := within(t)
	batch := func(typ string) []rpw.Batch {
		return []rpw.Batch{{Stream: "x", Producer: rpw.Producer{ID: [16]byte{1}, Seq: 7}, Events: event(typ)}}
	}
	edge, other := s.client(edgeToken), s.client(otherToken)
	for _, h := range []*rpw.Hub{edge, other, edge, other} {
		answers, err := h.Streams().Publish(ctx, batch("x"))
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
	}
	events, err := s.hub.Streams().Read(ctx, rpw.ReadRequest{Stream: "x"})
	require.NoError(t, err)
	assert.Len(t, events, 2, "one for each client; repeats are none")

	named, again, anonymous := new(peer), new(peer), new(peer)
	named.identity.Store(&Identity{Name: "edge"})
	again.identity.Store(&Identity{Name: "edge"})
	assert.Equal(t, named.bind([16]byte{1}), again.bind([16]byte{1}))
	assert.NotEqual(t, [16]byte{1}, named.bind([16]byte{1}))
	assert.NotEqual(t, named.bind([16]byte{2}), named.bind([16]byte{1}))
	assert.Equal(t, [16]byte{1}, anonymous.bind([16]byte{1}))
}

// forbidden is a cache whose store lets its user do nothing.
type forbidden struct{ rpw.Cache }

func (forbidden) Get(context.Context, rpw.GetRequest) ([]rpw.Value, error) {
	return nil, rpw.Errorf(rpw.ErrPermission, "the server says: NOPERM User CANARY has no permissions")
}

func (forbidden) Set(context.Context, []rpw.CacheSet) ([]error, error) {
	return []error{rpw.Errorf(rpw.ErrPermission, "the server says: NOPERM User CANARY has no permissions")}, nil
}

// TestRightsOfTheServer: what the server may not do at its backend is told, but nothing of the user that it is there (B60).
func TestRightsOfTheServer(t *testing.T) {
	t.Parallel()
	hub := hubOver(t, rpw.Parts{Name: "forbidden", Cache: forbidden{}})
	remote := pipedHub(t, remoteConfig{dial: piped(t, func() *peer { return &peer{hub: hub} })})
	_, _, err := rpw.Get[int](t.Context(), remote, "k")
	for _, err := range []error{err, rpw.Set(t.Context(), remote, "k", 1)} {
		require.ErrorIs(t, err, rpw.ErrPermission)
		assert.NotContains(t, err.Error(), "CANARY")
	}
}
