package main

import "context"

// growth is a way of work with more and more of something.
type growth struct {
	name  string // of its file
	what  string // there is more and more of
	sizes []int
	large int // the sizes from here on take long to set up; 0: none
	redis bool
	run   func(size int) func(context.Context, *trial) (Sample, error)
}

var growths = []growth{
	{name: "pending", what: "actions pending", sizes: powers(3, 6), large: 1_000_000, redis: true,
		run: func(n int) func(context.Context, *trial) (Sample, error) { return actionsRPW(workload{pending: n}) }},
	{name: "kept", what: "actions kept", sizes: powers(3, 6), large: 100_000, redis: true,
		run: func(n int) func(context.Context, *trial) (Sample, error) { return actionsRPW(workload{kept: n}) }},
	{name: "workers", what: "workers on a queue", sizes: []int{1, 4, 16, 64}, redis: true,
		run: func(n int) func(context.Context, *trial) (Sample, error) {
			return actionsRPW(workload{workers: n, slots: 20})
		}},
	{name: "keys", what: "keys in a cache", sizes: powers(3, 6), large: 1_000_000, redis: true,
		run: func(n int) func(context.Context, *trial) (Sample, error) { return cacheRPW(0, n) }},
	{name: "clients", what: "clients of a socket", sizes: powers(0, 3), large: 1_000, run: socketFanOut},
}

// scale is how rpw does when there is more of everything.
var scale = func() area {
	a := area{
		name:  "scale",
		title: "More of everything",
		notes: "What an item costs should not depend on what else there is. Actions as in the area actions: with so many waiting in the queue all the time; with so many finished ones " +
			"kept at the start of what is measured; by so many workers with 20 slots each, each with a Hub of its own. Cache: exact reads as in the area cache, of one of so many " +
			"keys. Sockets: deliveries to so many clients as in the area socket. Subscriptions are in the area wake. The largest sizes have two rounds.",
	}
	for _, g := range growths {
		for _, n := range g.sizes {
			a.contestants = append(a.contestants, contestant{name: sized(g.what)(n), redis: g.redis, large: g.large > 0 && n >= g.large, run: g.run(n)})
		}
		c := curve{name: g.name, title: "CPU of an item by " + g.what, sizes: g.sizes, lines: []line{{"client", ClientCPU, sized(g.what)}}}
		if g.redis {
			c.lines = append(c.lines, line{"server", ServerCPU, sized(g.what)})
		}
		a.curves = append(a.curves, c)
	}
	return a
}()

// powers are those of ten, from one to another.
func powers(from, to int) (all []int) {
	for n, i := 1, 0; i <= to; n, i = n*10, i+1 {
		if i >= from {
			all = append(all, n)
		}
	}
	return all
}
