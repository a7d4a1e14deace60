//go:build !linux

package main

import "syscall"

// peakMemory is the largest resident size of this process, in bytes.
func peakMemory() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Maxrss)
}

func dieWithParent() *syscall.SysProcAttr { return nil }
