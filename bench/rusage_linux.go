package main

import "syscall"

// maxrssUnit is that of Rusage.Maxrss, in bytes.
const maxrssUnit = 1024

// dieWithParent ends a process with the one that started it.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
