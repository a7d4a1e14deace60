// Package mutants breaks the Redis driver in small ways, in Go and in Lua, one at a time, and requires that the test or the case of
// the suite that is there to notice fails.
package mutants

import (
	"testing"

	"github.com/redis-process-worker/rpw/internal/mutate"
)

// TestMutants breaks promises that the driver keeps by means of its own.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the driver, and waits for what a mutant leaves out")
	}
	mutate.Run(t, "..", mutants)
}

// suite begins the names of cases of the suite.
const suite = "TestConformance/"

var mutants = []mutate.Mutant{
	{Promise: "S3", Name: "a write that was cut off is sent again", File: "script.go",
		Old: `if e, ok := rueidis.IsRedisErr(answer.err); ok && kind(e) {`, New: `if e, ok := rueidis.IsRedisErr(answer.err); ok && kind(e) || !ok && answer.err != nil && pause(context.Background(), backoffCap) {`,
		Test: "TestAWriteThatWasCutOffIsNotSentAgain"},
	{Promise: "S3", Name: "a write that was cut off is told as undone", File: "errors.go",
		Old: "if write {\n\t\treturn rpw.Errorf(rpw.ErrUncertain", New: "if false {\n\t\treturn rpw.Errorf(rpw.ErrUncertain", Test: "TestAWriteThatWasCutOffIsNotSentAgain"},
	{Promise: "S3", Name: "connections are given up while they are at work", File: "dial.go",
		Old: `DisableRetry:        true,`, New: `DisableRetry: true, ConnLifetime: 400 * time.Millisecond,`, Test: "TestASlowServerGetsAWriteOnce"},
	{Promise: "E1", Name: "the client repeats reads by itself", File: "dial.go",
		Old: `DisableRetry:        true,`, New: `DisableRetry: false,`, Test: "TestAReadWithoutServerEndsAtOnce"},
	{Promise: "S8", Name: "a link is made again without jitter", File: "wake.go",
		Old: `most := time.NewTimer(rand.N(min(backoffCap, backoffBase<<min(failed, 10))))`, New: `most := time.NewTimer(min(backoffCap, backoffBase<<min(failed, 10)))`, Test: "TestTriesToLinkDiffer"},
	{Promise: "S3", Name: "producers are not looked up", File: "lua/stream_publish.lua",
		Old: `if epoch == st.epoch and not less(n, seq) then`, New: `if false then`, Test: suite + "Streams/Producer/SameSeqAnswersTheSame"},
	{Promise: "S3", Name: "a late batch is stored", File: "lua/stream_publish.lua",
		Old: `and not less(n, seq) then`, New: `and n == seq then`, Test: suite + "Streams/Producer/SmallerSeqIsRefused"},
	{Promise: "S3", Name: "a repeat is appended at once", File: "lua/publish_quick.lua",
		Old: `producer == '' or #before < #seq`, New: `true or #before < #seq`, Test: suite + "Streams/Producer/SameSeqAnswersTheSame"},
	{Promise: "S5", Name: "a publish does not see what others have added", File: "lua/publish_quick.lua",
		Old: `#call('XREVRANGE', stream, '+', '(' .. last, 'COUNT', 1) == 0`, New: `true`, Test: "TestPublishSeesWhatOthersDid"},
	{Promise: "S4", Name: "a late message leads back", File: "streams_message.go",
		Old: `c.end.Count <= to.own.Count`, New: `false`, Test: "TestOwnEventsNeedNoMessage"},
	{Promise: "S4", Name: "whatever is published is taken for our own", File: "streams_message.go",
		Old: `return f.call == call }); i >= 0`, New: `return call != "" }); i >= 0`, Test: "TestAMessageMayComeBeforeTheAnswer"},
	{Promise: "S4", Name: "our own events are kept wherever they are", File: "streams_message.go",
		Old: `|| begin.Count+n != end.Count`, New: ``, Test: "TestAMessageMayComeBeforeTheAnswer"},
	{Promise: "S4", Name: "a reader takes the newest message, wherever he is", File: "streams_message.go",
		Old: `if to.recent[i].has(here) {`, New: `if true {`, Test: "TestCarriedEventsAreForWhoIsThere"},
	{Promise: "S4", Name: "a message wakes nobody", File: "wake.go",
		Old: `t.wake(to.newest)`, New: `_ = t`, Test: "TestWatchIsWokenByWhatComesAfterIt"},
	{Promise: "S4", Name: "nobody looks again when the link was lost", File: "wake.go",
		Old: `			w.lookAgain(to)
			continue`, New: `			continue`, Test: "TestWatchOutlivesItsLink"},
	{Promise: "S5", Name: "a gap is swallowed", File: "streams_read.go",
		Old: "if gap != nil {\n\t\t\t\treturn nil, gap\n\t\t\t}", New: ``, Test: suite + "Streams/Gaps/TrimmedHistoryIsReported"},
	{Promise: "S5", Name: "the epoch is not looked at", File: "lua/stream_lib.lua",
		Old: `epoch ~= st.epoch or `, New: ``, Test: suite + "Streams/Gaps/FlushedStoreIsReset"},

	{Promise: "G1", Name: "what is handed out is not on record", File: "lua/fetch_quick.lua",
		Old: `call('HSET', keys.lots, base, flat(lot))`, New: ``, Test: suite + "Groups/Fetch/LapsedLeaseIsDeliveredAgain"},
	{Promise: "G1", Name: "a fetch whose reply was lost leases anew", File: "lua/group_fetch.lua",
		Old: `if recalled then return again(recalled) end`, New: ``, Test: suite + "Groups/Fetch/LostReplyLeasesToNobodyElse"},
	{Promise: "G1", Name: "a repeat waits for what was given back", File: "groups_fetch.go",
		Old: "f.over = true", New: "", Test: suite + "Groups/Fetch/SameLaneLeavesOutWhatWasGivenBack"},
	{Promise: "G2", Name: "who acknowledges is not looked at", File: "lua/group_settle.lua",
		Old: `if not record or record.b ~= base then return 'x' end`, New: `if not record then return 'x' end`, Test: suite + "Groups/Settle/SupersededHolderGetsLeaseLost"},
	{Promise: "G3", Name: "a full server refuses an extension", File: "lua/group_settle.lua",
		Old: `#!lua flags=allow-oom`, New: `#!lua`, Test: "TestAFullServerRefusesWholeAndLetsFinish"},

	{Promise: "C3", Name: "a swap does not look", File: "lua/cache_set.lua",
		Old: `when == 'equal' and redis.call('GET', key) ~= ARGV[4]`, New: `false`, Test: suite + "Cache/Set/IfEqual"},
	{Promise: "C4", Name: "a scan asks for all KEYS", File: "scan.go",
		Old: `node.B().Scan().Cursor(at).Match(globEscape.Replace(before+req.Prefix) + "*").Count(looks).Type("string").Build()}`,
		New: `node.B().Keys().Pattern(globEscape.Replace(before+req.Prefix) + "*").Build()}
	_ = looks`, Test: "TestRoles"},
	{Promise: "C6", Name: "near values are served without proof", File: "nearnode.go",
		Old: `proven == nil || age(now, *proven) > min(maxStale, nearBound)`, New: `proven == nil`, Test: "TestNearAfterAFreeze"},
	{Promise: "C6", Name: "a value that changed on its way is kept", File: "nearvalues.go",
		Old: `value == nil || l.changed > begun`, New: `value == nil`, Test: "TestNearKeepsNothingThatChangedOnItsWay"},
	{Promise: "C6", Name: "a key that is not there is kept while its slot moves", File: "nearvalues.go",
		Old: ` || !value.Found && !s.all.absent`, New: ``, Test: "TestNearWhileASlotMoves"},
	{Promise: "C6", Name: "readers still find what has changed", File: "nearvalues.go",
		Old: "\t\ts.all.byKey.Delete(key)\n", New: "", Test: "TestNearIsTold"},

	{Promise: "A2", Name: "tokens do not grow", File: "lua/actions_claim.lua",
		Old: `math.max(queue[LAST_TOKEN], now - 1)`, New: `7`, Test: suite + "Actions/Claim/TokensGrow"},
	{Promise: "K2", Name: "an error tells the namespace", File: "actions_enqueue.go",
		Old: `"the id %s is taken by another action", rpw.QuoteName(ref.ID)`, New: `"the id %s is taken by another action", rpw.QuoteName(ref.String())`, Test: suite + "Actions/Namespace/ShowsInNoError"},
	{Promise: "A2", Name: "a full server refuses a renewal", File: "lua/actions_advance.lua",
		Old: `#!lua flags=allow-oom`, New: `#!lua`, Test: "TestActionsInAFullServer"},
	{Promise: "A3", Name: "what has ended is moved again", File: "lua/careful_advance.lua",
		Old: `if r[STATE] ~= RUNNING or r[TOKEN] ~= m[M_TOKEN] then`, New: `if r[TOKEN] ~= m[M_TOKEN] then`, Test: suite + "Actions/Advance/RepeatedEndIsNil"},
	{Promise: "A4", Name: "lapsed leases are forgotten", File: "lua/records_actions.lua",
		Old: `behind = due_slice(RUN) or behind`, New: ``, Test: suite + "Actions/Claim/LapsedIsClaimable"},
	{Promise: "A1", Name: "a claim that was not told forgets what it was given", File: "lua/actions_claim.lua",
		Old: "if given then\n  last = given", New: "if false then\n  last = given", Test: "TestWhatAClaimWasGivenIsItsAnswer"},
	{Promise: "A6", Name: "who left keeps what he was given", File: "lua/actions_claim.lua",
		Old: "if given then careful().give_back", New: "if false then careful().give_back", Test: "TestWhoLeavesHisSeatGivesBack"},
	{Promise: "A1", Name: "what is given away is not on record", File: "lua/enqueue_quick.lua",
		Old: `call('HSET', RECORDS, id, blob)`, New: ``, Test: "TestWhatIsGivenIsStoredAsClaimed"},
	{Promise: "A1", Name: "what is there is given away again", File: "lua/enqueue_quick.lua",
		Old: `call('HEXISTS', RECORDS, id) == 0`, New: `true`, Test: "TestOnlyTheUsualIsGiven"},

	{Promise: "E1", Name: "a call waits for a silent server", File: "script.go",
		Old: `WithTimeoutCause(ctx, s.opt.Timeout, rpw.ErrUnavailable)`, New: `WithTimeoutCause(ctx, 1000*s.opt.Timeout, rpw.ErrUnavailable)`, Test: "TestExecKeepsToItsTime"},
	{Promise: "E1", Name: "a call waits for the link that it makes", File: "dial.go",
		Old: `made.listen = context.AfterFunc(ctx, made.abandon)`, New: `_ = made.abandon`, Test: "TestContextIsHeardByWhoNeedsAnotherLink"},
	{Promise: "E4", Name: "a server that lost its scripts is given up", File: "script.go",
		Old: `if len(unknown) == 0 {`, New: `if len(unknown) >= 0 {`, Test: "TestExecLoadsTheScriptWhereItIsMissing"},
}
