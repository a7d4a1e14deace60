package history

import (
	"errors"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Record is one line of a history: a call, its return, or something that happened at one time. Fields that an Op does not use are zero.
type Record struct {
	T     time.Duration `json:"t"` // since the Recorder began, monotonic, in ns
	Actor string        `json:"actor,omitempty"`
	Op    Op            `json:"op"`
	Phase Phase         `json:"phase,omitempty"`
	Call  int           `json:"call,omitempty"` // the number that a call and its return share

	Stream  string        `json:"stream,omitempty"`
	Group   string        `json:"group,omitempty"`
	Ref     string        `json:"ref,omitempty"` // of an action
	Key     string        `json:"key,omitempty"` // of the cache
	Kind    string        `json:"kind,omitempty"`
	Token   uint64        `json:"token,omitempty"`
	State   rpw.State     `json:"state,omitempty"`
	Value   string        `json:"value,omitempty"`
	Old     string        `json:"old,omitempty"` // what a conditional write expects
	Found   bool          `json:"found,omitempty"`
	N       int64         `json:"n,omitempty"`
	At      rpw.Position  `json:"at,omitzero"`     // where a reader is
	Resume  rpw.Position  `json:"resume,omitzero"` // where it goes on after a gap
	Until   time.Duration `json:"until,omitempty"` // a time on the scale of T: the end of a lease, a due time
	Bound   time.Duration `json:"bound,omitempty"` // how long the call may take, or how old its answer may be
	Items   []Item        `json:"items,omitempty"`
	Outcome Outcome       `json:"outcome,omitempty"`
	Code    string        `json:"code,omitempty"` // rpw.Code of Err
	Err     string        `json:"err,omitempty"`

	Final *Dump `json:"final,omitempty"` // of OpFinal

	seq int // its place in the history
}

// Item is an event, or an action under a lease.
type Item struct {
	ID      rpw.ID        `json:"id,omitzero"`
	Epoch   uint64        `json:"epoch,omitempty"`
	Count   uint64        `json:"count,omitempty"`
	Hash    string        `json:"hash,omitempty"` // of the payload; the same for all publishes of one key, otherwise unique
	Ref     string        `json:"ref,omitempty"`
	Token   uint64        `json:"token,omitempty"`
	Attempt int           `json:"attempt,omitempty"`
	Until   time.Duration `json:"until,omitempty"`
}

// Op says what a Record is about.
type Op string

// The operations, with the fields they use beside Actor. "call" and "ret" say which of the two has a field.
const (
	OpPublish   Op = "publish"   // call: Stream, Items (Hash); ret: Items (with ids), Outcome
	OpSubscribe Op = "subscribe" // at one time, after it returned: Stream, At; the Actor is the subscription
	OpDeliver   Op = "deliver"   // at one time: Stream, Items
	OpGap       Op = "gap"       // at one time: Stream, Group, Kind, At, Resume, N (missed)
	OpLeave     Op = "leave"     // at one time: the subscription ended before the end of the run
	OpEdit      Op = "edit"      // call: Stream, Items; single events deleted
	OpTrim      Op = "trim"      // call: Stream; also for a stream whose retention is short
	OpReset     Op = "reset"     // call: Stream, "" for all data: history or other data may be gone from now on; Kind: Restored, if that
	OpFailover  Op = "failover"  // call: what was not acknowledged may be gone from now on, also if somebody has seen it

	OpJoin   Op = "join"   // ret: Stream, Group, At: where the group stood when it was made or met
	OpFetch  Op = "fetch"  // call: Stream, Group; ret: Items (Token, Attempt, Until), Outcome
	OpSettle Op = "settle" // call: Stream, Group, Items (one, with Token), Kind (a verdict), Until (of an extension, a delay); ret: Outcome
	OpAdmin  Op = "admin"  // call: Stream, Group; pending events were touched from outside

	OpEnqueue Op = "enqueue" // call: Ref, Until (due), N (attempts); ret: Outcome
	OpClaim   Op = "claim"   // ret: Items (Ref, Token, Attempt, Until), Outcome
	OpAdvance Op = "advance" // call: Ref, Token, Kind (a move), Value (output), Until (of Renew: the lease's end at least; of Fail, Giveback: not before); ret: Outcome, State
	OpControl Op = "control" // call: Ref, Kind (a command); ret: Outcome, State

	OpGet    Op = "get"    // call: Key, Bound (staleness that is allowed; 0 is exact); ret: Found, Value, Outcome
	OpSet    Op = "set"    // call: Key, Value, Kind (Always, IfAbsent, IfEqual), Old; ret: Outcome
	OpDelete Op = "delete" // call: Key; ret: Found, Outcome

	OpLog Op = "log" // at one time: N, the number of the record among those of the Actor

	OpFault  Op = "fault"  // call: Kind; ret when it has healed
	OpSample Op = "sample" // at one time: Kind (a gauge), Value (SampleBefore, ...), N
	OpTimed  Op = "timed"  // call: Bound, Kind (the verb); ret: Outcome
	OpCaught Op = "caught" // at one time: the subscription has everything there is
	OpFinal  Op = "final"  // the last line: Final
)

// Restored is the Kind of a reset that put an older copy of all data in its place: histories, leases and tokens go on from there.
const Restored = "older copy restored"

// Values of the samples that H16 compares: what it was after the run with what it was before, and what was measured with
// the bound.
const (
	SampleBefore = "before"
	SampleAfter  = "after"
	SamplePeak   = "peak"
	SampleBound  = "bound"
)

// GaugeHeap is the gauge that may grow by Bounds.Heap; all others may not.
const GaugeHeap = "heap"

// What a Kind says where rpw has a number.
const (
	Ack     = "ack"
	Nack    = "nack"
	Extend  = "extend"
	Reject  = "reject"
	Release = "release"

	Renew        = "renew"
	Progress     = "progress"
	Complete     = "complete"
	Fail         = "fail"
	Giveback     = "giveback"
	AcceptCancel = "accept cancel"

	Cancel     = "cancel"
	Retry      = "retry"
	Forget     = "delete"
	Reschedule = "reschedule"

	Always   = "always"
	IfAbsent = "if absent"
	IfEqual  = "if equal"
)

// Phase is whether a Record is a call or its return; "" happened at one time.
type Phase string

// The phases.
const (
	Called   Phase = "call"
	Returned Phase = "ret"
)

// Outcome is what the caller of a write was told.
type Outcome string

// The outcomes. A call that did not return is Unknown too.
const (
	OK      Outcome = "ok"
	No      Outcome = "no" // nothing was done
	Unknown Outcome = "unknown"
)

// OutcomeOf reads an error.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, rpw.ErrUncertain):
		return Unknown
	}
	return No
}

