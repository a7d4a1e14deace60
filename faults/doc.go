// Package faults holds the long tests: what rpw does while a server is away for half a minute, is demoted, or its slots move, and what it costs
// to wait for much. They take minutes, so they have a target of their own, make faults, which prints what was measured beside its bound.
// They are behind the build tag "faults".
package faults
