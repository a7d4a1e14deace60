package history

import (
	"encoding/json"
	"errors"
	"io"
	"time"
)

// away is a Recorder in another process, at the other end of two pipes.
type away struct {
	records *json.Encoder
	answers io.Reader
	answer  [1]byte
}

// RecordTo returns a Recorder for a process beside the one that has the history: that one reads the records, with Join, and writes the answers. A
// call is made only after it was answered, so the order of the history holds for all processes. began is when the time of the history began, as
// the wall clock of the machine told it. A process that loses the other one has to end: its calls are no part of the history any more.
func RecordTo(records io.Writer, answers io.Reader, began time.Time) *Recorder {
	return &Recorder{began: began.Round(0), away: &away{records: json.NewEncoder(records), answers: answers}}
}

// send sends a record. It returns when a call stands in the history.
func (a *away) send(rec Record) {
	err := a.records.Encode(rec)
	if err == nil && rec.Phase == Called {
		_, err = io.ReadFull(a.answers, a.answer[:])
	}
	if err != nil {
		panic("history: the process that has the history is gone: " + err.Error())
	}
}

// Join takes in what another process records by RecordTo, until that ends. What it was about to say then is lost: its calls have not returned.
func (r *Recorder) Join(records io.Reader, answers io.Writer) error {
	numbers := make(map[int]int) // of its calls, here
	for lines := json.NewDecoder(records); ; {
		var rec Record
		switch err := lines.Decode(&rec); {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		r.mu.Lock()
		if rec.Phase == Called {
			r.calls++
			numbers[rec.Call] = r.calls
		}
		rec.Call = numbers[rec.Call]
		r.add(rec)
		r.mu.Unlock()
		if rec.Phase == Called {
			if _, err := answers.Write([]byte{'\n'}); err != nil {
				return nil // it has ended; the call was not made
			}
		}
	}
}
