package rpw

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// ActionStore is the contract of a driver for actions: tracked units of work that any worker may
// run. The rules of StreamBus for every method hold here too.
//
// Every verb that looks at an action answers as of the store's now: a lapsed lease, a passed cancel grace, an expired or
// exhausted action is seen as what it has become, whether or not any worker is alive. So there are no movers, janitors or leaders.
type ActionStore interface {
	// Enqueue stores actions, all or none for each queue (each queue is one atomic step; its other items then carry ErrConflict).
	// An id that is taken by the same name and argument answers Existing; by another, ErrConflict. A call of unknown outcome that the store carries
	// out late can bring an action back that was deleted meanwhile.
	Enqueue(ctx context.Context, specs []ActionSpec) ([]Enqueued, error)
	// Claim promotes what is due, takes back what lapsed, and leases actions that can run, in one step for each queue: by
	// priority, then by the time they became due, then in order of enqueueing. Queues are tried in the given order; a paused one gives nothing.
	// An action whose lease lapsed is claimable at once; one that has no attempt left becomes failed instead.
	Claim(ctx context.Context, req ClaimRequest) ([]Claimed, error)
	// Advance moves claimed actions. Each move is fenced by its lease: a superseded holder gets ErrLeaseLost and changes nothing.
	// Repeating an applied Complete, Fail, Giveback or AcceptCancel with the same lease is nil. After a cancel was requested Complete and
	// Fail end the action as cancelled and answer ErrCancelled, also when repeated; Giveback ends it as cancelled. AcceptCancel
	// without a request is ErrConflict.
	Advance(ctx context.Context, req AdvanceRequest) ([]Advanced, error)
	// Control commands actions and queues from outside, without a lease.
	Control(ctx context.Context, req ControlRequest) ([]Controlled, error)

	// Get returns actions with their events; an absent one has ErrNotFound.
	Get(ctx context.Context, refs []ActionRef) ([]GotAction, error)
	// List returns a page of actions without their events, by time of creation over all queues asked for; not a snapshot.
	List(ctx context.Context, req ListActions) (ActionsPage, error)
	// Count counts actions by state.
	Count(ctx context.Context, filter ActionFilter) (map[State]int64, error)
	// Queues describes the queues that hold actions or are paused, by name.
	Queues(ctx context.Context, req QueuesRequest) (QueuesPage, error)
	// Changes returns what happened to an action after a sequence number, waiting if asked to. Get's Action.Seq and Changes after it are
	// one gapless sequence. If changes after req.After are no longer kept, or if the action never got that far (it was deleted, and the id used
	// again), it answers a *GapError; take a new snapshot by Get. After the change to a terminal state a wait goes on: a Retry may follow.
	Changes(ctx context.Context, req ChangesRequest) ([]Change, error)

	// Heartbeat registers a worker, or renews it, and waits for signals to it: cancel requests for what it runs.
	// A signal is answered within a second of its cause, without polling by the caller; a worker that claims before its first
	// heartbeat learns of a cancel from Advanced.Cancel only.
	Heartbeat(ctx context.Context, hb Heartbeat) ([]Signal, error)
	// Workers lists the workers, by name and id, from a bounded index. A worker whose TTL ran out shows as offline, for a day.
	Workers(ctx context.Context, req WorkersRequest) (WorkersPage, error)
}

// Defaults of actions.
const (
	DefaultLease        = 10 * time.Second
	DefaultMaxAttempts  = 5
	DefaultBackoffFirst = time.Second
	DefaultBackoffMax   = time.Hour
	DefaultCancelGrace  = 10 * time.Second
	DefaultWorkerTTL    = 15 * time.Second
	MaxDelay            = MaxTTL // how far ahead an action may be scheduled
)

// State is the state of an action.
type State string

