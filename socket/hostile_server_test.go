package socket

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

// pretending dials servers that greet, and then do what serve does, until the test is over.
func pretending(t testing.TB, greeting hello, serve func(ctx context.Context, c conn)) func(context.Context) (conn, error) {
	return served(t, func(ctx context.Context, c conn) {
		if tell(ctx, c, packetHello, 0, helloPlan.append(nil, &greeting)) == nil {
			serve(ctx, c)
		}
	})
}

// tell sends a packet.
func tell(ctx context.Context, c conn, kind packetKind, id uint64, body []byte) error {
	return c.Write(ctx, websocket.MessageBinary, appendPacket(nil, kind, id, func(b []byte) []byte { return append(b, body...) }))
}

// eachRequest answers requests until the connection ends.
func eachRequest(ctx context.Context, c conn, answer func(op *opInfo, id uint64, body []byte)) {
	for {
		_, message, err := c.Read(ctx)
		if err != nil {
			return
		}
		for len(message) > 0 {
			var p packet
			if p, message, err = nextPacket(message); err != nil {
				return
			}
			if p.kind == packetRequest {
				number, n := binary.Uvarint(p.body)
				answer(lookup(number).info(), p.id, p.body[n:])
			}
		}
	}
}

// TestLeaveThatCannotBeMeant: a server that asks to go at a time that is none is not taken at its word (K3).
func TestLeaveThatCannotBeMeant(t *testing.T) {
	for _, after := range []time.Duration{-1, -2, math.MinInt64, math.MaxInt64} {
		synctest.Test(t, func(t *testing.T) {
			dials := atomic.Int64{}
			dial := pretending(t, hello{}, func(ctx context.Context, c conn) {
				tell(ctx, c, packetLeave, 0, leavePlan.append(nil, &leave{After: after}))
				eachRequest(ctx, c, func(*opInfo, uint64, []byte) {})
			})
			pipedHub(t, remoteConfig{dial: func(ctx context.Context) (conn, error) {
				dials.Add(1)
				return dial(ctx)
			}})
			time.Sleep(time.Minute)
			assert.LessOrEqual(t, dials.Load(), int64(60), after)
		})
	}
}

// TestAnswerToWhatWasNotSent: a server that answers requests before they have left harms nobody.
func TestAnswerToWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := pipedHub(t, remoteConfig{dial: pretending(t, hello{}, func(ctx context.Context, c conn) {
			time.Sleep(time.Second) // nothing is read: what is sent fills the queue
			for id := range uint64(100) {
				tell(ctx, c, packetReply, id, nil)
			}
			<-ctx.Done()
		})})
		for range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			go hub.Cache().Set(ctx, []rpw.CacheSet{{Key: "k", Data: make([]byte, rpw.MaxPayload/4), TTL: rpw.NoTTL}})
		}
		time.Sleep(4 * time.Second)
	})
}

// TestAnswersThatDoNotFit: an answer with fewer items than the request, or more, is an error for all who ask, and harms nobody.
func TestAnswersThatDoNotFit(t *testing.T) {
	ref := rpw.ActionRef{Queue: "q", ID: "a"}
	calls := map[string]func(ctx context.Context, h *rpw.Hub) error{
		"publish": func(ctx context.Context, h *rpw.Hub) error {
			_, err := rpw.StreamOf[int]("s").Publish(ctx, h, "t", 1)
			return err
		},
		"publish batches": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Producer: rpw.Producer{Seq: 1}, Events: []rpw.NewEvent{{Type: "t"}}}})
			return err
		},
		"settle": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Streams().Settle(ctx, rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Verdict: rpw.Ack}}})
			return err
		},
		"administer": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Streams().Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{{Stream: "s", Group: "g", Verb: rpw.DeleteGroup}}})
			return err
		},
		"get":       func(ctx context.Context, h *rpw.Hub) error { _, _, err := rpw.Get[int](ctx, h, "k"); return err },
		"set":       func(ctx context.Context, h *rpw.Hub) error { return rpw.Set(ctx, h, "k", 1) },
		"delete":    func(ctx context.Context, h *rpw.Hub) error { _, err := rpw.Delete(ctx, h, "k"); return err },
		"increment": func(ctx context.Context, h *rpw.Hub) error { _, err := rpw.Increment(ctx, h, "k", 1); return err },
		"enqueue": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: ref, Name: "a"}})
			return err
		},
		"advance": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Actions().Advance(ctx, rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: rpw.Lease{Ref: ref}, Kind: rpw.Renew}}})
			return err
		},
		"control": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Actions().Control(ctx, rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref}}})
			return err
		},
		"get action": func(ctx context.Context, h *rpw.Hub) error {
			_, err := h.Actions().Get(ctx, []rpw.ActionRef{ref})
			return err
		},
	}
	for name, call := range calls {
		for _, n := range []int{-1, 0, 2} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hub := pipedHub(t, remoteConfig{dial: pretending(t, hello{}, func(ctx context.Context, c conn) {
						eachRequest(ctx, c, func(op *opInfo, id uint64, _ []byte) {
							if n < 0 { // a failure that is none
								tell(ctx, c, packetFailure, id, failurePlan.append(nil, &failure{}))
								return
							}
							answer := reflect.New(op.answerType)
							if op.answerType.Kind() == reflect.Slice {
								answer.Elem().Set(reflect.MakeSlice(op.answerType, n, n))
								for i := range n {
									if f := answer.Elem().Index(i); f.Kind() == reflect.Interface {
										f.Set(reflect.ValueOf(rpw.ErrLeaseLost))
									} else if f = f.FieldByName("Err"); f.IsValid() {
										f.Set(reflect.ValueOf(rpw.ErrNotFound))
									}
								}
							}
							tell(ctx, c, packetReply, id, op.answer.append(nil, answer.Interface()))
						})
					})})
					assert.Error(t, call(t.Context(), hub))
				})
			})
		}
	}
}
