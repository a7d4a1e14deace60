package memory

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// pages lists everything a request selects, page by page.
func (s actionTest) pages(req rpw.ListActions) (ids []string) {
	s.t.Helper()
	for {
		page, err := s.List(s.t.Context(), req)
		require.NoError(s.t, err)
		for _, a := range page.Actions {
			assert.Empty(s.t, a.Events)
			ids = append(ids, a.Ref.ID)
		}
		if page.Next == "" {
			return ids
		}
		assert.Len(s.t, page.Actions, req.Max, "a page that is not the last is full")
		req.Cursor = page.Next
	}
}

func TestListPages(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		began := time.Now()
		var all []string
		for i := range 50 {
			sp := spec(fmt.Sprintf("%02d", i))
			sp.Ref.Queue = fmt.Sprint("q", i%3)
			sp.Name = []string{"mail/send", "mail/read", "resize"}[i%3]
			if i%10 == 0 {
				sp.Labels = []string{"ten", "x"}
			}
			s.put(sp)
			all = append(all, sp.Ref.ID)
			time.Sleep(time.Second)
		}
		only := func(keep func(i int) bool) (ids []string) {
			for i, id := range all {
				if keep(i) {
					ids = append(ids, id)
				}
			}
			return ids
		}
		reversed := slices.Clone(all)
		slices.Reverse(reversed)
		for _, size := range []int{1, 7, 25, 49, 50, 51} {
			assert.Equal(t, all, s.pages(rpw.ListActions{Max: size}))
			assert.Equal(t, reversed, s.pages(rpw.ListActions{Max: size, Reverse: true}))
		}
		claimed := s.take(rpw.ClaimRequest{Queues: []string{"q2"}, Max: 5})
		require.Len(t, claimed, 5)
		for _, c := range []struct {
			filter rpw.ActionFilter
			want   []string
		}{
			{rpw.ActionFilter{Queues: []string{"q1", "q0", "q1", "none"}}, only(func(i int) bool { return i%3 != 2 })},
			{rpw.ActionFilter{NamePrefix: "mail/"}, only(func(i int) bool { return i%3 != 2 })},
			{rpw.ActionFilter{Label: "ten"}, only(func(i int) bool { return i%10 == 0 })},
			{rpw.ActionFilter{From: began.Add(10 * time.Second), To: began.Add(20 * time.Second)}, all[10:20]},
			{rpw.ActionFilter{States: []rpw.State{rpw.Running}}, []string{"02", "05", "08", "11", "14"}},
			{rpw.ActionFilter{States: []rpw.State{rpw.Pending, rpw.Failed}, Queues: []string{"q2"}}, only(func(i int) bool { return i%3 == 2 && i > 14 })},
			{rpw.ActionFilter{Label: "none"}, nil},
		} {
			assert.Equal(t, c.want, s.pages(rpw.ListActions{ActionFilter: c.filter, Max: 4}), "%+v", c.filter)
			counts, err := s.Count(t.Context(), c.filter)
			require.NoError(t, err)
			var total int64
			for _, n := range counts {
				total += n
			}
			assert.Equal(t, int64(len(c.want)), total, "%+v", c.filter)
		}
		_, err := s.List(t.Context(), rpw.ListActions{Cursor: "!"})
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	})
}

// TestListWhileItChanges: what is there from the first page to the last is listed once.
func TestListWhileItChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		for i := range 200 {
			s.put(spec(fmt.Sprint("a", i)))
		}
		var ids []string
		req := rpw.ListActions{Max: 10}
		for i := 0; ; i++ {
			page, err := s.List(t.Context(), req)
			require.NoError(t, err)
			for _, a := range page.Actions {
				ids = append(ids, a.Ref.ID)
				if len(ids)%3 != 0 { // also the one the cursor points to
					s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: a.Ref})
				}
			}
			if req.Cursor = page.Next; req.Cursor == "" {
				break
			}
		}
		assert.Len(t, ids, 200)
		slices.Sort(ids)
		assert.Len(t, slices.Compact(ids), 200)
		s.check()
	})
}