// The states. Completed, Failed and Cancelled are terminal: an action enters exactly one of them, once.
// An action that waits for its time or for its next attempt is Pending.
const (
	Pending   State = "pending"
	Running   State = "running"
	Completed State = "completed"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Terminal reports whether the state is final.
func (s State) Terminal() bool { return s == Completed || s == Failed || s == Cancelled }

// ActionRef addresses an action. Ids are unique within a queue; they follow the grammar of names and hold no "/".
type ActionRef struct {
	Queue string
	ID    string
}

// String returns "queue/id", or "" for the zero ActionRef.
func (r ActionRef) String() string {
	if r == (ActionRef{}) {
		return ""
	}
	return r.Queue + "/" + r.ID
}

// MarshalText writes the form of String.
func (r ActionRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the form of String, also of the zero ActionRef.
func (r *ActionRef) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = ActionRef{}
		return nil
	}
	parsed, err := ParseActionRef(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// ParseActionRef reads "queue/id"; a queue may hold "/" itself.
func ParseActionRef(s string) (ActionRef, error) {
	i := strings.LastIndexByte(s, '/')
	if i < 1 || i == len(s)-1 {
		return ActionRef{}, Errorf(ErrInvalid, "%s is no action; the form is queue/id", QuoteName(s))
	}
	r := ActionRef{Queue: s[:i], ID: s[i+1:]}
	return r, r.check()
}

func (r ActionRef) check() error {
	if err := CheckName("queue", r.Queue); err != nil {
		return err
	}
	if err := CheckName("action id", r.ID); err != nil {
		return err
	}
	if strings.Contains(r.ID, "/") {
		return Errorf(ErrInvalid, "action id %s holds a \"/\"", QuoteName(r.ID))
	}
	return nil
}

// ActionSpec describes an action to be enqueued. Package actions fills it from a definition.
type ActionSpec struct {
	Ref  ActionRef       // both parts are needed; package actions makes an id (a UUID v7)
	Name string          // what to do: workers have a handler for each name
	Arg  json.RawMessage // the argument, JSON; at most MaxPayload; nil: null
	Data json.RawMessage // the first progress data, JSON; may be nil

	Delay       time.Duration // run not before this long from now; 0: at once; at most MaxDelay
	RunAt       time.Time     // or not before this time; only one of Delay and RunAt may be set
	StartWithin time.Duration // becomes failed if no attempt began this long after it was enqueued; 0: no expiry
	Timeout     time.Duration // of each attempt; 0: none
	MaxAttempts int           // 0: DefaultMaxAttempts
	Backoff     Backoff       // between attempts
	CancelGrace time.Duration // how long a running handler may take to acknowledge a cancel; 0: DefaultCancelGrace

	Unique   string       // at most one action of the queue with this key is pending or running; "": not unique
	OnUnique UniquePolicy // what to do if there is one
	Labels   []string     // for List; at most 16, by the grammar of names
	Keep     KeepActions  // how long it is kept when finished

	// The fields below are for drivers to come. A driver that does not implement one answers a non-zero value with errors.ErrUnsupported.

	Priority    int         // higher first, within the queue
	Concurrency Concurrency // a bound on how many with the same key run at a time
	Repeat      Repeat      // a schedule, kept by the store
	After       []ActionRef // runs when these have completed
}

// Backoff is how long to wait between attempts: exponential, from First, doubled each time, up to Max, less a random
// part. A handler's error may say otherwise for one attempt.
type Backoff struct {
	First  time.Duration // 0: DefaultBackoffFirst
	Max    time.Duration // 0: DefaultBackoffMax
	Jitter float64       // the share of the wait that is random, 0 to 1; 0: 0.5; negative: none
}

// UniquePolicy says what Enqueue does when an action with the same unique key is pending or running.
type UniquePolicy uint8

// The policies. Replace and Reschedule need the other one to be pending; a running one is ErrConflict.
const (
	UniqueJoin       UniquePolicy = iota // answer the one that is there (Existing)
	UniqueReject                         // ErrConflict
	UniqueReplace                        // it takes argument, options and time from the new spec, and keeps its id
	UniqueReschedule                     // it takes only the time from the new spec
)

// KeepActions is how long a finished action is kept, by outcome. 0 is the default, NoTTL is until deleted.
type KeepActions struct {
	Completed time.Duration // 0: 24 h
	Failed    time.Duration // 0: 7 days
	Cancelled time.Duration // 0: 24 h
}

// Concurrency bounds how many actions of a queue with the same Key run at a time.
type Concurrency struct {
	Key string
	Max int
}

// Repeat is a schedule: one firing at each time, however many schedulers run.
type Repeat struct {
	Cron  string        // five fields, or
	Every time.Duration // an interval
	Zone  string        // of Cron, IANA; "": UTC
}

// Enqueued answers an ActionSpec.
type Enqueued struct {
	Ref      ActionRef
	Existing bool // it was there before: same id, or same unique key
	Err      error
}

// Action is an action as of the store's now. Do not write into its slices.
type Action struct {
	Ref         ActionRef
	Name        string
	State       State
	Arg         json.RawMessage
	Data        json.RawMessage // the newest progress data
	Progress    float64         // 0 to 1, as the handler says
	Output      json.RawMessage // of a completed action
	Failure     *ActionFailure  // why it failed or was cancelled; for a pending one, of its last attempt
	Created     time.Time
	RunAt       time.Time // a pending one runs not before
	Started     time.Time // of the newest attempt; zero if none
	Finished    time.Time // zero unless terminal
	Attempt     int       // attempts begun; 0 before the first
	MaxAttempts int
	Timeout     time.Duration
	Backoff     Backoff
	Failures    []ActionFailure // of every failed attempt, the newest 100
	Worker      string          // the session that holds it; the last one if it is not running
	Until       time.Time       // the end of the lease of a running one
	CancelAt    time.Time       // when a cancel was requested; zero: never
	CancelGrace time.Duration
	Unique      string
	Labels      []string
	Seq         uint64   // of its newest change
	Events      []Change // the newest 100 changes; only from Get
}

// ActionFailure is why an attempt failed.
type ActionFailure struct {
	Message   string    `json:"message"` // at most 16 KiB
	Attempt   int       `json:"attempt,omitempty"`
	Time      time.Time `json:"time,omitzero"`
	Worker    string    `json:"worker,omitempty"`
	Permanent bool      `json:"permanent,omitempty"` // it was not worth another attempt
	Stack     string    `json:"stack,omitempty"`     // of a panic, at most 16 KiB
}

// Error returns the message.
func (f *ActionFailure) Error() string { return f.Message }

// ClaimRequest asks for actions to run.
type ClaimRequest struct {
	Queues []string // tried in this order; 1 to 100
	Worker string   // the id of the worker's session, as in its Heartbeat
	Lane   Lane
	Max    int           // 0: 1; above MaxPage: MaxPage; at most MaxBatchBytes, but always one action, and perhaps one of each queue
	Lease  time.Duration // 0: DefaultLease; MinLease to MaxLease
	Wait   time.Duration
}

// Lease is the right to advance an action. Token grows with every claim of the action, and is at least the
// store's time in µs, so it grows also when the store lost its newest writes. Hand it to
// whatever the handler writes to, and refuse smaller ones there.
type Lease struct {
	Ref   ActionRef
	Token uint64
}

// Claimed is an action under a lease.
type Claimed struct {
	Action
	Lease Lease
}

// MoveKind is what a Move does.
type MoveKind uint8

// The moves. The zero MoveKind is invalid.
const (
	_            MoveKind = iota
	Renew                 // the lease ends For from now
	SetProgress           // Progress and Data; also renews by the lease's length
	AddEvent              // an event of the handler's own: Event and Data
	Complete              // with Output
	Fail                  // with Failure; another attempt after RetryIn if one is left and it is not permanent
	Giveback              // hand it back untouched: pending again after RetryIn, the attempt does not count
	AcceptCancel          // the handler has stopped because of a cancel request
)

// Move is one step of a claimed action.
type Move struct {
	Lease    Lease
	Kind     MoveKind
	For      time.Duration   // of Renew: MinLease to MaxLease; 0: as claimed
	Progress float64         // of SetProgress: 0 to 1; negative: as it was
	Data     json.RawMessage // of SetProgress (nil: as it was) and AddEvent
	Event    string          // of AddEvent, by the grammar of names
	Output   json.RawMessage // of Complete; at most MaxPayload
	Failure  ActionFailure   // of Fail; the store fills Attempt, Time and Worker
	RetryIn  time.Duration   // of Fail and Giveback; 0: at once
}

// AdvanceRequest carries moves, 1 to MaxBatch.
type AdvanceRequest struct {
	Lane  Lane
	Moves []Move
}

// Advanced answers a Move.
type Advanced struct {
	State  State
	Until  time.Time // the end of the lease, if it is still running
	Cancel bool      // a cancel was requested: stop, and AcceptCancel
	Err    error
}

// CommandKind is what a Command does.
type CommandKind uint8

// The commands. The zero CommandKind is invalid.
const (
	_            CommandKind = iota
	Cancel                   // a pending action is cancelled at once; a running one is asked to stop and is cancelled when it has, or after its grace
	Retry                    // a failed or cancelled action runs again, with all its attempts; ErrConflict while its unique key is taken
	DeleteAction             // a terminal or pending action is removed; a running one is ErrConflict (cancel it first)
	Reschedule               // a pending action runs after Delay or at RunAt
	Pause                    // the queue hands out nothing until Resume; what runs goes on
	Resume                   //
)

// Command is one command to an action, or to a queue (Pause and Resume: only Ref.Queue is set).
type Command struct {
	Kind   CommandKind
	Ref    ActionRef
	Delay  time.Duration // of Reschedule and Retry
	RunAt  time.Time     // of Reschedule, instead of Delay
	Reason string        // of Cancel; at most 16 KiB
}

// ControlRequest carries commands, 1 to MaxBatch, each atomic for itself.
type ControlRequest struct {
	Lane     Lane
	Commands []Command
}

// Controlled answers a Command: the receipt.
type Controlled struct {
	State State // of the action after the command; Running for a cancel that was only requested
	Err   error // ErrNotFound; ErrFinished: it is terminal already (Cancel of a cancelled one is nil)
}

// GotAction answers Get.
type GotAction struct {
	Action
	Err error
}

// ActionFilter selects actions. Zero fields select everything.
type ActionFilter struct {
	Queues      []string // none: all that begin with QueuePrefix
	QueuePrefix string
	States      []State
	NamePrefix  string
	Label       string
	From        time.Time // created at this time or later
	To          time.Time // created before this time
}

// ListActions asks for a page of actions.
type ListActions struct {
	ActionFilter
	Reverse bool   // newest first
	Cursor  string // the Next of the page before; opaque
	Max     int    // 0 or above MaxPage: MaxPage
}

// ActionsPage is a page of actions; Next is "" on the last one.
type ActionsPage struct {
	Actions []Action
	Next    string
}

// QueuesRequest asks for a page of queues.
type QueuesRequest struct {
	Prefix string
	After  string // the Next of the page before
	Max    int    // 0 or above MaxPage: MaxPage
}

// QueuesPage is a page of queues; Next is "" on the last one.
type QueuesPage struct {
	Queues []QueueInfo
	Next   string
}

// QueueInfo describes a queue.
type QueueInfo struct {
	Name      string
	Paused    bool
	Ready     int64         // pending and due
	Scheduled int64         // pending and not yet due
	Running   int64         //
	Finished  int64         // terminal and still kept
	Oldest    time.Duration // how long the oldest ready action has been due
}

// ChangeKind says what happened to an action. The names are those of the original's events where it has one.
type ChangeKind string

// The kinds of change.
const (
	ChangeRequest     ChangeKind = "request"     // enqueued
	ChangeClaimed     ChangeKind = "claimed"     // an attempt began
	ChangeData        ChangeKind = "data"        // progress
	ChangeEvent       ChangeKind = "event"       // an event of the handler's own
	ChangeRetry       ChangeKind = "retry"       // an attempt failed or its worker was lost; another will follow
	ChangeReleased    ChangeKind = "released"    // handed back untouched
	ChangeRescheduled ChangeKind = "rescheduled" // another time, or replaced, or retried by command
	ChangeCancel      ChangeKind = "cancel"      // a cancel was requested
	ChangeCompleted   ChangeKind = "completed"   //
	ChangeFailed      ChangeKind = "failed"      //
	ChangeCancelled   ChangeKind = "cancelled"   //
)

// Change is an entry of an action's history.
type Change struct {
	Seq      uint64          `json:"seq"` // 1, 2, 3, ... within the action
	Kind     ChangeKind      `json:"type"`
	Time     time.Time       `json:"time"`
	State    State           `json:"status"` // after the change
	Attempt  int             `json:"attempt,omitempty"`
	Worker   string          `json:"worker,omitempty"`
	Progress float64         `json:"progress,omitempty"`
	Event    string          `json:"event,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"` // of ChangeCompleted
	Failure  *ActionFailure  `json:"error,omitempty"`  // of ChangeRetry, ChangeFailed, ChangeCancel, ChangeCancelled
	RunAt    time.Time       `json:"runAt,omitzero"`
}

// ChangesRequest asks for the changes of an action.
type ChangesRequest struct {
	Ref   ActionRef
	After uint64 // the Seq of the last change seen; 0: from the first
	Max   int    // 0 or above MaxPage: MaxPage
	Wait  time.Duration
	Final bool // only the change to a terminal state; an earlier one does not end the wait
}

// WorkerStatus is what a worker does.
type WorkerStatus string

// The statuses. A store says WorkerOffline of a worker whose heartbeat stopped.
const (
	WorkerIdle    WorkerStatus = "idle"
	WorkerBusy    WorkerStatus = "busy"
	WorkerError   WorkerStatus = "error"
	WorkerOffline WorkerStatus = "offline"
)

// WorkerInfo describes a worker.
type WorkerInfo struct {
	ID       string            `json:"id"` // of this run of the worker: a new one each time it starts
	Name     string            `json:"name"`
	Status   WorkerStatus      `json:"status"`
	Started  time.Time         `json:"started"`
	LastSeen time.Time         `json:"lastSeen"` // set by the store
	Host     string            `json:"host,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Slots    int               `json:"slots,omitempty"` // how many actions it runs at a time
	Queues   []string          `json:"queues,omitempty"`
	Running  []WorkerTask      `json:"running,omitempty"` // the newest 100
	Error    string            `json:"error,omitempty"`   // of WorkerError
	Meta     map[string]string `json:"meta,omitempty"`    // at most 32
}

// WorkerTask is something a worker is doing now.
type WorkerTask struct {
	Kind  string    `json:"kind"` // "action", "stream" or "service"
	Name  string    `json:"name"` // the ActionRef's text, the stream and group, the service
	Since time.Time `json:"since"`
}

// Heartbeat registers or renews a worker.
type Heartbeat struct {
	Worker WorkerInfo    // replaces what is stored; WorkerOffline takes it off
	TTL    time.Duration // offline after this long without a heartbeat; 0: DefaultWorkerTTL
	After  uint64        // the signals up to this Seq have been handled
	Wait   time.Duration // how long to wait for a signal; the beat itself is stored at once
}

// Signal tells a worker something about what it runs.
type Signal struct {
	Seq    uint64 // grows within the worker's session
	Kind   SignalKind
	Lease  Lease     // of SignalCancel
	Reason string    // of the cancel
	Until  time.Time // when the grace ends
}

// SignalKind is the kind of a Signal.
type SignalKind string

// The kinds of signal. Receivers ignore kinds they do not know.
const SignalCancel SignalKind = "cancel"

// WorkersRequest asks for a page of workers.
type WorkersRequest struct {
	NamePrefix string
	Statuses   []WorkerStatus
	Cursor     string
	Max        int // 0 or above MaxPage: MaxPage
}

// WorkersPage is a page of workers; Next is "" on the last one.
type WorkersPage struct {
	Workers []WorkerInfo
	Next    string
}
