package rpw

import (
	"context"
	"time"
)

// StreamBus is the contract of a driver for streams and consumer groups.
//
// What holds for every method of every contract:
//   - The Hub has checked names, limits and the ranges of numbers, and has added its namespace; a driver does not check again.
//   - A driver never retries a write. It answers ErrUnavailable only if nothing was done, ErrUncertain if it cannot know.
//   - ctx ends the caller's wait only; a ctx that is done before the call means nothing is done. A write that ctx cuts after
//     it may have left matches both ErrUncertain and the context's error.
//   - Wait > 0 lets a call wait until there is something to answer. Nothing in time is an empty answer and no error; a driver may
//     also give an empty answer early, so callers loop. Wait may be Forever.
//   - A slice of answers has one entry for each item of the request, in its order; an item's error is of that item alone, the error of the
//     call of all items.
//   - Values handed in or out are never written again by either side; a driver copies once on the way in. Only the slice of
//     answers itself is the caller's, so a driver that remembers answers hands out a copy of it; and the slices of batches and of
//     their events are the caller's again when Publish has stored them, if need be at a repeat: a driver that goes on with them behind
//     an error has a copy.
//   - Durations come in, absolute times go out; only the store's clock counts.
//   - All methods are safe for concurrent use.
type StreamBus interface {
	// Publish appends batches. Each batch is one atomic step of its own: check the producer, the keys and Expect, append
	// all events or none, contiguous and in order, apply Keep, wake the readers. Batches of one call are taken in order.
	// A stream begins to exist, with a new epoch, with the first verb that names it.
	Publish(ctx context.Context, batches []Batch) ([]Published, error)

	// Locate turns a Start into a Position, pinning it: whatever is published after Locate returned comes after the
	// position (Newest), so a reader needs no race-prone "from now on". StartAfter is answered as it is, unless its
	// position has no epoch, which means "after this id in the present history".
	Locate(ctx context.Context, stream string, at Start) (Position, error)

	// Read returns events after a position, oldest first, or before it, newest first (Reverse). If history between the
	// position and the first event it could return is missing, it answers a *GapError and no event; reading from the gap's Resume or Oldest goes on.
	Read(ctx context.Context, req ReadRequest) ([]Event, error)

	// Streams lists the streams that exist, by name, without dead-letter streams unless asked for.
	Streams(ctx context.Context, req StreamsRequest) (StreamsPage, error)
	// StreamInfo describes one stream; ErrNotFound if it does not exist.
	StreamInfo(ctx context.Context, stream string) (StreamInfo, error)
	// Trim removes the oldest events, as retention does: readers behind get a gap. It returns how many went.
	Trim(ctx context.Context, stream string, keep Retention) (int64, error)
	// DeleteEvents removes single events: an edit, not a gap. It returns how many were there.
	DeleteEvents(ctx context.Context, stream string, ids []ID) (int64, error)
	// DeleteStream removes a stream with its groups, keys and dead letters. Readers get a gap of kind reset. Deleting what does not exist is no error.
	DeleteStream(ctx context.Context, stream string) error

	// EnsureGroup creates a group, or confirms that it exists with these settings; other settings are ErrConflict, unless Update is set.
	EnsureGroup(ctx context.Context, cfg GroupConfig) (GroupInfo, error)
	// Fetch leases events to a consumer: first those whose lease lapsed or whose delay has passed, in order of their ids, then new ones.
	// An event past MaxDeliveries goes to the dead-letter stream instead, in the same step. Missing history is a *GapError, once
	// for each consumer. ErrNotFound: no such group (call EnsureGroup).
	Fetch(ctx context.Context, req FetchRequest) ([]Delivery, error)
	// Settle applies verdicts. Each is fenced by its receipt: a superseded holder gets ErrLeaseLost and changes nothing;
	// repeating an applied verdict is nil for at least RepeatWindow, while it is among the group's last 10,000.
	Settle(ctx context.Context, req SettleRequest) ([]error, error)
	// Groups describes the groups of a stream, by name, with their consumers; a stream that does not exist has none.
	Groups(ctx context.Context, stream string) ([]GroupInfo, error)
	// Pending lists events that are leased or wait for redelivery, by id.
	Pending(ctx context.Context, req PendingRequest) (PendingPage, error)
	// Administer changes groups. It returns how many events each command touched.
	Administer(ctx context.Context, req GroupCommands) ([]GroupAnswer, error)
}

// Forever is a Wait without an end; ctx still ends it.
const Forever time.Duration = 1<<63 - 1

// RepeatWindow is how long a store remembers what it answered to a Producer, a Lane, a settled
// receipt or an event key (unless Batch.KeyWindow says otherwise).
const RepeatWindow = 2 * time.Minute

// Defaults of streams and groups.
const (
	DefaultKeepEvents    = 1_000_000
	DefaultGroupLease    = 30 * time.Second
	DefaultMaxDeliveries = 5
	Unlimited            = -1 // no bound, where a field says so
	MinLease             = 100 * time.Millisecond
	MaxLease             = time.Hour
)

