package conformance

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func claimCases() []testCase {
	return []testCase{
		{"Actions/Claim/GivesALease", []string{"A2"},
			"A claimed action is running, held by its worker until the end of the lease, and seen so by every process.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				claimed := b.take(rpw.ClaimRequest{Queues: []string{"q"}, Worker: "alice", Lease: time.Minute})
				require.Len(e, claimed, 1)
				c := claimed[0]
				require.Equal(e, job("q", "1").Ref, c.Lease.Ref)
				require.Equal(e, c.Lease.Ref, c.Ref)
				require.Equal(e, rpw.Running, c.State)
				require.Equal(e, 1, c.Attempt)
				require.Equal(e, "alice", c.Worker)
				require.False(e, c.Started.Before(c.Created.Truncate(time.Millisecond)))
				require.WithinDuration(e, c.Started.Add(time.Minute), c.Until, 2*time.Millisecond)
				require.GreaterOrEqual(e, c.Lease.Token, uint64(c.Started.UnixMilli())*1000, "a token is at least the store's time in µs")
				a := e.boardOf(e.peer()).get(c.Ref)
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest, rpw.ChangeClaimed}, kinds(a.Events))
				require.Equal(e, "alice", a.Events[1].Worker)
				require.Equal(e, 1, a.Events[1].Attempt)
				require.Equal(e, c.State, a.State)
				require.Equal(e, c.Seq, a.Seq)
				require.True(e, c.Until.Equal(a.Until))
				b.none("q", "it has a holder")
			}},
		{"Actions/Claim/OrderWithinAQueue", []string{"A6", "A13"},
			"Actions come by the time they became due, then in order of enqueueing.", func(e *env) {
				b := e.board()
				late, later := job("q", "late"), job("q", "later")
				later.Delay, late.Delay = e.units(60), e.units(10)
				b.add(later, late, job("q", "a"), job("q", "b"))
				time.Sleep(e.units(20))
				b.add(job("q", "c"))
				time.Sleep(e.units(45))
				b.add(job("q", "d"))
				claimed := b.take(rpw.ClaimRequest{Queues: []string{"q"}, Max: 10})
				require.Equal(e, []string{"a", "b", "late", "c", "later", "d"}, claimedIDs(claimed))
				many := jobs("many", 300)
				b.add(many[:200]...)
				b.add(many[200:]...)
				for i := 0; i < 300; {
					claimed := b.take(rpw.ClaimRequest{Queues: []string{"many"}, Max: 70})
					require.Len(e, claimed, min(70, 300-i))
					for _, c := range claimed {
						require.Equal(e, many[i].Ref, c.Ref)
						i++
					}
				}
			}},
		{"Actions/Claim/QueuesInTheGivenOrder", []string{"A13"},
			"Queues are tried in the given order, and never more is claimed than was asked for.", func(e *env) {
				b := e.board()
				b.add(append(append(jobs("a", 2), jobs("b", 3)...), jobs("c", 3)...)...)
				queues := []string{"b", "empty", "a", "b", "c"}
				var got []string
				for _, n := range []int{0, 3, 500} {
					claimed := b.take(rpw.ClaimRequest{Queues: queues, Max: n})
					require.Len(e, claimed, min(max(n, 1), 8-len(got)))
					for _, c := range claimed {
						got = append(got, c.Ref.String())
					}
				}
				require.Equal(e, []string{"b/000", "b/001", "b/002", "a/000", "a/001", "c/000", "c/001", "c/002"}, got)
			}},
		{"Actions/Claim/AtMostAPage", []string{"A13"},
			"Max above a page means a page, 0 means one.", func(e *env) {
				b := e.board()
				b.add(jobs("q", rpw.MaxPage+3)...)
				require.Len(e, b.take(rpw.ClaimRequest{Queues: []string{"q"}}), 1)
				require.Len(e, b.take(rpw.ClaimRequest{Queues: []string{"q"}, Max: rpw.MaxBatch * 1000}), rpw.MaxPage)
				require.Len(e, b.take(rpw.ClaimRequest{Queues: []string{"q"}, Max: rpw.MaxPage}), 2)
			}},
		{"Actions/Claim/BoundedInBytes", []string{"A13", "A1"},
			"What a claim hands out stays within MaxBatchBytes, and is always one action; the rest is there for the next claim.", func(e *env) {
				b := e.board()
				const most = rpw.MaxBatchBytes / rpw.MaxPayload
				specs := jobs("q", most+1)
				for i := range specs {
					specs[i].Arg = jsonText(rpw.MaxPayload)
				}
				b.add(specs[:5]...)
				b.add(specs[5:]...)
				for i := 0; i < len(specs); {
					claimed := b.take(rpw.ClaimRequest{Queues: []string{"q"}, Max: 20})
					require.NotEmpty(e, claimed)
					require.LessOrEqual(e, len(claimed), most)
					for _, c := range claimed {
						require.Equal(e, specs[i].Ref, c.Ref)
						i++
					}
				}
			}},
		{"Actions/Claim/EachToOne", []string{"A2", "G1"},
			"Many claimers on several hubs get each action once, and none is left over.", func(e *env) {
				b := e.board()
				const n, claimers = 200, 8
				b.add(jobs("q", n)...)
				boards := []board{b, e.boardOf(e.peer()), e.boardOf(e.peer())}
				var mu sync.Mutex
				var wg sync.WaitGroup
				seen := make(map[string]int)
				for i := range claimers {
					wg.Go(func() {
						for {
							claimed, err := boards[i%len(boards)].Claim(e.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: fmt.Sprint(i), Max: 1 + i%3})
							if err != nil {
								e.Errorf("claim: %v", err)
							}
							if len(claimed) == 0 || err != nil {
								return
							}
							mu.Lock()
							for _, c := range claimed {
								seen[c.Ref.ID]++
							}
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				require.Len(e, seen, n)
				for id, times := range seen {
					require.Equalf(e, 1, times, "action %s was claimed %d times", id, times)
				}
			}},
		{"Actions/Claim/LapsedIsClaimable", []string{"A4", "A1"},
			"An action whose holder went silent is claimed again by any worker at the end of its lease, without a leader, as another attempt.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				first := b.nextFor("q", e.lease())
				b.none("q", "its lease has not ended")
				second := e.boardOf(e.peer()).next("q")
				require.Equal(e, first.Ref, second.Ref)
				require.Equal(e, 2, second.Attempt)
				require.Greater(e, second.Lease.Token, first.Lease.Token)
				require.False(e, second.Started.Before(first.Until.Truncate(time.Millisecond)), "it was taken from a live holder")
				require.Contains(e, kinds(b.history(first.Ref)), rpw.ChangeRetry)
				require.Len(e, second.Failures, 1, "a lost worker is in the history of attempts")
			}},
		{"Actions/Claim/LapsedIsSeenAsPending", []string{"A4", "A14"},
			"A lapsed action is pending for Get, List, Count and Queues, without any worker.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				ref := b.nextFor("q", e.lease()).Ref
				e.eventually(func() bool {
					count := b.count(rpw.ActionFilter{})
					return count[rpw.Pending] == 1 && count[rpw.Running] == 0
				}, "the lease ends")
				a := b.get(ref)
				require.Equal(e, rpw.Pending, a.State)
				require.Equal(e, 1, a.Attempt)
				page, err := b.List(e.Context(), rpw.ListActions{ActionFilter: rpw.ActionFilter{States: []rpw.State{rpw.Pending}}})
				require.NoError(e, err)
				require.Equal(e, []string{"1"}, ids(page.Actions))
				queue := b.queues()["q"]
				require.Equal(e, int64(1), queue.Ready)
				require.Zero(e, queue.Running)
			}},
		{"Actions/Claim/TokensGrow", []string{"A2"},
			"The token of an action grows with every claim: after a retry, a giveback, a lapse, a command.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				var last rpw.Claimed
				claim := func(lease time.Duration) {
					e.Helper()
					next := b.nextFor("q", lease)
					require.Greater(e, next.Lease.Token, last.Lease.Token)
					last = next
				}
				claim(0)
				b.moved(last.Lease, rpw.Move{Kind: rpw.Giveback})
				claim(0)
				b.moved(last.Lease, rpw.Move{Kind: rpw.Fail})
				claim(e.lease())
				claim(0)
				b.moved(last.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}})
				b.commanded(rpw.Retry, last.Ref)
				claim(0)
				b.commanded(rpw.Cancel, last.Ref)
				b.moved(last.Lease, rpw.Move{Kind: rpw.AcceptCancel})
				b.commanded(rpw.Retry, last.Ref)
				claim(0)
			}},
		{"Actions/Claim/BadInput", []string{"E2"},
			"A claim that can never work is ErrInvalid on every driver.", func(e *env) {
				b := e.board()
				many := make([]string, 101)
				for i := range many {
					many[i] = fmt.Sprint(i)
				}
				for what, req := range map[string]rpw.ClaimRequest{
					"no queue":        {Worker: "w"},
					"101 queues":      {Worker: "w", Queues: many},
					"empty queue":     {Worker: "w", Queues: []string{"a", ""}},
					"glob":            {Worker: "w", Queues: []string{"*"}},
					"no worker":       {Queues: []string{"q"}},
					"bad worker":      {Queues: []string{"q"}, Worker: "a\x00b"},
					"negative Max":    {Worker: "w", Queues: []string{"q"}, Max: -1},
					"negative Wait":   {Worker: "w", Queues: []string{"q"}, Wait: -1},
					"short lease":     {Worker: "w", Queues: []string{"q"}, Lease: rpw.MinLease - 1},
					"negative lease":  {Worker: "w", Queues: []string{"q"}, Lease: -rpw.MinLease},
					"long lease":      {Worker: "w", Queues: []string{"q"}, Lease: rpw.MaxLease + 1},
					"the whole world": {Worker: "w", Queues: []string{"{q}"}},
				} {
					_, err := b.Claim(e.Context(), req)
					require.ErrorIsf(e, err, rpw.ErrInvalid, "%s", what)
				}
			}},
	}
}
