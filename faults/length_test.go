//go:build !faults

package faults

// full asks for the lengths of make faults.
const full = false
