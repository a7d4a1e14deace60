package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// peakMemory is the largest resident size of this process, in bytes. That of getrusage begins with the size of the process that started it.
func peakMemory() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	fmt.Sscan(after, &kib)
	return kib * 1024
}

// dieWithParent ends a process with the one that started it.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
