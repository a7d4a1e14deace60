package rpw

import (
	"encoding/json"
	"time"
)

// actionJSON is the form of an Action outside of Go: the names of its first fields are those of the original.
type actionJSON struct {
	ID          string          `json:"id"`
	Queue       string          `json:"queue"`
	Name        string          `json:"name"`
	Created     time.Time       `json:"created,omitzero"`
	Arg         json.RawMessage `json:"arg,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	Status      State           `json:"status"`
	Output      json.RawMessage `json:"output,omitempty"`
	Error       *ActionFailure  `json:"error,omitempty"`
	Events      []Change        `json:"events,omitempty"`
	Progress    float64         `json:"progress,omitempty"`
	RunAt       time.Time       `json:"runAt,omitzero"`
	Started     time.Time       `json:"started,omitzero"`
	Finished    time.Time       `json:"finished,omitzero"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"maxAttempts,omitempty"`
	Timeout     time.Duration   `json:"timeout,omitempty"` // ns, as encoding/json writes durations
	Backoff     Backoff         `json:"backoff,omitzero"`
	Failures    []ActionFailure `json:"failures,omitempty"`
	Worker      string          `json:"worker,omitempty"`
	Until       time.Time       `json:"until,omitzero"`
	CancelAt    time.Time       `json:"cancelAt,omitzero"`
	CancelGrace time.Duration   `json:"cancelGrace,omitempty"`
	Unique      string          `json:"unique,omitempty"`
	Labels      []string        `json:"labels,omitempty"`
	Seq         uint64          `json:"seq"`
}

// MarshalJSON writes the names id, name, created, arg, data, status, output, error and events for what the original has, and
// others for the rest.
func (a Action) MarshalJSON() ([]byte, error) {
	return json.Marshal(actionJSON{
		ID: a.Ref.ID, Queue: a.Ref.Queue, Name: a.Name, Created: a.Created, Arg: a.Arg, Data: a.Data, Status: a.State, Output: a.Output,
		Error: a.Failure, Events: a.Events, Progress: a.Progress, RunAt: a.RunAt, Started: a.Started, Finished: a.Finished,
		Attempt: a.Attempt, MaxAttempts: a.MaxAttempts, Timeout: a.Timeout, Backoff: a.Backoff, Failures: a.Failures, Worker: a.Worker,
		Until: a.Until, CancelAt: a.CancelAt, CancelGrace: a.CancelGrace, Unique: a.Unique, Labels: a.Labels, Seq: a.Seq,
	})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Action) UnmarshalJSON(data []byte) error {
	var j actionJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*a = Action{
		Ref: ActionRef{Queue: j.Queue, ID: j.ID}, Name: j.Name, Created: j.Created, Arg: j.Arg, Data: j.Data, State: j.Status, Output: j.Output,
		Failure: j.Error, Events: j.Events, Progress: j.Progress, RunAt: j.RunAt, Started: j.Started, Finished: j.Finished,
		Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, Timeout: j.Timeout, Backoff: j.Backoff, Failures: j.Failures, Worker: j.Worker,
		Until: j.Until, CancelAt: j.CancelAt, CancelGrace: j.CancelGrace, Unique: j.Unique, Labels: j.Labels, Seq: j.Seq,
	}
	return nil
}
