package redis

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// near keeps values in this process, for reads with MaxStale. It begins with the first such read, and lets go of what nobody asks for. In a cluster
// it has a part for each node that is asked.
type near struct {
	store  *store
	read   readFunc
	prefix string          // of the keys
	ctx    context.Context // ends with close
	end    context.CancelFunc
	tasks  sync.WaitGroup
	off    atomic.Bool               // the server does not let us
	only   atomic.Pointer[nearNode]  // the node, without a cluster; nil before it is asked
	slots  atomic.Pointer[nearSlots] // of a cluster; nil while they are not known

	mu    sync.Mutex
	nodes map[string]*nearNode // by address; "" without a cluster
	asked time.Time            // when the slots were asked for
}

// readFunc reads values from a server, by any of its connections.
type readFunc func(ctx context.Context, via rueidis.CommandClient, keys []string) ([]rpw.Value, error)

// nearSlots says which node has which slot of a cluster.
type nearSlots [16384]*nearNode

// slotsEvery is how often the slots are asked for at most.
const slotsEvery = time.Second

func newNear(s *store, read readFunc) *near {
	n := &near{store: s, read: read, prefix: s.keys.cache(""), nodes: make(map[string]*nearNode)}
	n.ctx, n.end = context.WithCancel(context.Background())
	return n
}

func (n *near) close(ctx context.Context) error {
	n.mu.Lock()
	n.end()
	n.mu.Unlock()
	return ended(ctx, &n.tasks)
}

// hits gives the values of cache keys that are all here, not older than maxStale.
func (n *near) hits(keys []string, maxStale time.Duration) (values []rpw.Value, all bool) {
	values = make([]rpw.Value, len(keys))
	now := time.Now()
	for i, key := range keys {
		if !n.node(key).find(key, now, maxStale, &values[i]) {
			return nil, false
		}
	}
	return values, true
}

// get reads the values of cache keys: from here what is not older than maxStale, the rest from the server.
func (n *near) get(ctx context.Context, keys []string, maxStale time.Duration) ([]rpw.Value, error) {
	values := make([]rpw.Value, len(keys))
	var missing map[*nearNode][]int
	now := time.Now()
	for i, key := range keys {
		node := n.node(key)
		if node.find(key, now, maxStale, &values[i]) {
			continue
		}
		if missing == nil {
			missing = make(map[*nearNode][]int)
		}
		missing[node] = append(missing[node], i)
	}
	for node, places := range missing {
		asked := make([]string, len(places))
		for j, i := range places {
			asked[j] = keys[i]
		}
		loaded, err := n.load(ctx, node, asked)
		if err != nil {
			return nil, err
		}
		for j, i := range places {
			values[i] = loaded[j]
		}
	}
	return values, nil
}

// load reads values by the link of a node, which keeps them, or else as if there were no near cache.
func (n *near) load(ctx context.Context, node *nearNode, keys []string) ([]rpw.Value, error) {
	if node != nil {
		values, err := node.load(ctx, keys)
		if err == nil || ctx.Err() != nil {
			return values, err
		}
		n.slots.Store(nil) // it may not have these slots any more
	}
	return n.read(ctx, n.store.client, n.full(keys))
}

// full are the names that cache keys have in the store.
func (n *near) full(keys []string) []string {
	full := make([]string, len(keys))
	for i, key := range keys {
		full[i] = n.prefix + key
	}
	return full
}

// forget drops the keys of calls that have written them from here, so that this process never reads what it replaced.
func (n *near) forget(calls []scriptCall) {
	var keys []string
	for _, call := range calls {
		for _, full := range call.keys {
			keys = append(keys, strings.TrimPrefix(full, n.prefix))
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, node := range n.nodes {
		node.values.drop(keys)
	}
}

// node is the part that a key belongs to; nil while that is not known, and if the server does not let us.
func (n *near) node(key string) *nearNode {
	if n.off.Load() {
		return nil
	}
	if only := n.only.Load(); only != nil {
		return only
	}
	if !n.store.clustered() {
		only := n.at("")
		n.only.Store(only)
		return only
	}
	slots := n.slots.Load()
	if slots == nil {
		n.learnSlots()
		return nil
	}
	command := n.store.client.B().Get().Key(n.prefix + key).Build()
	return slots[command.Slot()]
}

// at is the part for a node, made if there is none; nil after close.
func (n *near) at(addr string) *nearNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := n.nodes[addr]
	if node == nil && n.ctx.Err() == nil {
		node = &nearNode{near: n, addr: addr, values: newNearValues(n.prefix, n.store.opt.NearCache), wanted: make(chan struct{}, 1)}
		node.values.absent = addr == "" // while a slot moves its new keys are on a node that does not tell us
		n.nodes[addr] = node
		n.tasks.Go(node.run)
	}
	return node
}

// client is that of a node, as rueidis has it now; nil if it has none.
func (n *near) client(addr string) rueidis.Client {
	if addr == "" {
		return n.store.client
	}
	return n.store.client.Nodes()[addr]
}

// learnSlots asks, beside the calls, which node has which slot.
func (n *near) learnSlots() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil || time.Since(n.asked) < slotsEvery {
		return
	}
	n.asked = time.Now()
	n.tasks.Go(func() {
		bounded, cancel := n.store.bounded(n.ctx)
		defer cancel()
		ranges, err := n.store.client.Do(bounded, n.store.client.B().ClusterSlots().Build()).ToArray()
		if err != nil {
			return
		}
		clients := n.store.client.Nodes()
		slots := new(nearSlots)
		for _, r := range ranges {
			from, to, addr, err := readSlots(r)
			if err != nil || clients[addr] == nil {
				continue
			}
			node := n.at(addr)
			for i := from; i <= to; i++ {
				slots[i] = node
			}
		}
		n.slots.Store(slots)
	})
}

// readSlots reads a range of CLUSTER SLOTS, with the address of its master.
func readSlots(m rueidis.RedisMessage) (from, to int64, addr string, err error) {
	fields, err := m.ToArray()
	if err != nil || len(fields) < 3 {
		return 0, 0, "", errors.New("a range of slots in another form")
	}
	from, err = fields[0].AsInt64()
	if err == nil {
		to, err = fields[1].AsInt64()
	}
	if err != nil || from < 0 || to >= int64(len(nearSlots{})) {
		return 0, 0, "", errors.New("a range of slots in another form")
	}
	master, err := fields[2].ToArray()
	if err != nil || len(master) < 2 {
		return 0, 0, "", errors.New("a node in another form")
	}
	host, err := master[0].ToString()
	if err != nil {
		return 0, 0, "", err
	}
	port, err := master[1].AsInt64()
	return from, to, net.JoinHostPort(host, strconv.FormatInt(port, 10)), err
}
