//go:build !linux

package main

import "syscall"

// maxrssUnit is that of Rusage.Maxrss, in bytes.
const maxrssUnit = 1

func dieWithParent() *syscall.SysProcAttr { return nil }