func TestQueuesDescribes(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		for _, name := range []string{"b", "a/2", "a/1"} {
			later := rpw.ActionSpec{Ref: rpw.ActionRef{Queue: name, ID: "later"}, Name: "n", Delay: time.Hour}
			s.put(rpw.ActionSpec{Ref: rpw.ActionRef{Queue: name, ID: "x"}, Name: "n"}, rpw.ActionSpec{Ref: rpw.ActionRef{Queue: name, ID: "y"}, Name: "n"}, later)
		}
		s.command(rpw.Command{Kind: rpw.Pause, Ref: rpw.ActionRef{Queue: "empty"}})
		time.Sleep(time.Minute)
		c := s.take(rpw.ClaimRequest{Queues: []string{"b"}})
		s.move(rpw.Move{Lease: c[0].Lease, Kind: rpw.Complete})
		s.take(rpw.ClaimRequest{Queues: []string{"a/1"}, Max: 2})

		var infos []rpw.QueueInfo
		req := rpw.QueuesRequest{Max: 3}
		for {
			page, err := s.Queues(t.Context(), req)
			require.NoError(t, err)
			infos = append(infos, page.Queues...)
			if req.After = page.Next; req.After == "" {
				break
			}
		}
		assert.Equal(t, []rpw.QueueInfo{
			{Name: "a/1", Running: 2, Scheduled: 1},
			{Name: "a/2", Ready: 2, Scheduled: 1, Oldest: time.Minute},
			{Name: "b", Ready: 1, Scheduled: 1, Finished: 1, Oldest: time.Minute},
			{Name: "empty", Paused: true},
		}, infos)
		page, err := s.Queues(t.Context(), rpw.QueuesRequest{Prefix: "a/"})
		require.NoError(t, err)
		assert.Len(t, page.Queues, 2)
		s.command(rpw.Command{Kind: rpw.Resume, Ref: rpw.ActionRef{Queue: "empty"}})
		assert.NotContains(t, s.names(), "empty")
	})
}

func TestChangesAreGapless(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.Delay = time.Second
		s.put(sp)
		seen := make(chan []rpw.Change)
		go func() {
			var all []rpw.Change
			for after := uint64(0); ; {
				changes, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: after, Max: 3, Wait: rpw.Forever})
				if !assert.NoError(t, err) {
					break
				}
				all = append(all, changes...)
				after = changes[len(changes)-1].Seq
				if changes[len(changes)-1].State.Terminal() {
					break
				}
			}
			seen <- all
		}()
		final := make(chan []rpw.Change)
		go func() {
			changes, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), Final: true, Wait: rpw.Forever})
			assert.NoError(t, err)
			final <- changes
		}()
		time.Sleep(time.Second)
		c := s.takeOne()
		for i := range 20 {
			s.move(rpw.Move{Lease: c.Lease, Kind: rpw.SetProgress, Progress: float64(i) / 20})
			if i%5 == 0 {
				synctest.Wait()
			}
		}
		s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Complete})
		all := <-seen
		assert.Equal(t, s.got("a").Events, all)
		assert.Equal(t, all[len(all)-1:], <-final)
		assert.Len(t, all, 23)

		rest, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: 23, Wait: time.Minute})
		assert.NoError(t, err)
		assert.Empty(t, rest)
	})
}

