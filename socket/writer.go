package socket

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// coalesce is the size up to which packets that wait share a message.
const coalesce = 64 << 10

// errDeaf: the peer takes nothing.
var errDeaf = errors.New("the peer does not read what is sent")

// writer sends packets over a connection, in order, from one goroutine. What waits to be sent is bounded: senders wait.
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
	spare   []byte        // the buffer of a message that was written
	news    chan struct{} // closed when begun or sent has changed; nil: nobody waits for it
	work    chan struct{} // holds one if there may be something in queue
}

func newWriter(ctx context.Context, c conn, most, limit int, patience time.Duration) *writer {
	return &writer{ctx: ctx, conn: c, most: most, limit: limit, patience: patience, work: make(chan struct{}, 1)}
}

// send queues a packet as soon as there is room. It returns the number of the message that carries it. The error is ErrTooLarge or
// why the connection ended; then nothing was queued.
func (w *writer) send(kind packetKind, id uint64, body func([]byte) []byte) (message uint64, err error) {
	return w.sendWithin(w.ctx, kind, id, body)
}

// sendWithin is send for a caller who may leave before; then the error is that of ctx.
func (w *writer) sendWithin(ctx context.Context, kind packetKind, id uint64, body func([]byte) []byte) (message uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waiting >= w.limit {
		if err := w.await(ctx); err != nil {
			return 0, err
		}
	}
	return w.add(kind, id, body)
}

// urge queues a small packet at once.
func (w *writer) urge(kind packetKind, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(kind, id, nil)
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
	select {
	case w.work <- struct{}{}:
	default:
	}
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

// run writes until the connection ends; a peer that takes nothing in time ends it.
func (w *writer) run() error {
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	late := time.AfterFunc(time.Hour, func() {
		cancel(errDeaf)
		w.conn.CloseNow()
	})
	defer late.Stop()
	for {
		late.Stop()
		select {
		case <-w.work:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for message := w.next(nil); message != nil; message = w.next(message) {
			if w.patience > 0 {
				late.Reset(w.patience * time.Duration(1+len(message)>>20))
			}
			if err := w.conn.Write(ctx, websocket.MessageBinary, message); err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				return err
			}
		}
	}
}

// next takes the next message to be written; nil if there is none. The one before was written.
func (w *writer) next(before []byte) (message []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if before != nil {
		w.sent++
		if cap(before) <= 2*coalesce {
			w.spare = before[:0]
		}
	}
	if len(w.queue) > 0 && len(w.queue[0]) > 0 {
		message = w.queue[0]
		w.queue = slices.Delete(w.queue, 0, 1)
		w.begun++
		w.waiting -= len(message)
	}
	if w.news != nil {
		close(w.news)
		w.news = nil
	}
	return message
}
