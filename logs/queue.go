package logs

import (
	"bufio"
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/redis-process-worker/rpw"
)

const (
	bufferBytes  = 16 << 20               // that the waiting records hold at most
	batchBytes   = 1 << 20                // of one batch; escaped as JSON within JSON it still fits rpw.MaxBatchBytes
	linger       = 10 * time.Millisecond  // a batch waits for more records
	writeTimeout = 10 * time.Second       // of one attempt
	retryFirst   = 100 * time.Millisecond // back-off while the backend is away
	retryMost    = 5 * time.Second
	complainGap  = 500 * time.Millisecond // between two complaints
	stopPatience = time.Second            // for a sink to notice that its ctx has ended
)

// queue is the bounded buffer between those who log and the one goroutine that writes.
type queue struct {
	sink rpw.LogSink
	opts options

	ctx  context.Context // of writes; ends when Close gives up
	stop context.CancelFunc
	wake chan struct{}
	done chan struct{}

	mu       sync.Mutex
	waiting  buffer
	next     uint64        // the number of the next record; the first is 0
	flying   int           // how many records the goroutine is writing; they count as buffered
	flyBytes int           // what these hold
	flyFirst uint64        // the number of the first of them
	flushTo  uint64        // someone waits for the records below this number
	hurry    bool          // the next retry is not to wait
	unsaid   uint64        // dropped, and not yet said in the log
	dropped  uint64        // so far
	closing  bool          //
	lost     int           // of dropped: buffered when Close gave up
	refused  error         // why the newest batch was refused, or all of them will be; nil if it was not
	progress chan struct{} // closed when a batch is done; nil if nobody waits for one

	// Of the goroutine alone.
	random     *bufio.Reader // for ids; it asks the system once for many
	complained time.Time
}

func newQueue(sink rpw.LogSink, o options) *queue {
	q := &queue{sink: sink, opts: o, wake: make(chan struct{}, 1), done: make(chan struct{}), random: bufio.NewReader(cryptorand.Reader)}
	q.ctx, q.stop = context.WithCancel(withOwn(context.Background()))
	q.refused = q.mistake()
	go q.run()
	return q
}

// mistake is what the Hub refuses in the options. It looks at what it is asked before it looks at ctx, so nothing is written.
func (q *queue) mistake() error {
	ended, cancel := context.WithCancel(q.ctx)
	cancel()
	err := q.sink.Write(ended, rpw.WriteLogs{Log: q.opts.log, Records: make([]rpw.LogRecord, 1), Keep: q.opts.keep})
	if errors.Is(err, rpw.ErrInvalid) {
		return err
	}
	return nil
}

// ownKey marks the ctx of the queue's own writes: what a driver or an observer logs with it is kept out of the log, since
// each write would cause another.
type ownKey struct{}

func withOwn(ctx context.Context) context.Context { return context.WithValue(ctx, ownKey{}, true) }
func isOwn(ctx context.Context) bool              { return ctx.Value(ownKey{}) != nil }

// push puts in a record, and drops the oldest ones where there is no room for it.
func (q *queue) push(e *entry, attrs []byte) {
	q.mu.Lock()
	if q.closing {
		q.dropped++
		q.mu.Unlock()
		return
	}
	size := e.size() + len(attrs)
	for q.waiting.n > 0 && (q.waiting.n+q.flying >= q.opts.buffer || q.waiting.bytes+q.flyBytes+size > bufferBytes) {
		q.waiting.drop()
		q.dropped++
		q.unsaid++
	}
	q.next++
	wasFull := q.full()
	q.waiting.push(e, attrs)
	signal := q.waiting.n == 1 || !wasFull && q.full()
	q.mu.Unlock()
	if signal {
		q.nudge()
	}
}

// full reports whether a batch is complete.
func (q *queue) full() bool {
	return q.waiting.n >= q.opts.batch || q.waiting.bytes >= batchBytes
}

