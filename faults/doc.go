// Package faults holds the tests of what rpw does while others fail: servers that are killed, frozen, full, demoted or set back, links that break or
// crawl, processes that die or sleep, clocks that jump. RELIABILITY.md lists the faults, with the test of each. Everything is real there: the
// servers, the processes and the network.
//
// The long tests take minutes. They are behind the build tag "faults" and have a target of their own, make faults, which prints what was measured
// beside its bound.
package faults
