package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Cluster is a cluster of masters without replicas; the slots are spread evenly.
type Cluster struct{ Nodes []*Server }

// StartCluster starts a cluster of n nodes for the length of a test.
func StartCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c, err := startCluster(t.TempDir, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

func startCluster(dir func() string, n int) (c *Cluster, err error) {
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
		node, err := start(dir(), "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "3000")
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
