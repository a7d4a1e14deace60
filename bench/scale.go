package main

// scale is how rpw does when there is more of everything. It is measured only when it is asked for.
var scale = area{
	name:  "scale",
	title: "More of everything",
	apart: true,
	notes: "Actions as in the area actions, with so many waiting in the queue all the time, so many finished ones kept, or the 100 slots spread over so many workers, each with " +
		"a Hub of its own. Cache: exact reads as in the area cache, of one of so many keys. Subscriptions are in the area wake.",
	contestants: []contestant{
		{name: "actions, 1,000 pending", redis: true, run: actionsRPW(workload{pending: 1_000})},
		{name: "actions, 10,000 pending", redis: true, run: actionsRPW(workload{pending: 10_000})},
		{name: "actions, 100,000 pending", redis: true, run: actionsRPW(workload{pending: 100_000})},
		{name: "actions, 1,000,000 pending", redis: true, rounds: 2, run: actionsRPW(workload{pending: 1_000_000})},
		{name: "actions, 10,000 kept", redis: true, run: actionsRPW(workload{kept: 10_000})},
		{name: "actions, 100,000 kept", redis: true, rounds: 2, run: actionsRPW(workload{kept: 100_000})},
		{name: "actions, 1 worker", redis: true, run: actionsRPW(workload{workers: 1})},
		{name: "actions, 4 workers", redis: true, run: actionsRPW(workload{workers: 4})},
		{name: "actions, 20 workers", redis: true, run: actionsRPW(workload{workers: 20})},
		{name: "cache, 1,000 keys", redis: true, run: cacheRPW(0, 1_000)},
		{name: "cache, 100,000 keys", redis: true, run: cacheRPW(0, 100_000)},
		{name: "cache, 1,000,000 keys", redis: true, rounds: 2, run: cacheRPW(0, 1_000_000)},
	},
}
