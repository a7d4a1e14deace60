package redis

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// bus is the streams of one store, with bare commands beside it.
type bus struct {
	*streamBus
	t testing.TB
}

func newBus(t testing.TB) bus { return busOf(t, testStore(t)) }

func busOf(t testing.TB, s *store) bus { return bus{s.streams().(*streamBus), t} }

// bare does a command behind the driver's back. %s is the key of the stream s.
func (b bus) bare(args ...string) rueidis.RedisMessage {
	b.t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "%s", b.keys.stream("s").main)
	}
	m, err := b.client.Do(b.t.Context(), b.client.B().Arbitrary(args...).Build()).ToMessage()
	if !rueidis.IsRedisNil(err) {
		require.NoError(b.t, err)
	}
	return m
}

func (b bus) add(from, to int) (at []rpw.Position) {
	b.t.Helper()
	batch := rpw.Batch{Stream: "s"}
	for n := from; n <= to; n++ {
		batch.Events = append(batch.Events, rpw.NewEvent{Type: "t", Data: []byte(strconv.Itoa(n))})
	}
	answers, err := b.Publish(b.t.Context(), []rpw.Batch{batch})
	require.NoError(b.t, err)
	require.NoError(b.t, answers[0].Err)
	return answers[0].Positions
}

func (b bus) read(after rpw.Position) []string {
	b.t.Helper()
	events, err := b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: after})
	require.NoError(b.t, err)
	return data(events)
}

func data(events []rpw.Event) []string {
	texts := make([]string, len(events))
	for i := range events {
		texts[i] = string(events[i].Data)
	}
	return texts
}

// awaitReader waits until somebody who waits for events of the stream is told of them.
func (b bus) awaitReader() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		b.waker.mu.Lock()
		defer b.waker.mu.Unlock()
		to := b.waker.topics[b.channelOf("s")]
		return to != nil && to.subscribed
	}, time.Minute, time.Millisecond)
}

func (b bus) gap(after rpw.Position) *rpw.GapError {
	b.t.Helper()
	_, err := b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: after})
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(b.t, ok, "no gap, but %v", err)
	events, err := b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: gap.Resume})
	require.NoError(b.t, err, "Resume leads on")
	if len(events) > 0 {
		_, err = b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: events[len(events)-1].Position()})
		require.NoError(b.t, err, "and from there")
	}
	return gap
}

func (b bus) locate(at rpw.Start) rpw.Position {
	b.t.Helper()
	p, err := b.Locate(b.t.Context(), "s", at)
	require.NoError(b.t, err)
	return p
}

func (b bus) group(change ...func(*rpw.GroupConfig)) rpw.GroupInfo {
	b.t.Helper()
	cfg := rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest()}
	for _, c := range change {
		c(&cfg)
	}
	info, err := b.EnsureGroup(b.t.Context(), cfg)
	require.NoError(b.t, err)
	return info
}

func (b bus) fetch(most int) []rpw.Delivery {
	b.t.Helper()
	ds, err := b.Fetch(b.t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: most})
	require.NoError(b.t, err)
	return ds
}

func (b bus) fetchGap() *rpw.GapError {
	b.t.Helper()
	_, err := b.Fetch(b.t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(b.t, ok, "no gap, but %v", err)
	return gap
}

// fetchGap2 is a gap that comes with or after the next deliveries.
func (b bus) fetchGap2(t *testing.T) *rpw.GapError {
	ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
	if err == nil {
		b.settle(ds, rpw.Settlement{Verdict: rpw.Release})
		return b.fetchGap()
	}
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(t, ok, "%v", err)
	return gap
}

func (b bus) settle(ds []rpw.Delivery, s rpw.Settlement) {
	b.t.Helper()
	req := rpw.SettleRequest{Stream: "s", Group: "g"}
	for _, d := range ds {
		s.Receipt = d.Receipt
		req.Settlements = append(req.Settlements, s)
	}
	errs, err := b.Settle(b.t.Context(), req)
	require.NoError(b.t, err)
	require.NoError(b.t, errors.Join(errs...))
}

func (b bus) info() rpw.GroupInfo {
	b.t.Helper()
	infos, err := b.Groups(b.t.Context(), "s")
	require.NoError(b.t, err)
	require.Len(b.t, infos, 1)
	return infos[0]
}

func dataOf(ds []rpw.Delivery) []string {
	texts := make([]string, len(ds))
	for i := range ds {
		texts[i] = string(ds[i].Data)
	}
	return texts
}

func texts(from, to int) []string {
	list := []string{}
	for n := from; n <= to; n++ {
		list = append(list, strconv.Itoa(n))
	}
	return list
}
