// Package mutants breaks the socket, both ends of it, in small ways, one at a time, and requires that the test or the case of the suite
// that is there to notice fails.
package mutants

import (
	"testing"

	"github.com/redis-process-worker/rpw/internal/mutate"
)

// TestMutants breaks promises that the socket keeps by means of its own.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the socket, and waits for what a mutant leaves out")
	}
	mutate.Run(t, "..", mutants)
}

// suite begins the names of cases of the suite.
const suite = "TestConformance/"

var mutants = []mutate.Mutant{
	// What is lost on the way.
	{Promise: "K3", Name: "a write that was cut off is sent again", File: "call.go",
		Old: `	reply, sent, err := c.ask(within, v.toSend(l, &q, false))`, New: `	reply, sent, err := c.ask(within, v.toSend(l, &q, false))
	for err == errLost {
		if c, err = l.connected(within, true); err == nil {
			reply, sent, err = c.ask(within, v.toSend(l, &q, false))
		}
	}`, Test: "TestAWriteThatWasCutOffIsNotSentAgain"},
	{Promise: "K3", Name: "a write that was cut off is told as undone", File: "call.go",
		Old: `uncertain := sent && !v.reads`, New: `uncertain := sent && false`, Test: "TestAWriteThatWasCutOffIsNotSentAgain"},
	{Promise: "K3", Name: "an answer goes to who asked first", File: "client.go",
		Old: `	x := c.calls[f.id]
	if x == nil {`, New: `	for id := range c.calls {
		f.id = min(f.id, id)
	}
	x := c.calls[f.id]
	if x == nil {`, Test: "TestLeave"},
	{Promise: "K3", Name: "a redial has no jitter", File: "remote.go",
		Old: `delay = rand.N(min(redialCap, redialBase<<min(n, 10)))`, New: `delay = min(redialCap, redialBase<<min(n, 10))`, Test: "TestNoHerd/break"},
	{Promise: "K3", Name: "clients of a server that restarts come all at once", File: "remote.go",
		Old: `return restartLeast + rand.N(restartMost-restartLeast), rand.N(restartCall)`, New: `return restartLeast, 0`, Test: "TestNoHerd/restart"},
	{Promise: "K3", Name: "a client does not go when it is asked to", File: "remote.go",
		Old: `case <-leave:
			return nil`, New: `case <-leave:
			leave = nil`, Test: "TestLeave"},
	{Promise: "K3", Name: "a server that stops says nothing", File: "drain.go",
		Old: `func(c *connection) { close(c.peer.leaving) }`, New: `func(c *connection) { _ = c.peer.leaving }`, Test: "TestShutdown"},
	{Promise: "K3", Name: "a server that stops is gone without a code", File: "drain.go",
		Old: `func(c *connection) { c.end(errRestart) }`, New: `func(c *connection) { c.end(errGone) }`, Test: "TestShutdown"},
	{Promise: "S3", Name: "a batch loses its producer", File: "ops_streams.go",
		Old: `bind(&(*q)[i].Producer.ID)`, New: `(*q)[i].Producer = rpw.Producer{}`, Test: suite + "Streams/Producer/SameSeqAnswersTheSame"},
	{Promise: "G1", Name: "a fetch loses its lane", File: "ops_streams.go",
		Old: `bind:   func(q *rpw.FetchRequest, bind func(*[16]byte)) { bind(&q.Lane.ID) },`,
		New: `bind:   func(q *rpw.FetchRequest, bind func(*[16]byte)) { q.Lane = rpw.Lane{} },`, Test: suite + "Groups/Fetch/LostReplyLeasesToNobodyElse"},
	{Promise: "S5", Name: "a gap is an error like others", File: "wire_errors.go",
		Old: `f.Gap, _ = errors.AsType[*rpw.GapError](err)`, New: ``, Test: suite + "Streams/Gaps/TrimmedHistoryIsReported"},
	{Promise: "C6", Name: "an exact read may be answered by the server's near cache", File: "ops_cache.go",
		Old: "q.Keys = keys", New: "q.Keys, q.MaxStale = keys, time.Hour", Test: "TestStalenessIsTheCallers"},
	{Promise: "K1", Name: "the codec forgets a field", File: "codec.go",
		Old: `for n > 0 && v.Field(n-1).IsZero() {`, New: `for n > 0 && (v.Field(n-1).IsZero() || n == 4) {`, Test: "TestCodecReturnsWhatWentIn"},

	// What is given to who has left.
	{Promise: "A2", Name: "what nobody took is kept", File: "ops.go",
		Old: `if err != nil && v.undo != nil {`, New: `if err != nil && v.undo != nil && false {`, Test: "TestWhatNobodyTakesIsHandedBack"},
	{Promise: "E1", Name: "a server does not hear that a caller has left", File: "session.go",
		Old: `		s.cancel(f.id)
		return nil`, New: `		return nil`, Test: "TestWhoLeavesFreesHisPlace"},
	{Promise: "E1", Name: "a call waits for a silent server", File: "call.go",
		Old: `context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c, err`, New: `context.WithTimeout(ctx, 100*l.timeout)
	defer cancel()
	c, err`, Test: "TestSilentServer"},

	// Who may come in, and do what.
	{Promise: "K2", Name: "any web page may connect", File: "handshake.go",
		Old: `	return &refusal{http.StatusForbidden, "not from this origin", "origin", nil}`, New: `	return nil`, Test: "TestOrigins"},
	{Promise: "K2", Name: "any host name will do", File: "handshake.go",
		Old: `if !s.hostAllowed(r) {`, New: `if !s.hostAllowed(r) && false {`, Test: "TestHosts"},
	{Promise: "K2", Name: "a redirect is followed", File: "dial.go",
		Old: `return http.ErrUseLastResponse`, New: `return nil`, Test: "TestRedirects"},
	{Promise: "K2", Name: "a credential does not end", File: "connection.go",
		Old: `if !t.IsZero() {`, New: `if t.IsZero() {`, Test: "TestExpiry"},
	{Promise: "K2", Name: "the policy is asked about names that are none", File: "session.go",
		Old: `if err := checkName(a); err != nil {`, New: `if err := checkName(a); err != nil && false {`, Test: "TestEachOperationAsksFirst"},
	{Promise: "K2", Name: "a verb asks nobody", File: "ops_streams.go",
		Old: `func(q *trimRequest, n *needs) { n.add(Admin, KindStream, q.Stream) }`, New: `func(q *trimRequest, n *needs) {}`, Test: "TestEachOperationAsksFirst"},
	{Promise: "K2", Name: "a writer trims", File: "ops_streams.go",
		Old: `n.trims(b.Keep, KindStream, b.Stream)`, New: ``, Test: "TestRetentionNeedsARightOfItsOwn"},
	{Promise: "K2", Name: "a right that is taken away stays with who waits", File: "ops.go",
		Old: `err = v.allowed(s, ctx, q)`, New: `v.allowed(s, ctx, q)`, Test: "TestRightsAreWithdrawn"},
	{Promise: "K2", Name: "a listing shows all", File: "ops_cache.go",
		Old: `func(key string) bool { return l.see(KindKey, key) }`, New: `func(key string) bool { return true }`, Test: "TestListingsAreFiltered"},
	{Promise: "K2", Name: "a cursor names what is hidden", File: "ops_cache.go",
		Old: `if *next == "" || n > 0 && n == len(*items) {`, New: `if *next == "" || len(*items) > 0 {`, Test: "TestCursorsTellNothing"},
	{Promise: "K2", Name: "a credential from before a revocation is taken", File: "handshake.go",
		Old: `if revocations != s.revocations { // Revoke may`, New: `if revocations < 0 { // Revoke may`, Test: "TestRevokeDuringRefresh"},
	{Promise: "K2", Name: "a grant is for all names that begin so", File: "grants.go",
		Old: `return name == pattern`, New: `return strings.HasPrefix(name, pattern)`, Test: "TestPatterns"},
	{Promise: "K2", Name: "a client speaks for another's producer", File: "peer.go",
		Old: `	if name == "" {
		return id`, New: `	if name != "" {
		return id`, Test: "TestProducersAreBound"},

	// What a peer can send.
	{Promise: "K4", Name: "a message has no limit", File: "handshake.go",
		Old: `ws.SetReadLimit(int64(limits.Message))`, New: `ws.SetReadLimit(-1)`, Test: "TestLargeMessage"},
	{Promise: "K4", Name: "a slow client is waited for", File: "connection.go",
		Old: `c.SetWriteDeadline(time.Now().Add(c.writeTime))`, New: `c.SetWriteDeadline(time.Time{})`, Test: "TestSlowClient"},
	{Promise: "K4", Name: "a pong is waited for", File: "client.go",
		Old: `ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return c.Ping(ctx)`, New: `return c.Ping(ctx)`, Test: "TestSilentServer"},
	{Promise: "K4", Name: "requests are not counted", File: "peer.go",
		Old: `if !taken.take(most) {`, New: `if !taken.take(0) {`, Test: "TestRequestFlood"},
	{Promise: "K4", Name: "large requests are taken without end", File: "session.go",
		Old: `s.asked.take(s.ctx, bytes)`, New: `s.asked.take(s.ctx, 0)`, Test: "TestRequestsWaitForRoom"},
	{Promise: "K4", Name: "calls with large answers begin without end", File: "ops.go",
		Old: `for reserve := v.waits(q) == nil; ; reserve = true {`, New: `for reserve := false; ; reserve = true {`, Test: "TestCallsWaitForRoom"},
	{Promise: "K4", Name: "what waited is held without end", File: "ops.go",
		Old: `if s.answers.change(held, size) {`, New: `if s.answers.change(held, min(size, held)) {`, Test: "TestWhatWaitedIsLetGo"},
	{Promise: "G1", Name: "what was let go stays with who has left", File: "ops.go",
		Old: `if owed && ctx.Err() != nil {`, New: `if owed && false {`, Test: "TestFetchesWaitForRoom"},
	{Promise: "K4", Name: "messages that are none are borne for ever", File: "session.go",
		Old: `return s.peer.bad()`, New: `return nil`, Test: "TestBadMessages"},
	{Promise: "K4", Name: "who sends a flood of pings is cut off without a word", File: "connection.go",
		Old: `c.end(errPings)`, New: `c.end(errGone)`, Test: "TestPingFlood"},
}
