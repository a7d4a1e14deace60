package socket

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// coalesce is the size up to which packets that wait share a message.
const coalesce = 64 << 10

// What is written within the call of its sender, who then waits for no other goroutine: so few small messages that the peer has not read yet that buffers
// below take them in any case.
const (
	fewMessages = 8
	fewBytes    = 1 << 10
)

// errDeaf: the peer takes nothing.
var errDeaf = errors.New("the peer does not read what is sent")

// writer sends packets over a connection, in order, a message at a time: from a goroutine of its own, or within the call of a sender where that cannot
// take long. What waits to be sent is bounded: senders wait.
type writer struct {
	ctx      context.Context // of the connection
	conn     conn
	most     int           // bytes of a message
	limit    int           // bytes that may wait, but always one packet
	patience time.Duration // for the peer to take a message, for each MiB of it; 0: the connection looks after that

	mu      sync.Mutex
	queue   [][]byte      // messages; the last one grows
	waiting int           // bytes in queue
	begun   uint64        // messages whose writing has begun
	sent    uint64        // messages that were written
	busy    bool          // a message is being written
	large   uint64        // the last message that is not small
	read    uint64        // the last message known to be read by the peer; 0: nobody says so, and all is written by run
	spare   []byte        // the buffer of a message that was written
	news    chan struct{} // closed when begun or sent has changed; nil: nobody waits for it
	work    chan struct{} // holds one if there may be something in queue for run
	broken  chan error    // holds the error of a sender who wrote himself

	late *time.Timer // ends the patience
	deaf atomic.Bool // it has ended
}

func newWriter(ctx context.Context, c conn, most, limit int, patience time.Duration) *writer {
	return &writer{ctx: ctx, conn: c, most: most, limit: limit, patience: patience, work: make(chan struct{}, 1), broken: make(chan error, 1)}
}

// send queues a packet as soon as there is room. It returns the number of the message that carries it. The error is ErrTooLarge or
// why the connection ended; then nothing was queued.
func (w *writer) send(kind packetKind, id uint64, body func([]byte) []byte) (message uint64, err error) {
	return w.sendWithin(w.ctx, kind, id, body)
}

// sendWithin is send for a caller who may leave before; then the error is that of ctx.
func (w *writer) sendWithin(ctx context.Context, kind packetKind, id uint64, body func([]byte) []byte) (message uint64, err error) {
	message, ready, err := w.enqueue(ctx, kind, id, body)
	switch {
	case err != nil:
		return 0, err
	case !ready:
		w.wake()
		return message, nil
	}
	if next := w.take(); next != nil {
		if err := w.write(next); err != nil {
			w.broken <- err // the only one: no other message is written after it
		}
	}
	return message, nil
}

// enqueue puts a packet into the queue as soon as there is room. ready says that its message can be written without waiting for the peer.
func (w *writer) enqueue(ctx context.Context, kind packetKind, id uint64, body func([]byte) []byte) (message uint64, ready bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waiting >= w.limit {
		if err := w.await(ctx); err != nil {
			return 0, false, err
		}
	}
	if message, err = w.add(kind, id, body); err != nil {
		return 0, false, err
	}
	if len(w.queue[len(w.queue)-1]) > fewBytes {
		w.large = message
	}
	return message, w.read > 0 && w.read >= w.large && message-w.read <= fewMessages, nil
}

// confirm says that the peer has read a message, and so all before.
func (w *writer) confirm(message uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = max(w.read, message)
}

// urge queues a small packet at once.
func (w *writer) urge(kind packetKind, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(kind, id, nil)
	w.wake()
}

// await waits, with the mutex free meanwhile, until something has changed.
func (w *writer) await(ctx context.Context) error {
	if w.news == nil {
		w.news = make(chan struct{})
	}
	news := w.news
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-news:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) add(kind packetKind, id uint64, body func([]byte) []byte) (message uint64, err error) {
	if n := len(w.queue); n == 0 || len(w.queue[n-1]) >= coalesce {
		w.queue = append(w.queue, w.spare)
		w.spare = nil
	}
	last := &w.queue[len(w.queue)-1]
	before := len(*last)
	*last = appendPacket(*last, kind, id, body)
	size := len(*last) - before
	switch {
	case size > w.most:
		*last = (*last)[:before]
		return 0, rpw.Errorf(rpw.ErrTooLarge, "it takes %d bytes on the wire (max %d)", size, w.most)
	case before+size > w.most: // needs a message of its own
		own := slices.Clone((*last)[before:])
		*last = (*last)[:before]
		w.queue = append(w.queue, own)
	}
	w.waiting += size
	return w.begun + uint64(len(w.queue)), nil
}

// left reports whether a message may have left.
func (w *writer) left(message uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun >= message
}

// written waits until a message was written. The error is why the connection ended before.
func (w *writer) written(message uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.sent < message {
		if err := w.await(w.ctx); err != nil {
			return err
		}
	}
	return nil
}

// run writes what no sender has written itself, until the connection ends; a peer that takes nothing in time ends it.
func (w *writer) run() error {
	w.late = time.AfterFunc(time.Hour, func() {
		w.deaf.Store(true)
		w.conn.CloseNow()
	})
	defer w.late.Stop()
	for {
		w.late.Stop()
		select {
		case <-w.work:
		case err := <-w.broken:
			return err
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
		for message := w.take(); message != nil; message = w.take() {
			if w.patience > 0 {
				w.late.Reset(w.patience * time.Duration(1+len(message)>>20))
			}
			if err := w.write(message); err != nil {
				return err
			}
		}
	}
}

// write writes a message that was taken. The error is why the connection ended.
func (w *writer) write(message []byte) error {
	err := w.conn.Write(w.ctx, websocket.MessageBinary, message)
	switch {
	case err == nil:
		w.wrote(message)
		return nil
	case w.deaf.Load():
		return errDeaf
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	}
	return err
}

// take takes the next message to be written; nil if there is none, or another one is being written: whoever does that, or run, takes it then.
func (w *writer) take() (message []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || len(w.queue) == 0 || len(w.queue[0]) == 0 {
		return nil
	}
	w.busy = true
	message = w.queue[0]
	w.queue = slices.Delete(w.queue, 0, 1)
	w.begun++
	w.waiting -= len(message)
	w.tell()
	return message
}

// wrote notes that a message was written.
func (w *writer) wrote(message []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	w.sent++
	if cap(message) <= 2*coalesce {
		w.spare = message[:0]
	}
	if len(w.queue) > 0 {
		w.wake()
	}
	w.tell()
}

// tell tells who waits that something has changed.
func (w *writer) tell() {
	if w.news != nil {
		close(w.news)
		w.news = nil
	}
}

// wake lets run look for something to write.
func (w *writer) wake() {
	select {
	case w.work <- struct{}{}:
	default:
	}
}
