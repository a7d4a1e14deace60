package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Recorder collects what happens during a run. It is safe for concurrent use; make one with NewRecorder.
type Recorder struct {
	began time.Time

	mu      sync.Mutex
	away    *away // of another process; nil: this one keeps the records
	records []Record
	calls   int
}

// NewRecorder returns a Recorder whose time begins now.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Began is when the time of the records began.
func (r *Recorder) Began() time.Time { return r.began }

// Now is the time on the scale of the records.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// On is a time of the store's clock on the scale of the records. It means something if the store has the clock of this machine.
func (r *Recorder) On(t time.Time) time.Duration { return t.Sub(r.began.Round(0)) }

// Note records something that happens now.
func (r *Recorder) Note(rec Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(rec)
}

// add keeps a record of now. r is locked.
func (r *Recorder) add(rec Record) {
	rec.T = r.Now()
	if r.away != nil {
		r.away.send(rec)
		return
	}
	r.records = append(r.records, rec)
}

// Call records a call, before it is made. The function it returns records the return: a copy of the call's fields, changed by what ret does to it.
func (r *Recorder) Call(rec Record) (ret func(func(*Record))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	rec.Phase, rec.Call = Called, r.calls
	r.add(rec)
	return func(answer func(*Record)) {
		rec.Phase = Returned
		answer(&rec)
		r.Note(rec)
	}
}

// Settle tells a return what became of a write.
func (rec *Record) Settle(err error) {
	rec.Outcome = OutcomeOf(err)
	if err != nil {
		rec.Code, rec.Err = rpw.Code(err), err.Error()
	}
}

// History returns what was recorded, with what the store held at the end.
func (r *Recorder) History(final Dump, bounds Bounds) *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &History{Records: r.records, Final: final, Bounds: bounds}
}

// Write writes a history as JSON lines, the dump last.
func (h *History) Write(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	lines := json.NewEncoder(buffered)
	var errs []error
	for _, rec := range h.Records {
		errs = append(errs, lines.Encode(rec))
	}
	errs = append(errs, lines.Encode(Record{Op: OpFinal, Final: &h.Final}), buffered.Flush())
	return errors.Join(errs...)
}

// Read reads what Write wrote. The bounds are not part of it.
func Read(from io.Reader) (*History, error) {
	h := new(History)
	for lines := json.NewDecoder(from); ; {
		var rec Record
		switch err := lines.Decode(&rec); {
		case err == io.EOF:
			return nil, errors.New("history: the last line, with what the store held at the end, is missing")
		case err != nil:
			return nil, err
		case rec.Final != nil:
			h.Final = *rec.Final
			return h, nil
		}
		h.Records = append(h.Records, rec)
	}
}

// Require fails t for every violation of h, and keeps h then, as a file in the temporary directory of the machine.
func Require(t testing.TB, h *History) {
	t.Helper()
	Report(t, h, h.Check())
}

// Report is Require when it is known what h violates.
func Report(t testing.TB, h *History, violations []Violation) {
	t.Helper()
	if len(violations) == 0 {
		return
	}
	const shown = 10
	for _, v := range violations[:min(shown, len(violations))] {
		t.Error(v)
	}
	t.Errorf("%d violations; the history: %s", len(violations), keep(h))
}

func keep(h *History) string {
	f, err := os.CreateTemp("", "rpw-history-*.jsonl")
	if err != nil {
		return err.Error()
	}
	if err := errors.Join(h.Write(f), f.Close()); err != nil {
		return fmt.Sprintf("%s, cut short: %v", f.Name(), err)
	}
	return filepath.Clean(f.Name())
}
