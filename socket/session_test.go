package socket

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// direct is the client's end of a session, without a client.
type direct struct {
	t    testing.TB
	conn conn
}

// directTo opens a session for a peer, closed with the test, and takes its greeting.
func directTo(t testing.TB, p *peer) direct {
	d := direct{t, nil}
	var err error
	d.conn, err = piped(t, func() *peer { return p })(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { d.conn.CloseNow() })
	require.Equal(t, packetHello, d.next().kind)
	return d
}

func (d direct) next() packet {
	d.t.Helper()
	_, message, err := d.conn.Read(d.t.Context())
	require.NoError(d.t, err)
	p, rest, err := nextPacket(message)
	require.NoError(d.t, err)
	require.Empty(d.t, rest)
	return p
}

func (d direct) send(kind packetKind, id uint64, body []byte) {
	d.t.Helper()
	message := appendPacket(nil, kind, id, func(b []byte) []byte { return append(b, body...) })
	require.NoError(d.t, d.conn.Write(d.t.Context(), websocket.MessageBinary, message))
}

// ask sends a request; request points to it.
func (d direct) ask(id uint64, op operation, request any) {
	d.send(packetRequest, id, op.info().request.append([]byte{byte(op.info().number)}, request))
}

// failure takes the failure of a request, and returns its code.
func (d direct) failure(id uint64) string {
	d.t.Helper()
	p := d.next()
	require.Equal(d.t, packetFailure, p.kind)
	require.Equal(d.t, id, p.id)
	var f failure
	require.NoError(d.t, failurePlan.parse(p.body, &f))
	return f.Code
}

// TestEachOperationAsksFirst is K2: what a client may not do does not reach the Hub, and names that are none do not reach the policy.
func TestEachOperationAsksFirst(t *testing.T) {
	hub := hubOver(t, rpw.Parts{Name: "none"}) // answers ErrUnsupported to whatever reaches it
	var asked []Access
	d := directTo(t, &peer{hub: hub, authorize: func(_ context.Context, _ Identity, a Access) error {
		asked = append(asked, a)
		return rpw.ErrPermission
	}})
	for _, op := range operations {
		info := op.info()
		if info.method == "Health" {
			continue
		}
		for name, code := range map[string]string{"n": "permission", "*": "invalid"} {
			asked = nil
			q := reflect.New(info.requestType)
			nameAll(q.Elem(), name)
			d.ask(1, op, q.Interface())
			got := d.failure(1)
			if listing := len(asked) > 0 && asked[0].Name == ""; listing {
				code = "permission"
			}
			assert.Equal(t, code, got, "%s of %q", info.method, name)
			for _, a := range asked {
				assert.NotContains(t, a.Name, "*", info.method)
				assert.Equal(t, info.name, a.Verb)
			}
		}
	}
}

// nameAll sets all texts in v, and makes all slices as long as one.
func nameAll(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		nameAll(v.Index(0), name)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				nameAll(v.Field(i), name)
			}
		}
	}
}

// TestRequestsThatAreNone (B45, B46): they are answered, with their id, and the connection stays.
func TestRequestsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directTo(t, &peer{hub: memoryHub(t)})
		d.send(packetRequest, 1, []byte{99})
		assert.Equal(t, "unsupported", d.failure(1), "an operation of the future")
		d.send(packetRequest, 2, []byte{byte(opRead.number), 200, 200})
		assert.Equal(t, "invalid", d.failure(2), "a body that is none")
		d.send(packetHello, 3, nil)
		assert.Equal(t, "invalid", d.failure(3), "a packet of the server's")
		d.ask(4, opRead, &rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
		d.ask(4, opGroups, new("s"))
		assert.Equal(t, "invalid", d.failure(4), "an id that is in flight")
		d.send(packetCancel, 77, nil)
		d.send(packetCancel, 4, nil)
		assert.Equal(t, "unavailable", d.failure(4), "the one in flight is cancelled, and answered")
		d.ask(4, opGet, &rpw.GetRequest{Keys: []string{"k"}})
		assert.Equal(t, packetReply, d.next().kind, "then its id is free")
	})
}

