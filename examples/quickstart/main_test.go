package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/workers"
)

func Example() {
	main()
	// Output: write cat.png -> cat.thumb.png
}

var Backup = actions.Define[string, string]("backup",
	actions.Timeout(6*time.Hour),
	actions.MaxAttempts(5),
	actions.Backoff(rpw.Backoff{First: time.Hour, Max: time.Hour, Jitter: -1}))

// A backup that hangs for six hours, four times, and succeeds at the fifth attempt: more than a day, in milliseconds.
func TestBackupIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := rpw.New(memory.New(memory.Options{}).Parts())
		if err != nil {
			t.Fatal(err)
		}
		defer hub.Close()

		w := workers.New(hub, workers.Config{Name: "backup", Lease: time.Hour})
		workers.Handle(w, Backup, func(ctx context.Context, disk string) (string, error) {
			if run, _ := actions.Current(ctx); run.Attempt < 5 {
				<-ctx.Done() // hangs until the timeout
				return "", context.Cause(ctx)
			}
			return disk + ".tar", nil
		})
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- w.Run(ctx) }()

		start := time.Now()
		file, err := Backup.Run(ctx, hub, "disk1")
		if err != nil || file != "disk1.tar" {
			t.Errorf("backup: %q, %v", file, err)
		}
		if took := time.Since(start); took != 4*6*time.Hour+4*time.Hour {
			t.Errorf("it took %v of virtual time", took)
		}

		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// A worker that dies in the middle of an action: another one has it when the hour of its lease is over.
func TestBackupSurvivesItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.Options{})
		hub, err := rpw.New(store.Parts())
		if err != nil {
			t.Fatal(err)
		}
		defer hub.Close()
		backup, err := Backup.Start(t.Context(), hub, "disk1")
		if err != nil {
			t.Fatal(err)
		}

		// The one that dies: it has claimed the action, and is never heard of again.
		dead, err := hub.Actions().Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"backup"}, Worker: "dead", Lease: time.Hour})
		if err != nil || len(dead) != 1 {
			t.Fatal(dead, err)
		}

		w := workers.New(hub, workers.Config{Name: "heir"})
		workers.Handle(w, Backup, func(ctx context.Context, disk string) (string, error) { return disk + ".tar", nil })
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- w.Run(ctx) }()

		start := time.Now()
		if file, err := backup.Wait(ctx); err != nil || file != "disk1.tar" || time.Since(start) != time.Hour {
			t.Errorf("backup: %q, %v, after %v", file, err, time.Since(start))
		}

		// Should the dead one come back, it is too late: its token is old.
		late, err := hub.Actions().Advance(ctx, rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: dead[0].Lease, Kind: rpw.Complete}}})
		if err != nil || !errors.Is(late[0].Err, rpw.ErrLeaseLost) {
			t.Errorf("the late result: %v, %v", late, err)
		}
		stop()
		<-stopped
	})
}
