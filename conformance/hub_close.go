package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func closeCases() []testCase {
	return []testCase{
		{"Hub/Close/LaterCallsAreErrClosed", []string{"E2"},
			"After Close every verb is ErrClosed; closing again is no error; the zero Hub is closed.",
			func(e *env) {
				h := e.peer()
				require.NoError(e, h.Close())
				require.NoError(e, h.Close())
				for which, hub := range map[string]*rpw.Hub{"closed": h, "zero": new(rpw.Hub)} {
					for verb, call := range namedVerbs(hub, "x") {
						e.is(call(e.Context()), rpw.ErrClosed, "%s hub, %s", which, verb)
					}
					e.is(hub.Health(e.Context()), rpw.ErrClosed, which)
				}
				require.NoError(e, new(rpw.Hub).Close())
			}},
		{"Hub/Close/OthersGoOn", []string{"E1"},
			"Closing a Hub touches no other Hub of the backend, and no data.",
			func(e *env) {
				h := e.peer()
				e.on(h).publish("s", "a")
				e.on(h).set("k", "v")
				read := e.waitRead(rpw.ReadRequest{Stream: "other"})
				e.idle()
				require.NoError(e, h.Close())
				e.has("k", "v")
				e.publish("other", "b")
				_, err := await(e, read)
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(e.on(e.peer()).read("s", rpw.Position{})))
			}},
		{"Hub/Close/HooksRunFirstLastOneFirst", []string{"E1"},
			"What was registered to run at Close runs before the driver closes, the last one first, and can use the Hub.",
			func(e *env) {
				h := e.peer()
				var order []string
				for _, n := range numbers(1, 3) {
					_, err := h.OnClose(func(ctx context.Context) error {
						order = append(order, n)
						return rpw.Set(ctx, h, "hook"+n, true)
					})
					require.NoError(e, err)
				}
				remove, err := h.OnClose(func(context.Context) error { return errors.New("was taken off") })
				require.NoError(e, err)
				remove()
				require.NoError(e, h.Close())
				assert.Equal(e, []string{"3", "2", "1"}, order)
				e.has("hook1", "true")
				_, err = h.OnClose(func(context.Context) error { return nil })
				e.is(err, rpw.ErrClosed)
			}},
		{"Hub/Close/PublishersInFlight", []string{"S2", "E2"},
			"Publishes that run while the Hub closes end with nil, and are stored, or with an error; none hangs.",
			func(e *env) {
				h := e.peer()
				var calls []<-chan answer[int]
				for p := range 8 {
					bus, ctx := h.Streams(), e.Context()
					calls = append(calls, start(func() (stored int, err error) {
						for {
							if _, err := bus.Publish(ctx, []rpw.Batch{{Stream: "s", Events: items(fmt.Sprint(p))}}); err != nil {
								return stored, err
							}
							if stored++; stored == 50 && p == 0 {
								h.Close()
							}
						}
					}))
				}
				total := 0
				for _, c := range calls {
					n, err := await(e, c)
					require.Contains(e, []string{"closed", "uncertain"}, rpw.Code(err), "%v", err)
					total += n
				}
				got := len(e.read("s", rpw.Position{}))
				assert.GreaterOrEqual(e, got, total)
				assert.LessOrEqual(e, got, total+len(calls), "those of unknown outcome")
			}},
	}
}
