package redistest

import "os/exec"

// Bind lets a command that is not started yet end with the test program, even if that is killed.
func Bind(cmd *exec.Cmd) { cmd.SysProcAttr = dieWithParent() }
