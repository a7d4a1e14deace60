package history

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script writes a history by hand. Everything takes a millisecond.
type script struct {
	History
	t     time.Duration
	calls int
}

func (s *script) add(rec Record) {
	s.t += time.Millisecond
	rec.T = s.t
	s.Records = append(s.Records, rec)
}

// call makes a call; the function it returns lets it return.
func (s *script) call(rec Record) func(Outcome, ...func(*Record)) {
	s.calls++
	rec.Phase, rec.Call = Called, s.calls
	s.add(rec)
	return func(outcome Outcome, with ...func(*Record)) {
		rec.Phase, rec.Outcome = Returned, outcome
		for _, f := range with {
			f(&rec)
		}
		s.add(rec)
	}
}

// do makes a call that returns at once.
func (s *script) do(rec Record, outcome Outcome, with ...func(*Record)) {
	s.call(rec)(outcome, with...)
}

func answer(items ...Item) func(*Record) { return func(rec *Record) { rec.Items = items } }

func code(err error) func(*Record) { return func(rec *Record) { rec.Code = rpw.Code(err) } }

// event is event n of epoch 1, and in epoch e.
func event(n uint64) Item { return eventIn(1, n) }

func eventIn(e, n uint64) Item {
	return Item{ID: rpw.ID{MS: n}, Epoch: e, Count: n, Hash: "h" + rpw.ID{MS: e, Seq: n}.String()}
}

func place(epoch, n uint64) rpw.Position {
	return rpw.Position{Epoch: epoch, ID: rpw.ID{MS: n}, Count: n}
}

// published acknowledges events of a stream.
func (s *script) published(items ...Item) {
	for _, item := range items {
		s.publish(item, OK)
	}
}

func (s *script) publish(item Item, outcome Outcome) {
	s.do(Record{Op: OpPublish, Stream: "s", Items: []Item{{Hash: item.Hash}}}, outcome, func(rec *Record) {
		if outcome == OK {
			rec.Items = []Item{item}
		}
	})
}

func (s *script) subscribed(at rpw.Position) {
	s.add(Record{Actor: "sub", Op: OpSubscribe, Stream: "s", At: at})
}

func (s *script) delivered(items ...Item) {
	for _, item := range items {
		s.add(Record{Actor: "sub", Op: OpDeliver, Stream: "s", Items: []Item{item}})
	}
}

func (s *script) gap(kind rpw.GapKind, at, resume rpw.Position) {
	s.add(Record{Actor: "sub", Op: OpGap, Stream: "s", Kind: string(kind), At: at, Resume: resume})
}

// holds says what stream s holds at the end.
func (s *script) holds(first rpw.Position, items ...Item) {
	last := first
	if n := len(items); n > 0 {
		last = rpw.Position{Epoch: items[n-1].Epoch, ID: items[n-1].ID, Count: items[n-1].Count}
	}
	s.Final.Quiet = true
	s.Final.Streams = []StreamDump{{Name: "s", First: first, Last: last, Items: items}}
}

// scripts are histories by name.
type scripts map[string]func(s *script)

// TestEveryRuleCanFail: each checker has histories that it must find fault with.
func TestEveryRuleCanFail(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	tested := make(map[string]bool)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, call := range regexp.MustCompile(`testRule\(t, "(H\d+)"`).FindAllSubmatch(source, -1) {
			tested[string(call[1])] = true
		}
	}
	for _, c := range Checkers() {
		number, _, _ := strings.Cut(c.Rule, " ")
		assert.True(t, tested[number], c.Rule)
	}
	assert.Len(t, Checkers(), 17)
}

// testRule wants a rule, by its number, to let all good histories pass and to find fault with each bad one. No other rule is asked.
func testRule(t *testing.T, rule string, good, bad scripts) {
	var check func(*History) []Violation
	for _, c := range Checkers() {
		if number, _, _ := strings.Cut(c.Rule, " "); number == rule {
			check = c.Check
		}
	}
	require.NotNil(t, check, rule)
	require.NotEmpty(t, bad, rule)
	run := func(f func(*script)) []Violation {
		s := new(script)
		f(s)
		return check(&s.History)
	}
	for name, f := range good {
		assert.Empty(t, run(f), "good: %s", name)
	}
	for name, f := range bad {
		assert.NotEmpty(t, run(f), "bad: %s", name)
	}
}

func TestRecorder(t *testing.T) {
	r := NewRecorder()
	r.Note(Record{Actor: "a", Op: OpSubscribe, Stream: "s", At: place(1, 2)})
	ret := r.Call(Record{Actor: "a", Op: OpPublish, Stream: "s", Items: []Item{{Hash: "h"}}})
	cut := r.Call(Record{Actor: "a", Op: OpPublish, Stream: "s"})
	r.Call(Record{Actor: "a", Op: OpPublish, Stream: "t"})
	ret(func(rec *Record) { rec.Items = []Item{event(1)}; rec.Settle(nil) })
	cut(func(rec *Record) { rec.Settle(rpw.Errorf(rpw.ErrUncertain, "cut")) })
	h := r.History(Dump{Quiet: true, Streams: []StreamDump{{Name: "s", First: place(1, 0), Last: place(1, 1), Items: []Item{event(1)}}}}, Bounds{})

	ops := h.operations(OpPublish)
	require.Len(t, ops, 3)
	assert.Equal(t, []Outcome{OK, Unknown, Unknown}, []Outcome{ops[0].Outcome, ops[1].Outcome, ops[2].Outcome})
	assert.Equal(t, "uncertain", ops[1].Code)
	assert.Equal(t, []Item{event(1)}, ops[0].Items)
	assert.False(t, ops[0].before(ops[1]), "they overlap")
	assert.Equal(t, never, ops[2].end)

	var file bytes.Buffer
	require.NoError(t, h.Write(&file))
	assert.Equal(t, 7, strings.Count(file.String(), "\n"))
	back, err := Read(&file)
	require.NoError(t, err)
	assert.Equal(t, h, back)
	_, err = Read(strings.NewReader(`{"t":1,"op":"log"}`))
	assert.ErrorContains(t, err, "the last line")
	_, err = Read(strings.NewReader(`{`))
	assert.Error(t, err)
}

func TestOutcomeOf(t *testing.T) {
	assert.Equal(t, OK, OutcomeOf(nil))
	assert.Equal(t, No, OutcomeOf(rpw.ErrFull))
	assert.Equal(t, Unknown, OutcomeOf(errors.Join(rpw.ErrUncertain, os.ErrDeadlineExceeded)))
}

// failures counts what a test is told.
type failures struct {
	testing.TB
	texts []string
}

func (f *failures) Helper()           {}
func (f *failures) Error(args ...any) { f.texts = append(f.texts, args[0].(Violation).String()) }
func (f *failures) Errorf(format string, args ...any) {
	f.texts = append(f.texts, args[1].(string))
}

func TestRequire(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := new(script)
	s.published(event(1))
	s.holds(place(1, 0), event(1))
	told := &failures{TB: t}
	Require(told, &s.History)
	assert.Empty(t, told.texts)

	s.holds(place(1, 0))
	Require(told, &s.History)
	require.Len(t, told.texts, 2)
	assert.Contains(t, told.texts[0], "H1 no loss: h1-1 was acknowledged as 1-0 of epoch 1, and is not there\n")
	kept, err := os.Open(told.texts[1])
	require.NoError(t, err)
	defer kept.Close()
	back, err := Read(kept)
	require.NoError(t, err)
	assert.Len(t, back.Check(), 1, "what was kept shows the same")
}
