package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

// The exit codes that no word of rpw.Code stands for, or that the program names.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitAction      = 12
	exitWarnings    = 13
	exitProblems    = 14
	exitInterrupted = 130
)

// exits are the exit codes. A code never changes its meaning; codes are words of rpw.Code.
var exits = []struct {
	code  int
	codes []string
	means string
}{
	{exitOK, nil, "done; also a tail without --count or --no-follow that was interrupted"},
	{exitInternal, []string{"internal", "closed"}, "something else failed; the line on stderr says what"},
	{exitUsage, []string{"invalid", "too_large"}, "wrong command, flag, argument, URL or name; nothing was done"},
	{3, []string{"not_found"}, "the stream, key, group or action does not exist"},
	{4, []string{"conflict", "finished", "lease_lost", "cancelled"}, "the present state refuses it: a condition failed, it is finished already"},
	{5, []string{"permission"}, "the backend refused the credentials or the operation"},
	{6, []string{"unavailable"}, "the backend could not be reached; nothing was done, try again"},
	{7, []string{"uncertain"}, "it may or may not have been done"},
	{8, []string{"gap"}, "history is missing, and --on-gap says stop"},
	{9, []string{"deadline_exceeded"}, "--timeout passed"},
	{10, []string{"full"}, "the backend is out of memory or space; nothing was done"},
	{11, []string{"unsupported"}, "the backend cannot do this"},
	{exitAction, nil, "the action that was waited for or watched failed, or was cancelled"},
	{exitWarnings, nil, "doctor: there are warnings"},
	{exitProblems, nil, "doctor: there are problems"},
	{exitInterrupted, []string{"canceled"}, "interrupted (SIGINT, SIGTERM)"},
}

// verdict ends a command with an exit code of its own, when all has been said.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

// exitCode is the exit code for err. Of several failures the first counts.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if several, ok := errors.AsType[failures](err); ok {
		err = several[0]
	}
	if v, ok := errors.AsType[verdict](err); ok {
		return int(v)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*actions.Error](err); ok {
		return exitAction
	}
	word := rpw.Code(err)
	for _, exit := range exits {
		if slices.Contains(exit.codes, word) {
			return exit.code
		}
	}
	return exitInternal
}

// newExitCodesTopic is no command, but text for rpw help exit-codes.
func newExitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes, with the words of rpw.Code that they stand for:\n\n")
	for _, exit := range exits {
		words := ""
		if len(exit.codes) > 0 {
			words = " (" + strings.Join(exit.codes, ", ") + ")"
		}
		fmt.Fprintf(&b, "  %3d  %s%s\n", exit.code, exit.means, words)
	}
	b.WriteString("\nOf several things that failed the first decides. Each has its line on stderr.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: b.String()}
}
