package redis

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// grant makes the user of a role, with just the documented rules.
func grant(t *testing.T, server *redistest.Server, role string, more ...string) (url string) {
	t.Helper()
	return grantRules(t, server, role, append(documentedRoles(t)[role], more...))
}

func grantRules(t *testing.T, server *redistest.Server, role string, rules []string) (url string) {
	t.Helper()
	server.CLI(t, append([]string{"ACL", "SETUSER", role, "reset", "on", ">CANARY"}, rules...)...)
	return "redis://" + role + ":CANARY@" + server.Addr
}

func open(t *testing.T, url string, opts ...rpw.Option) *rpw.Hub {
	t.Helper()
	h, err := rpw.Open(t.Context(), url, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h
}

// TestRoles: with the documented rules each role can do what it is for, and what it is not for is refused, with nothing done.
func TestRoles(t *testing.T) {
	t.Parallel()
	testRoles(t, "", func(rules []string) []string { return rules })
}

// TestRolesOfTheOriginalsLayout: so it is with the prefix "p" and the original's layout, with the rules changed as documented.
func TestRolesOfTheOriginalsLayout(t *testing.T) {
	t.Parallel()
	names := strings.NewReplacer("&rpw:", "&p^", "{rpw:s:", "{p:", "{rpw:a", "{p^a", "{rpw:w", "{p^w", "rpw:s:", "p:", "rpw:c:", "p:", "rpw:", "p:")
	testRoles(t, "?layout=original&prefix=p", func(rules []string) (changed []string) {
		for _, rule := range rules {
			if begin, ok := strings.CutSuffix(rule, "{rpw:*"); ok {
				changed = append(changed, begin+"{p:*", begin+"{p^*")
			} else {
				changed = append(changed, names.Replace(rule))
			}
		}
		return changed
	})
}

func testRoles(t *testing.T, params string, change func(rules []string) []string) {
	for i, role := range roleOrder {
		t.Run(role, func(t *testing.T) {
			server := redistest.Start(t, "--enable-debug-command", "yes")
			s := setScene(t, open(t, "redis://"+server.Addr+params))
			h := open(t, grantRules(t, server, role, change(documentedRoles(t)[role]))+params)
			client := dial(t, server)
			digest := func() string { m := do(t, client, "DEBUG", "DIGEST"); return textOf(&m) }
			before := digest()
			require.Len(t, before, 40)
			for _, d := range deeds {
				may := slices.Index(roleOrder, d.of) <= i
				err := d.do(t.Context(), h, s)
				if !may {
					require.ErrorIs(t, err, rpw.ErrPermission, d.name)
					assert.Contains(t, err.Error(), d.command, d.name)
					assert.Contains(t, err.Error(), "see Permissions", d.name)
				} else {
					require.NoError(t, err, d.name)
				}
				if !may || role == "observer" {
					require.Equal(t, before, digest(), "%s changed something", d.name)
				}
				before = digest()
			}
		})
	}
}

// TestRolesAreNarrow: each rule of a role is needed for something that it can do.
func TestRolesAreNarrow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := dial(t, server)
	able := func(rules []string) int {
		do(t, admin, "SCRIPT", "FLUSH") // else what is known is not sent
		do(t, admin, append([]string{"ACL", "SETUSER", "u", "reset", "on", ">pw"}, rules...)...)
		h, err := rpw.Open(t.Context(), "redis://u:pw@"+server.Addr)
		if err != nil {
			return -1000
		}
		defer h.Close()
		client, _ := rpw.Native[rueidis.Client](h)
		s := storeWith(t, client, "rpw")
		found, err := s.findRights(t.Context())
		require.NoError(t, err)
		return -len(found.missing)
	}
	for role, rules := range documentedRoles(t) {
		whole := able(rules)
		for i := 0; i < len(rules); i++ {
			n := 1
			if strings.HasPrefix(rules[i], "(") { // a selector, of two words
				n = 2
			}
			switch rule := rules[i]; rule {
			case "-@dangerous", "+unsubscribe", "(+publish": // what is not tried when a hub is opened
			default:
				assert.Less(t, able(slices.Delete(slices.Clone(rules), i, i+n)), whole, "%s without %s", role, rule)
			}
			i += n - 1
		}
	}
}

// TestObserverIsWoken: who may not write still hears at once of what others publish, and soon of what becomes of actions.
func TestObserverIsWoken(t *testing.T) {
	server := redistest.Start(t)
	admin := open(t, "redis://"+server.Addr)
	s := setScene(t, admin)
	h := open(t, grant(t, server, "observer"))
	events := make(chan error, 2)
	go func() {
		got, err := h.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s", After: s.oldest[9], Wait: time.Minute})
		if err == nil && len(got) == 0 {
			err = context.DeadlineExceeded
		}
		events <- err
	}()
	go func() {
		got, err := h.Actions().Changes(t.Context(), rpw.ChangesRequest{Ref: s.held.Ref, Wait: time.Minute, Final: true})
		if err == nil && (len(got) == 0 || !got[0].State.Terminal()) {
			err = context.DeadlineExceeded
		}
		events <- err
	}()
	_, err := admin.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "e"}}}})
	require.NoError(t, err)
	_, err = admin.Actions().Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: s.held.Lease, Kind: rpw.Complete}}})
	require.NoError(t, err)
	for range 2 {
		select {
		case err := <-events:
			assert.NoError(t, err)
		case <-time.After(10 * time.Second):
			require.Fail(t, "the observer was not woken")
		}
	}
}