func TestChangesTrimmed(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		l := s.takeOne().Lease
		held := s.got("a").Events
		for i := range 400 {
			s.move(rpw.Move{Lease: l, Kind: rpw.AddEvent, Event: fmt.Sprint("e", i)})
			events := s.got("a").Events
			assert.LessOrEqual(t, len(events), 100)
			assert.Equal(t, fmt.Sprint("e", i), events[len(events)-1].Event)
		}
		assert.Equal(t, []rpw.ChangeKind{"request", "claimed"}, kinds(held), "what was handed out stays as it was")

		_, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: 301})
		var gap *rpw.GapError
		require.ErrorAs(t, err, &gap)
		assert.Equal(t, "q/a", gap.Stream)
		assert.Equal(t, rpw.GapTrimmed, gap.Kind)
		assert.Equal(t, uint64(1), gap.Missed)
		changes, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: gap.Resume.ID.Seq})
		require.NoError(t, err)
		assert.Len(t, changes, 100)
		assert.Equal(t, uint64(303), changes[0].Seq)

		_, err = s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: 403, Wait: rpw.Forever})
		require.ErrorAs(t, err, &gap)
		assert.Equal(t, rpw.GapReset, gap.Kind, "the number of another action")
	})
}

// TestChangesWakeForTime: who watches sees at once what time alone does.
func TestChangesWakeForTime(t *testing.T) {
	for name, c := range map[string]struct {
		reach func(s actionTest)
		due   time.Duration
		kind  rpw.ChangeKind
	}{
		"lease":  {func(s actionTest) { s.takeOne() }, rpw.DefaultLease, rpw.ChangeRetry},
		"expiry": {func(actionTest) {}, time.Hour, rpw.ChangeFailed},
		"grace": {func(s actionTest) {
			s.move(rpw.Move{Lease: s.takeOne().Lease, Kind: rpw.Renew, For: time.Hour})
			s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
		}, rpw.DefaultCancelGrace, rpw.ChangeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s actionTest) {
				began := time.Now()
				sp := spec("a")
				sp.StartWithin = time.Hour
				s.put(sp)
				c.reach(s)
				changes, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: s.got("a").Seq, Wait: rpw.Forever})
				require.NoError(t, err)
				require.Len(t, changes, 1)
				assert.Equal(t, c.kind, changes[0].Kind)
				assert.Equal(t, c.due, time.Since(began))
				if c.kind != rpw.ChangeRetry {
					changes, err = s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: changes[0].Seq, Wait: rpw.Forever})
					assert.ErrorIs(t, err, rpw.ErrNotFound, "until it is forgotten")
					assert.Empty(t, changes)
				}
			})
		})
	}
}

func TestChangesOfARenewedLease(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		began := time.Now()
		s.put(spec("a"))
		l := s.takeOne().Lease
		go func() {
			time.Sleep(time.Second)
			s.move(rpw.Move{Lease: l, Kind: rpw.Renew, For: rpw.MinLease})
		}()
		changes, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: 2, Wait: rpw.Forever})
		require.NoError(t, err)
		assert.Len(t, changes, 1)
		assert.Equal(t, time.Second+rpw.MinLease, time.Since(began), "a lease cut short")
	})
}

func TestChangesOfADeletedAction(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		done := make(chan error)
		go func() {
			_, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: 1, Wait: rpw.Forever})
			done <- err
		}()
		synctest.Wait()
		s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("a")})
		s.put(spec("a"), spec("b")) // another one of this id is not the one that is watched
		assert.ErrorIs(t, <-done, rpw.ErrNotFound)
		_, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: rpw.ActionRef{Queue: "none", ID: "a"}})
		assert.ErrorIs(t, err, rpw.ErrNotFound)
	})
}

func TestFinalAfterRetry(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
		s.command(rpw.Command{Kind: rpw.Retry, Ref: ref("a")})
		req := rpw.ChangesRequest{Ref: ref("a"), Final: true}
		changes, err := s.Changes(t.Context(), req)
		require.NoError(t, err)
		assert.Empty(t, changes, "it is not terminal any more")
		s.move(rpw.Move{Lease: s.takeOne().Lease, Kind: rpw.Complete})
		changes, err = s.Changes(t.Context(), req)
		require.NoError(t, err)
		assert.Equal(t, []rpw.ChangeKind{rpw.ChangeCompleted}, kinds(changes))
	})
}
