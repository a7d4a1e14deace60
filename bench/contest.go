package main

import (
	"context"
	"time"
)

// area is what is measured side by side.
type area struct {
	name        string
	title       string
	notes       string // what a reader of the table must know
	contestants []contestant
	targets     []target
	curves      []curve
}

// contestant is one way to do an area's work.
type contestant struct {
	name  string
	about string // how it is set up, where that is not plain; what differs from the others
	redis bool   // it gets a fresh redis-server
	node  bool   // it needs Node
	large bool   // it takes long: at most two rounds, and none in a quick run
	run   func(ctx context.Context, t *trial) (Sample, error)
}

// trial is one run of one contestant, in a process of its own.
type trial struct {
	Addr    string        // of its redis-server
	Node    string        // the folder with the packages for Node
	Length  time.Duration // of the measured part
	Quick   bool          // nothing is filled before
	Profile string        // where to write a CPU profile; "": nowhere
}

// payload is the item that all carry, unless a table says otherwise: JSON, 256 bytes.
var payload = func() []byte {
	p := make([]byte, 256)
	for i := range p {
		p[i] = 'x'
	}
	p[0], p[len(p)-1] = '"', '"'
	return p
}()