// TestListingsAreFiltered (B49): what a client may not see is in no page, no cursor and no count.
func TestListingsAreFiltered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		ctx := t.Context()
		remote := pipedHub(t, remoteConfig{dial: piped(t, func() *peer {
			return &peer{hub: hub, authorize: func(_ context.Context, _ Identity, a Access) error {
				if strings.HasPrefix(a.Name, "hidden") {
					return rpw.ErrPermission
				}
				return nil
			}}
		})})
		for _, name := range []string{"a", "hidden1", "hidden2", "hidden3", "z"} {
			_, err := rpw.StreamOf[int](name).Publish(ctx, hub, "t", 1)
			require.NoError(t, err)
			require.NoError(t, rpw.Set(ctx, hub, name, 1))
			_, err = hub.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: rpw.ActionRef{Queue: name, ID: "1"}, Name: "n"}})
			require.NoError(t, err)
			_, err = hub.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: name, Name: name, Status: rpw.WorkerIdle}})
			require.NoError(t, err)
		}
		var streams, queues []string
		for req := (rpw.StreamsRequest{Max: 2}); ; {
			page, err := remote.Streams().Streams(ctx, req)
			require.NoError(t, err)
			streams = append(streams, page.Names...)
			assert.NotContains(t, page.Next, "hidden")
			if req.After = page.Next; req.After == "" {
				break
			}
		}
		assert.Equal(t, []string{"a", "z"}, streams)
		for req := (rpw.QueuesRequest{Max: 2}); ; {
			page, err := remote.Actions().Queues(ctx, req)
			require.NoError(t, err)
			for _, info := range page.Queues {
				queues = append(queues, info.Name)
			}
			assert.NotContains(t, page.Next, "hidden")
			if req.After = page.Next; req.After == "" {
				break
			}
		}
		assert.Equal(t, []string{"a", "z"}, queues)
		keys, err := remote.Cache().Scan(ctx, rpw.ScanRequest{})
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"a", "z"}, keys.Keys)
		list, err := remote.Actions().List(ctx, rpw.ListActions{})
		require.NoError(t, err)
		assert.Len(t, list.Actions, 2)
		count, err := remote.Actions().Count(ctx, rpw.ActionFilter{})
		require.NoError(t, err)
		assert.Equal(t, int64(2), count[rpw.Pending])
		workers, err := remote.Actions().Workers(ctx, rpw.WorkersRequest{})
		require.NoError(t, err)
		assert.Len(t, workers.Workers, 2)
	})
}

// TestCursorsTellNothing: where the next page of a listing begins does not name what the client may not see, and no page is longer for it (B49, K2).
func TestCursorsTellNothing(t *testing.T) {
	redis, _ := redisHub(t)
	for driver, hub := range map[string]*rpw.Hub{"memory": memoryHub(t), "redis": redis} {
		t.Run(driver, func(t *testing.T) {
			ctx := within(t)
			for _, name := range []string{"a", "b-hidden", "c", "d-hidden", "e-hidden", "f", "g", "h-hidden"} {
				_, err := rpw.StreamOf[int](name).Publish(ctx, hub, "t", 1)
				require.NoError(t, err)
				_, err = hub.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: rpw.ActionRef{Queue: name, ID: "1"}, Name: "n"}})
				require.NoError(t, err)
				_, err = hub.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: name, Name: name, Status: rpw.WorkerIdle}})
				require.NoError(t, err)
			}
			remote := pipedHub(t, remoteConfig{dial: piped(t, func() *peer {
				return &peer{hub: hub, authorize: func(_ context.Context, _ Identity, a Access) error {
					if strings.HasSuffix(a.Name, "hidden") {
						return rpw.ErrPermission
					}
					return nil
				}}
			})})
			for what, list := range map[string]func(cursor string, most int) (names []string, next string, err error){
				"streams": func(cursor string, most int) (names []string, next string, err error) {
					page, err := remote.Streams().Streams(ctx, rpw.StreamsRequest{After: cursor, Max: most})
					return page.Names, page.Next, err
				},
				"queues": func(cursor string, most int) (names []string, next string, err error) {
					page, err := remote.Actions().Queues(ctx, rpw.QueuesRequest{After: cursor, Max: most})
					for _, q := range page.Queues {
						names = append(names, q.Name)
					}
					return names, page.Next, err
				},
				"actions": func(cursor string, most int) (names []string, next string, err error) {
					page, err := remote.Actions().List(ctx, rpw.ListActions{Cursor: cursor, Max: most})
					for _, a := range page.Actions {
						names = append(names, a.Ref.Queue)
					}
					return names, page.Next, err
				},
				"workers": func(cursor string, most int) (names []string, next string, err error) {
					page, err := remote.Actions().Workers(ctx, rpw.WorkersRequest{Cursor: cursor, Max: most})
					for _, w := range page.Workers {
						names = append(names, w.Name)
					}
					return names, page.Next, err
				},
			} {
				for most := range 6 {
					var all []string
					for cursor := ""; ; {
						names, next, err := list(cursor, most)
						require.NoError(t, err)
						assert.NotContains(t, next, "hidden", "%s, %d a page", what, most)
						if most > 0 {
							assert.LessOrEqual(t, len(names), most, what)
						}
						all = append(all, names...)
						if cursor = next; cursor == "" {
							break
						}
					}
					assert.Equal(t, []string{"a", "c", "f", "g"}, all, "%s, %d a page", what, most)
				}
			}
		})
	}
}

// TestStalenessIsTheCallers: how old a value may be is forwarded by each hop, so that only the store's own near cache, which has its proof of life, uses it (C6).
func TestStalenessIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := new(asksGet)
		hub := hubOver(t, rpw.Parts{Name: "near", Cache: asked})
		for range 2 {
			near, err := Pipe(hub)
			require.NoError(t, err)
			hub = hubOver(t, near)
		}
		for _, stale := range []time.Duration{0, time.Millisecond, 3 * time.Second, time.Hour} {
			_, err := hub.Cache().Get(t.Context(), rpw.GetRequest{Keys: []string{"k"}, MaxStale: stale})
			require.NoError(t, err)
			assert.Equal(t, stale, asked.MaxStale)
		}
	})
}

// asksGet keeps the newest request.
type asksGet struct {
	rpw.Cache
	rpw.GetRequest
}

func (c *asksGet) Get(_ context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	c.GetRequest = req
	return make([]rpw.Value, len(req.Keys)), nil
}