func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// oldest is the number of the oldest record that is neither stored nor dropped.
func (q *queue) oldest() uint64 {
	if q.flying > 0 {
		return q.flyFirst
	}
	return q.next - uint64(q.waiting.n)
}

func (q *queue) flush(ctx context.Context) error {
	q.mu.Lock()
	target := q.next
	q.flushTo, q.hurry = max(q.flushTo, target), true
	for q.oldest() < target {
		if q.progress == nil {
			q.progress = make(chan struct{})
		}
		progress := q.progress
		q.mu.Unlock()
		q.nudge()
		select {
		case <-progress:
		case <-q.done:
			return errFlushClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	if q.lost > 0 {
		return errFlushClosed
	}
	return q.refused
}

var errFlushClosed error = &rpw.Error{Op: "flush log", Kind: rpw.ErrClosed}

func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	q.closing, q.hurry = true, true
	q.mu.Unlock()
	q.nudge()
	select {
	case <-q.done:
	case <-ctx.Done():
		q.stop()
		patience := time.NewTimer(stopPatience)
		defer patience.Stop()
		select {
		case <-q.done:
		case <-patience.C:
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.lost + q.waiting.n + q.flying
	switch {
	case lost == 0:
		return q.refused
	case q.refused != nil:
		return &rpw.Error{Op: "close log", Kind: rpw.Sentinel(rpw.Code(q.refused)), Err: fmt.Errorf("%d log records could not be written: %w", lost, q.refused)}
	}
	return &rpw.Error{Op: "close log", Kind: rpw.ErrUnavailable, Err: fmt.Errorf("%d log records could not be written", lost)}
}

func (q *queue) droppedSoFar() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// run is the goroutine: it writes batch after batch until the queue is closed and empty, or Close gives up.
func (q *queue) run() {
	defer close(q.done)
	defer q.stop()
	defer q.abandon()
	if q.refused != nil {
		q.complain(q.refused, true)
	}
	entries, attrs := make([]entry, 0, q.opts.batch), []byte(nil) // used again for each batch
	for q.await() {
		var unsaid uint64
		entries, attrs, unsaid = q.take(entries[:0], attrs[:0])
		records := q.records(entries, bytes.Clone(attrs), unsaid)
		clear(entries)
		q.settle(q.deliver(records), unsaid)
	}
}

// abandon gives up what is still buffered.
func (q *queue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lose(q.waiting.n)
	q.waiting = buffer{}
}

func (q *queue) lose(n int) {
	q.dropped += uint64(n)
	if q.closing {
		q.lost += n
	}
}

// await waits until there is a batch to write; false: there will be none.
func (q *queue) await() bool {
	var lingered <-chan time.Time
	for {
		q.mu.Lock()
		n := q.waiting.n
		closing := q.closing
		ready := n > 0 && (q.full() || closing || q.oldest() < q.flushTo)
		q.mu.Unlock()
		switch {
		case q.ctx.Err() != nil || closing && n == 0:
			return false
		case ready:
			return true
		case n > 0 && lingered == nil:
			timer := time.NewTimer(linger)
			defer timer.Stop()
			lingered = timer.C
		}
		select {
		case <-q.wake:
		case <-lingered:
			return true
		case <-q.ctx.Done():
		}
	}
}

// take takes a batch out of the buffer, and how many records were dropped before it.
func (q *queue) take(entries []entry, attrs []byte) (_ []entry, _ []byte, unsaid uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flyFirst, q.flyBytes = q.oldest(), q.waiting.bytes
	entries, attrs = q.waiting.take(entries, attrs, batchBytes)
	q.flying, q.flyBytes = len(entries), q.flyBytes-q.waiting.bytes
	unsaid, q.unsaid = q.unsaid, 0
	return entries, attrs, unsaid
}

// settle accounts for the batch in flight: stored (err is nil), or refused or given up.
func (q *queue) settle(err error, unsaid uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refused = nil; hopeless(err) {
		q.refused = err
	}
	if err != nil {
		q.lose(q.flying)
		q.unsaid += unsaid + uint64(q.flying)
	}
	q.flying, q.flyBytes = 0, 0
	if q.progress != nil {
		close(q.progress)
		q.progress = nil
	}
}

// records makes of entries what is stored. A record of its own says what is missing before them.
func (q *queue) records(entries []entry, attrs []byte, unsaid uint64) []rpw.LogRecord {
	records := make([]rpw.LogRecord, 0, len(entries)+1)
	if unsaid > 0 {
		n := strconv.FormatUint(unsaid, 10)
		records = append(records, q.record(&entry{ms: entries[0].ms, level: slog.LevelWarn,
			message: "dropped " + n + " log records"}, []byte(`{"dropped":`+n+`}`)))
	}
	for i := range entries {
		e := &entries[i]
		records = append(records, q.record(e, attrs[:e.attrs:e.attrs]))
		attrs = attrs[e.attrs:]
	}
	return records
}

func (q *queue) record(e *entry, attrs []byte) rpw.LogRecord {
	r := rpw.LogRecord{
		ID:      uuid.Must(uuid.NewV7FromReader(q.random)).String(),
		Time:    e.time(),
		Level:   e.level,
		Message: strings.ToValidUTF8(e.message, "\uFFFD"),
		Source:  q.opts.source,
		Worker:  e.origin.Worker,
		Attempt: e.origin.Attempt,
	}
	if len(attrs) > 0 {
		r.Attrs = attrs
	}
	if e.origin.Action != (rpw.ActionRef{}) {
		r.Action = e.origin.Action.String()
	}
	return r
}

// deliver writes records, again and again while the backend is away. The error says that they are lost.
func (q *queue) deliver(records []rpw.LogRecord) error {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		err := q.write(records)
		if err == nil {
			return nil
		}
		lost := q.ctx.Err() != nil || hopeless(err)
		q.complain(err, lost)
		if lost {
			return err
		}
		q.sleep(pause/2 + rand.N(pause/2))
	}
}

// hopeless reports whether a repeat would meet the same error.
func hopeless(err error) bool {
	switch rpw.Code(err) {
	case "invalid", "too_large", "conflict", "closed", "unsupported":
		return true
	}
	return false
}

func (q *queue) write(records []rpw.LogRecord) (err error) {
	ctx, cancel := context.WithTimeout(q.ctx, writeTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = rpw.Errorf(rpw.ErrInvalid, "the log of the driver panicked: %v", r)
		}
	}()
	return q.sink.Write(ctx, rpw.WriteLogs{Log: q.opts.log, Records: records, Keep: q.opts.keep})
}

// sleep waits before a retry. A Flush or Close that comes meanwhile ends it, once.
func (q *queue) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !q.hurried() {
		select {
		case <-timer.C:
			return
		case <-q.wake:
		case <-q.ctx.Done():
			return
		}
	}
}

func (q *queue) hurried() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	hurry := q.hurry
	q.hurry = false
	return hurry
}

// complain tells the fallback, not too often.
func (q *queue) complain(err error, lost bool) {
	now := time.Now()
	defer func() { recover() }() // a fallback that panics has nobody left to tell
	if q.opts.fallback == nil || now.Sub(q.complained) < complainGap || !q.opts.fallback.Enabled(q.ctx, slog.LevelWarn) {
		return
	}
	q.complained = now
	q.mu.Lock()
	waiting, dropped := q.waiting.n+q.flying, q.dropped
	q.mu.Unlock()
	message := "the log cannot be written; records wait"
	if lost {
		message = "the log cannot be written; records are lost"
	}
	r := slog.NewRecord(now, slog.LevelWarn, message, 0)
	r.AddAttrs(slog.Any("err", err), slog.Int("waiting", waiting), slog.Uint64("dropped", dropped))
	q.opts.fallback.Handle(q.ctx, r)
}
