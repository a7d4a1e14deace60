package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Cluster is a cluster of masters without replicas; the slots are spread evenly.
type Cluster struct{ Nodes []*Server }

// StartCluster starts a cluster of n nodes for the length of a test, with further arguments for each.
func StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	c, err := startCluster(t.TempDir, n, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

func startCluster(dir func() string, n int, args ...string) (c *Cluster, err error) {
	c = new(Cluster)
	defer func() {
		if err != nil {
			c.Kill()
		}
	}()
	var firstBus string
	for range n {
		bus, err := freePort()
		if err != nil {
			return c, err
		}
		node, err := start(dir(), append([]string{"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "3000"}, args...)...)
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, node)
		from, to := (len(c.Nodes)-1)*16384/n, len(c.Nodes)*16384/n-1
		if _, err := node.cli("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)); err != nil {
			return c, err
		}
		if firstBus == "" {
			firstBus = bus
			continue
		}
		if _, err := node.cli("CLUSTER", "MEET", "127.0.0.1", c.Nodes[0].port, firstBus); err != nil {
			return c, err
		}
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c.ok() {
			return c, nil
		}
	}
	return c, fmt.Errorf("redistest: the cluster does not come up")
}

// ok says whether all nodes know all slots.
func (c *Cluster) ok() bool {
	for _, node := range c.Nodes {
		info, err := node.cli("CLUSTER", "INFO")
		if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(c.Nodes))) {
			return false
		}
	}
	return true
}

// Await waits until all nodes know all slots, after some were away.
func (c *Cluster) Await(t testing.TB) {
	t.Helper()
	waitFor(t, "the cluster does not come up", c.ok)
}

// Addrs are the addresses of the nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		addrs[i] = node.Addr
	}
	return addrs
}

// Kill ends all nodes.
func (c *Cluster) Kill() {
	for _, node := range c.Nodes {
		node.Kill()
	}
}

// Owner is the node that has the slot of a key.
func (c *Cluster) Owner(t testing.TB, key string) *Server {
	t.Helper()
	for _, node := range c.Nodes {
		if _, err := node.cli("EXISTS", key); err == nil {
			return node
		}
	}
	t.Fatalf("redistest: no node has the slot of %s", key)
	return nil
}

// Move moves the slot of a key to another node, one key after the other, and calls between before each and after the last: then the slot is on both.
func (c *Cluster) Move(t testing.TB, key string, to *Server, between func()) {
	t.Helper()
	from := c.Owner(t, key)
	slot := from.CLI(t, "CLUSTER", "KEYSLOT", key)
	source, target := from.CLI(t, "CLUSTER", "MYID"), to.CLI(t, "CLUSTER", "MYID")
	to.CLI(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.CLI(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	from.migrate(t, slot, to, between)
	for _, node := range append([]*Server{to, from}, c.Nodes...) { // the new owner first, or the slot is nobody's for a moment
		node.CLI(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
	}
}

// migrate moves the keys of a slot. Their names may be any bytes, which redis-cli does not take.
func (s *Server) migrate(t testing.TB, slot string, to *Server, between func()) {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for {
		between()
		keys, err := client.Do(t.Context(), client.B().Arbitrary("CLUSTER", "GETKEYSINSLOT", slot, "1").Build()).AsStrSlice()
		if err == nil && len(keys) == 0 {
			return
		}
		if err == nil {
			err = client.Do(t.Context(), client.B().Arbitrary("MIGRATE", "127.0.0.1", to.port, keys[0], "0", "5000").Build()).Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