// Dump is what the store held at the end, by a reader that nobody disturbed.
type Dump struct {
	Quiet   bool         `json:"quiet"` // all work had the time to end
	Streams []StreamDump `json:"streams,omitempty"`
	Groups  []GroupDump  `json:"groups,omitempty"`
	Actions []ActionDump `json:"actions,omitempty"`
	Logs    []LogDump    `json:"logs,omitempty"`
}

// StreamDump is a stream: what it holds, and the place before its first event.
type StreamDump struct {
	Name  string       `json:"name"`
	First rpw.Position `json:"first"`
	Last  rpw.Position `json:"last"`
	Items []Item       `json:"items,omitempty"`
}

// GroupDump is a consumer group.
type GroupDump struct {
	Stream   string       `json:"stream"`
	Group    string       `json:"group"`
	Position rpw.Position `json:"position"` // delivered up to here
	Pending  []rpw.ID     `json:"pending,omitempty"`
	Dead     []rpw.ID     `json:"dead,omitempty"` // ids in the stream, not in the dead-letter stream
}

// ActionDump is an action.
type ActionDump struct {
	Ref         string       `json:"ref"`
	State       rpw.State    `json:"state"`
	Attempt     int          `json:"attempt"`
	MaxAttempts int          `json:"maxAttempts"`
	Permanent   bool         `json:"permanent,omitempty"` // it failed for a reason that another attempt would not mend
	Output      string       `json:"output,omitempty"`
	Changes     []ChangeDump `json:"changes"` // all of them
}

// ChangeDump is a step of an action.
type ChangeDump struct {
	Seq   uint64         `json:"seq"`
	Kind  rpw.ChangeKind `json:"kind"`
	State rpw.State      `json:"state"`
}

// LogDump are the numbers of one producer's log records in the order in which they are stored, and how many it says it dropped. A handler writes
// records again when it is not told whether they are stored; they have the same ID then, and are read once.
type LogDump struct {
	Actor   string  `json:"actor"`
	Stored  []int64 `json:"stored,omitempty"`
	Again   int64   `json:"again,omitempty"` // records that stood there with the ID of an earlier one
	Dropped int64   `json:"dropped,omitempty"`
}