// Headers that an event in a dead-letter stream carries beside its own.
const (
	HeaderDeadReason   = "rpw-dead-reason"   // the error text of the last attempt, or "max deliveries"
	HeaderDeadAttempts = "rpw-dead-attempts" // how often it was delivered, decimal
	HeaderDeadConsumer = "rpw-dead-consumer" // who held it last
	HeaderDeadID       = "rpw-dead-id"       // its id in the stream it comes from
)

// Producer identifies a batch among the repeats that the library makes itself: the id of the publishing Hub
// and a number that grows with each batch to a stream. The Hub sets it; servers pass it on unchanged. A store keeps, per
// stream, the last Seq of each producer and its answer, for RepeatWindow after its last use: the same Seq answers the stored result, a
// smaller one (a late execution whose caller is gone) is refused with ErrConflict, a greater one appends, also with a hole.
// The zero Producer is not checked.
type Producer struct {
	ID  [16]byte
	Seq uint64
}

// Lane identifies a call among its own repeats after a lost reply, for Fetch, Settle, Claim, Advance and the like: a store keeps
// the last answer of each lane for RepeatWindow, and answers the same Seq with it instead of doing the work again. One lane
// carries one call at a time, with a growing Seq. The Hub sets it. The zero Lane is not remembered.
type Lane struct {
	ID  [16]byte
	Seq uint64
}

// Batch is what one atomic step appends to one stream.
type Batch struct {
	Stream    string
	Producer  Producer
	Events    []NewEvent    // 1 to MaxBatch, together at most MaxBatchBytes
	Keep      Retention     // applied after the append, and remembered for the stream's retention by age; zero: what the stream had, at first DefaultKeepEvents
	KeyWindow time.Duration // how long the keys of this batch are remembered; 0: RepeatWindow; at most 24 h
	Expect    Position      // append only if the stream ends here, else ErrConflict; zero: wherever it ends
}

// NewEvent is an event to be stored.
type NewEvent struct {
	Type   string            // what happened, by the grammar of names
	Data   []byte            // the payload, JSON in all of rpw's own helpers; at most MaxPayload; may be empty
	Key    string            // if not "": stored once within the batch's KeyWindow, whoever publishes, also within one batch; the same key answers the first position
	Header map[string]string // small extras, such as a trace id; at most 32, counted into the size of the payload
}

// Published answers a Batch.
type Published struct {
	Positions []Position // of each event; an event whose key was already stored answers its old position
	Err       error
}

// Last returns the position after the batch: that of its last event. It is zero if Err is set.
func (p Published) Last() Position {
	if len(p.Positions) == 0 {
		return Position{}
	}
	return p.Positions[len(p.Positions)-1]
}

// Retention bounds what a stream keeps. Both bounds hold; zero fields mean the default.
type Retention struct {
	Events int64         // how many; 0: DefaultKeepEvents; Unlimited: no bound. A store may keep up to 1 % or 100 more, whichever is larger.
	Age    time.Duration // how old; 0: no bound
}

// Event is a stored event. It is a value shared with other readers: do not write into Data or Header.
type Event struct {
	ID     ID
	Epoch  uint64 // with Count: see Position
	Count  uint64
	Type   string
	Data   []byte
	Key    string
	Header map[string]string
}

// Position returns the place right after this event.
func (e Event) Position() Position { return Position{Epoch: e.Epoch, ID: e.ID, Count: e.Count} }

// Size is what an event counts against limits: the bytes of its type, key, payload and headers.
func (e NewEvent) Size() int {
	n := len(e.Type) + len(e.Key) + len(e.Data)
	if len(e.Header) > 0 { // the loop costs, also if there is nothing
		for k, v := range e.Header {
			n += len(k) + len(v)
		}
	}
	return n
}

// ReadRequest asks for a page of events.
type ReadRequest struct {
	Stream  string
	After   Position      // exclusive; zero: from the oldest (Reverse: from the newest)
	Until   ID            // inclusive end; zero: none
	Max     int           // events; 0 or above MaxPage: MaxPage. A page holds at most MaxBatchBytes, but always one event.
	Reverse bool          // newest first, going down from After (exclusive) to Until; never waits, reports no gap
	Wait    time.Duration // how long to wait for the first event; Forever is allowed
	Reuse   []Event       `wire:"-"` // a page that this store answered and the caller is done with: it may write the next one in its place; it does not leave the process
}

// StreamsRequest asks for a page of streams.
type StreamsRequest struct {
	Prefix      string // only names that begin so
	After       string // the Next of the page before
	Max         int    // 0 or above MaxPage: MaxPage
	DeadLetters bool   // also dead-letter streams
}

// StreamsPage is a page of stream names; Next is "" on the last page.
type StreamsPage struct {
	Names []string
	Next  string
}

// StreamInfo describes a stream.
type StreamInfo struct {
	Name   string
	Events int64    // stored now
	Bytes  int64    // of payloads and headers; 0 if the store cannot tell
	Added  uint64   // ever added in this epoch
	First  Position // before the oldest event
	Last   Position // after the newest
	Groups int
	Keep   Retention
}

