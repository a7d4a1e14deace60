package conformance

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func harness(connect func(*memory.Store) (rpw.Parts, error)) Harness {
	return Harness{Unit: time.Millisecond, Open: func(testing.TB) Backend {
		store := memory.New(memory.Options{})
		return Backend{Connect: func() (rpw.Parts, error) { return connect(store) }, Flush: store.Flush}
	}}
}

// outcome is a testing.TB that keeps to itself how it ended.
type outcome struct {
	recorder
	skipped bool
}

func (o *outcome) Skipf(string, ...any) {
	o.skipped = true
	runtime.Goexit()
}

func TestDeclaredSkipsAreAssertedBothWays(t *testing.T) {
	cases := map[string]testCase{
		"passes": {name: "A/B/C", run: func(*env) {}},
		"fails":  {name: "A/B/C", run: func(e *env) { e.Fatal("no") }},
		"panics": {name: "A/B/C", run: func(*env) { panic("oh") }},
	}
	for what, c := range cases {
		h := harness(func(s *memory.Store) (rpw.Parts, error) { return s.Parts(), nil })
		o := outcome{recorder: recorder{TB: t}}
		o.run(func() { h.runDeclared(&o, c, "a reason", &tally{}) })
		assert.Equal(t, what == "passes", o.Failed(), what)
		assert.Equal(t, what != "passes", o.skipped, what)
	}
}

func TestBackendThatCannotConnectFailsEveryCase(t *testing.T) {
	h := harness(func(*memory.Store) (rpw.Parts, error) { return rpw.Parts{}, errors.New("no") })
	for _, c := range allCases()[:5] {
		r := recorder{TB: t}
		r.run(func() { h.run(&r, c, &tally{}) })
		assert.True(t, r.Failed(), c.name)
	}
}

func TestSkipsNameCases(t *testing.T) {
	cases := []testCase{{name: "Streams/Publish/A"}, {name: "Streams/Read/B"}}
	for skip, unknown := range map[string]bool{"Streams": false, "Streams/Publish": false, "Streams/Read/B": false, "Stream": true, "Streams/Read/C": true, "": true} {
		r := recorder{TB: t}
		Harness{Skip: map[string]string{skip: "a reason"}}.checkNames(&r, cases)
		assert.Equal(t, unknown, r.Failed(), "%q", skip)
	}
	reason, declared := Harness{Skip: map[string]string{"Streams/Publish": "a reason"}}.skip("Streams/Publish/A")
	assert.True(t, declared)
	assert.Equal(t, "a reason", reason)
}

func TestOnlyChoosesCases(t *testing.T) {
	cases := []testCase{{name: "Streams/Publish/A"}, {name: "Streams/Publish/B"}, {name: "Streams/Read/A"}, {name: "Cache/Get/A"}}
	assert.Equal(t, cases, Harness{}.chosen(cases))
	h := Harness{Only: []string{"Streams/Publish", "Cache/Get/A"}}
	assert.Equal(t, []testCase{cases[0], cases[1], cases[3]}, h.chosen(cases))
	for part, unknown := range map[string]bool{"Streams/Publish": false, "Streams/Pub": true} {
		r := recorder{TB: t}
		Harness{Only: []string{part}}.checkNames(&r, cases)
		assert.Equal(t, unknown, r.Failed(), part)
	}
	r := recorder{TB: t}
	h.Skip = map[string]string{"Streams/Read": "a reason"}
	h.checkNames(&r, cases)
	assert.True(t, r.Failed(), "it is left out already")
}

func TestSummary(t *testing.T) {
	var c tally
	c.driver("x")
	c.count("A/B/C", false)
	assert.Equal(t, "TestX on x: 1 cases run, 0 skipped", c.summary("TestX"))
	c.count("A/B/E", true)
	c.count("A/B/D", true)
	assert.Equal(t, "TestX on x: 1 cases run, 2 skipped: A/B/D, A/B/E", c.summary("TestX"))
	c.left = 7
	assert.Equal(t, "TestX on x: 1 of 10 cases run, 2 skipped: A/B/D, A/B/E", c.summary("TestX"))
}

func TestFaultsAreMetInOrder(t *testing.T) {
	f := &faults{next: make(map[string][]fault)}
	f.spoil("Cache.Get", refused, none, lost)
	assert.Equal(t, 3, f.left())
	assert.Equal(t, none, f.take("Cache.Set"))
	assert.Equal(t, []fault{refused, none, lost, none}, []fault{f.take("Cache.Get"), f.take("Cache.Get"), f.take("Cache.Get"), f.take("Cache.Get")})
	assert.Equal(t, 5, f.count())
	assert.Zero(t, f.left())
}