// TestObserverSeesWhatTimeHasDone: leases that ended and actions that became due, which nobody has written down yet.
func TestObserverSeesWhatTimeHasDone(t *testing.T) {
	server := redistest.Start(t, "--enable-debug-command", "yes")
	admin := open(t, "redis://"+server.Addr)
	ctx := t.Context()
	lost, late := job("lost"), job("late")
	lost.MaxAttempts, late.Delay = 1, 100*time.Millisecond
	_, err := admin.Actions().Enqueue(ctx, []rpw.ActionSpec{lost})
	require.NoError(t, err)
	_, err = admin.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Lease: rpw.MinLease})
	require.NoError(t, err)
	_, err = admin.Actions().Enqueue(ctx, []rpw.ActionSpec{late})
	require.NoError(t, err)
	h := open(t, grant(t, server, "observer"))
	before := server.CLI(t, "DEBUG", "DIGEST")
	require.Eventually(t, func() bool {
		got, err := h.Actions().Get(ctx, []rpw.ActionRef{lost.Ref})
		require.NoError(t, err)
		return got[0].State == rpw.Failed
	}, 10*time.Second, 10*time.Millisecond)
	got, err := h.Actions().Get(ctx, []rpw.ActionRef{lost.Ref})
	require.NoError(t, err)
	require.NotNil(t, got[0].Failure)
	assert.Equal(t, "worker lost: lease ended", got[0].Failure.Message)
	assert.Equal(t, rpw.Failed, got[0].Events[len(got[0].Events)-1].State)
	require.Eventually(t, func() bool {
		page, err := h.Actions().Queues(ctx, rpw.QueuesRequest{})
		require.NoError(t, err)
		return page.Queues[0].Ready == 1 && page.Queues[0].Finished == 1
	}, 10*time.Second, 10*time.Millisecond)
	assert.Equal(t, before, server.CLI(t, "DEBUG", "DIGEST"))
}

// TestObserverOfForeignStreams: what has no epoch has no positions, until somebody who may write has looked.
func TestObserverOfForeignStreams(t *testing.T) {
	server := redistest.Start(t)
	h := open(t, grant(t, server, "observer"))
	server.CLI(t, "XADD", "rpw:s:s", "*", "e", "1")
	_, err := h.Streams().Locate(t.Context(), "s", rpw.Newest())
	require.ErrorIs(t, err, rpw.ErrPermission)
	assert.ErrorContains(t, err, "HSET on {rpw:s:s}:m")
	_, err = h.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.ErrorIs(t, err, rpw.ErrPermission)
	_, err = open(t, "redis://"+server.Addr).Streams().Locate(t.Context(), "s", rpw.Oldest())
	require.NoError(t, err)
	events, err := h.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.NoError(t, err)
	assert.Len(t, events, 1)
}

// TestRolesElsewhere: the rules hold in a cluster, by Sentinels and with replicas, with what the documentation adds.
func TestRolesElsewhere(t *testing.T) {
	t.Parallel()
	node := redistest.StartCluster(t, 1).Nodes[0]
	servers := redistest.StartReplicated(t, 1, 1)
	for _, role := range roleOrder {
		url := grant(t, node, role, "+role", "+cluster|slots", "+cluster|shards", "+cluster|info")
		read(t, open(t, strings.Replace(url, "redis://", "redis+cluster://", 1)))
		read(t, open(t, grant(t, servers.Master, role, "+wait")+"?durability=replicated"))
		grant(t, servers.Master, role, "+role")
		read(t, open(t, "redis+sentinel://"+role+":CANARY@"+servers.Sentinels[0].Addr+"/mymaster"))
	}
}

func read(t *testing.T, h *rpw.Hub) {
	t.Helper()
	_, err := h.Cache().Get(t.Context(), rpw.GetRequest{Keys: []string{"k"}})
	require.NoError(t, err)
	_, err = h.Cache().Scan(t.Context(), rpw.ScanRequest{})
	require.NoError(t, err)
	_, err = h.Streams().Locate(t.Context(), "s", rpw.Oldest())
	require.NoError(t, err)
}

// TestRolesAreTold: CONFIG GET is in no line.
func TestRolesAreTold(t *testing.T) {
	server := redistest.Start(t)
	var notices []rpw.Notice
	works(t, grant(t, server, "gateway"), rpw.WithObserver(observer{func(n rpw.Notice) { notices = append(notices, n) }}))
	require.Len(t, notices, 1)
	assert.Equal(t, rpw.NoticeDegraded, notices[0].Kind)
}

// TestWritingCommands: the driver knows which commands of its scripts write.
func TestWritingCommands(t *testing.T) {
	t.Parallel()
	client := dial(t, shared.Server(t))
	for _, v := range (keyspace{}).verbs() {
		for _, sc := range v.scripts {
			for _, name := range sc.commands() {
				info := do(t, client, "COMMAND", "INFO", strings.Fields(name)[0])
				assert.Equal(t, strings.Contains(info.String(), `"write"`) || name == "PUBLISH", writing[name], name)
			}
		}
	}
}