// GroupConfig describes a consumer group.
type GroupConfig struct {
	Stream        string
	Group         string
	From          Start         // where a new group begins
	Lease         time.Duration // 0: DefaultGroupLease; MinLease to MaxLease
	MaxDeliveries int           // 0: DefaultMaxDeliveries; Unlimited: never a dead letter by count. A group on a dead-letter stream must say Unlimited.
	DeadLetter    Retention     // of the dead-letter stream
	Update        bool          // take these settings also if the group exists with others; From is not changed
}

// GroupInfo describes a consumer group as of the store's now.
type GroupInfo struct {
	GroupConfig
	Incarnation   uint64        // new each time the group is created; grows
	Position      Position      // up to which events were delivered at least once
	Lag           int64         // events not delivered yet
	Pending       int64         // leased, or waiting for redelivery
	OldestPending time.Duration // since the first delivery of the oldest pending event; 0: none
	DeadLetters   int64         // in the dead-letter stream now
	Consumers     []ConsumerInfo
}

// ConsumerInfo describes a consumer of a group. A consumer without pending events that has not
// fetched for an hour is forgotten.
type ConsumerInfo struct {
	Name     string
	Pending  int64
	LastSeen time.Time
}

// FetchRequest asks for events under a lease.
type FetchRequest struct {
	Stream      string
	Group       string
	Consumer    string
	Lane        Lane
	Incarnation uint64        // of the group as the consumer knows it; another one answers a *GapError of kind reset; 0: not checked
	Max         int           // 0: 1; above MaxPage: MaxPage; at most MaxBatchBytes, but always one event
	Lease       time.Duration // 0: the group's
	Wait        time.Duration
}

// Delivery is an event under a lease.
type Delivery struct {
	Event
	Receipt Receipt
	Attempt int       // 1 for the first delivery; an event given back untouched does not count
	Until   time.Time // the end of the lease, by the store's clock
}

// Receipt fences what a holder says about an event. Token grows with every delivery in a group, and
// above those of its earlier incarnations (at least the store's time in µs).
type Receipt struct {
	ID          ID
	Incarnation uint64
	Token       uint64
}

// Verdict is what a holder says about an event.
type Verdict uint8

// The verdicts. The zero Verdict is invalid, so that a forgotten one is not an ack.
const (
	_       Verdict = iota
	Ack             // done; never delivered to this group again
	Nack            // deliver again after Delay; counts as a delivery
	Extend          // hold it longer: the lease ends Delay (0: the group's lease) from now
	Reject          // never again: to the dead-letter stream, with Reason
	Release         // give it back untouched, at once; does not count as a delivery
)

// Settlement is a verdict on one event.
type Settlement struct {
	Receipt Receipt
	Verdict Verdict
	Delay   time.Duration // of Nack (0 to 24 h) and Extend (MinLease to MaxLease)
	Reason  string        // of Nack and Reject; kept up to 16 KiB
}

// SettleRequest carries verdicts for one group, 1 to MaxBatch.
type SettleRequest struct {
	Stream      string
	Group       string
	Lane        Lane
	Settlements []Settlement
}

// PendingRequest asks for a page of a group's pending events.
type PendingRequest struct {
	Stream   string
	Group    string
	Consumer string // only this one's; "": all
	After    ID     // the Next of the page before
	Max      int    // 0 or above MaxPage: MaxPage
}

// PendingPage is a page of pending events; Next is zero on the last page.
type PendingPage struct {
	Entries []PendingEntry
	Next    ID
}

// PendingEntry is an event that a group has delivered and not settled.
type PendingEntry struct {
	ID       ID
	Consumer string // the last holder
	Attempt  int
	Leased   bool      // false: it waits to be delivered again
	Until    time.Time // the end of the lease, or when it may be delivered again
	Reason   string    // of the last Nack
}

// GroupVerb is what a GroupCommand does.
type GroupVerb uint8

// The commands.
const (
	_              GroupVerb = iota
	Redrive                  // hand dead letters to their group again: attempt 1, same ids; no other group and no subscriber sees it
	ResetGroup               // continue at From; forgets what is pending
	DeleteGroup              // with its pending events; the dead-letter stream stays
	RemoveConsumer           // its pending events become deliverable at once, none is lost
)

// GroupCommand is one change to a group.
type GroupCommand struct {
	Stream   string
	Group    string
	Verb     GroupVerb
	IDs      []ID   // of Redrive: ids in the dead-letter stream; none: the oldest Max
	Max      int    // of Redrive; 0: MaxBatch
	From     Start  // of ResetGroup
	Consumer string // of RemoveConsumer
}

// GroupCommands are 1 to MaxBatch commands, each atomic for itself.
type GroupCommands struct {
	Lane     Lane
	Commands []GroupCommand
}

// GroupAnswer answers a GroupCommand.
type GroupAnswer struct {
	Events int64 // how many were touched
	Err    error
}
