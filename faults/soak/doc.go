// Package soak holds the long mixed test: the random load of internal/history/load on every kind of backend at once, under a random schedule of faults,
// segment after segment. Each segment begins with fresh servers and ends when all work has ended; then its history is checked, all is closed, and
// nothing may be left of it. Run it with "make soak"; a short form is part of "make test".
package soak
