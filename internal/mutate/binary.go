package mutate

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// binary is a test binary of the package in dir.
type binary struct{ dir, path string }

// quick are the flags to compile and link in the quickest way, and to hear of all that does not compile.
var quick = []string{"-gcflags=github.com/redis-process-worker/rpw/...=-e -l -dwarf=false", "-ldflags=-s -w"}

// compile lays files, by their paths, over the package in dir and compiles its tests, all into temp. If they do not compile, the error is
// what the compiler says.
func compile(ctx context.Context, dir, temp string, files map[string]string) (binary, error) {
	replace := make(map[string]string)
	for path, text := range files {
		replace[path] = filepath.Join(temp, strconv.Itoa(len(replace))+filepath.Ext(path))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return binary{}, err
		}
	}
	description, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return binary{}, err
	}
	overlay, tests := filepath.Join(temp, "overlay.json"), filepath.Join(temp, "tests")
	if err := os.WriteFile(overlay, description, 0o600); err != nil {
		return binary{}, err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"test", "-c", "-o", tests, "-overlay", overlay}, quick...), ".")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return binary{}, fmt.Errorf("%w\n%s", err, out)
	}
	return binary{dir, tests}, nil
}

// run runs tests as go test does, with a mutant at work; 0: with none.
func (b binary) run(ctx context.Context, number int, tests, timeout string) (out string, err error) {
	cmd := exec.CommandContext(ctx, b.path, "-test.paniconexit0", "-test.run="+tests, "-test.timeout="+timeout)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), numberEnv+"="+strconv.Itoa(number), "RPW_CONFORMANCE_SUMMARY=") // it counts no mutants
	cmd.WaitDelay = time.Minute                                                                    // of what holds on to the output of a test that has ended
	output, err := cmd.CombinedOutput()
	return string(output), err
}
