package conformance

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// recorder stands in for the testing.TB of a case that is declared to fail: it notes the failure and keeps it from the test.
type recorder struct {
	testing.TB
	failed atomic.Bool
}

// run runs f until it returns, stops or panics.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		f()
	}()
	<-done
}

func (r *recorder) Fail()        { r.failed.Store(true) }
func (r *recorder) Failed() bool { return r.failed.Load() }

func (r *recorder) FailNow() {
	r.Fail()
	runtime.Goexit()
}

func (r *recorder) Error(args ...any) {
	r.TB.Log("as declared:", fmt.Sprint(args...))
	r.Fail()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.TB.Log("as declared:", fmt.Sprintf(format, args...))
	r.Fail()
}

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
