package faults

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/logs"
)

// TestLogsThroughASilence: F32, L1, L2: four producers log as fast as they can, up to a million records, and then some now and then, while the link to
// the store swallows everything. They do not wait, what is dropped is counted and told, a flush is bounded; and when the link is back, so is the log.
func TestLogsThroughASilence(t *testing.T) {
	t.Parallel()
	const producers = 4
	records, silence := 100_000, 3*time.Second
	if full {
		records, silence = 1_000_000, time.Minute
	}
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	hub := open(t, "redis://"+proxy.Addr)
	handler := logs.NewHandler(hub, logs.WithFallback(slog.DiscardHandler))
	log := slog.New(handler)
	log.Info("before")
	require.NoError(t, handler.Flush(t.Context()))

	proxy.Blackhole(true)
	began := time.Now()
	took := make([][]time.Duration, producers)
	var logging sync.WaitGroup
	for i := range producers {
		logging.Go(func() {
			took[i] = make([]time.Duration, 0, records/producers)
			for n := range records / producers {
				begun := time.Now()
				log.Info("record", "producer", i, "n", n)
				took[i] = append(took[i], time.Since(begun))
			}
		})
	}
	logging.Wait()
	rate := float64(records) / time.Since(began).Seconds()
	all := slices.Concat(took...)
	slices.Sort(all)
	note(t, "records a second", int(rate))
	if most := all[len(all)*999/1000]; full { // make test runs much else meanwhile
		atMost(t, "999 of 1,000 records are taken within", most, time.Millisecond)
	} else {
		note(t, "999 of 1,000 records are taken within", most)
	}
	late, _ := slices.BinarySearch(all, time.Millisecond)
	note(t, "records that took longer than 1 ms, as the machine is busy; the slowest", []any{len(all) - late, all[len(all)-1].Round(time.Microsecond)})
	flushing, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	require.ErrorIs(t, handler.Flush(flushing), context.DeadlineExceeded)
	atMost(t, "a flush of 200 ms returns after", time.Since(begun), 500*time.Millisecond)
	for time.Since(began) < silence {
		log.Info("later")
		records++
		time.Sleep(100 * time.Millisecond)
	}

	proxy.Blackhole(false)
	proxy.Cut()
	back := time.Now()
	log.Info("after")
	near := open(t, "redis://"+server.Addr)
	told, stored := 0, make(map[string]bool)
	within(t, back, "the last record is stored", func() bool {
		told = 0
		clear(stored)
		last := ""
		for q := (rpw.LogQuery{}); ; {
			page, err := near.Logs().Query(t.Context(), q)
			require.NoError(t, err)
			for _, r := range page.Records {
				var said struct{ Dropped int }
				if strings.HasPrefix(r.Message, "dropped ") {
					require.NoError(t, json.Unmarshal(r.Attrs, &said))
				}
				if said.Dropped == 0 {
					stored[r.ID] = true // one whose storing was in doubt may be there again, with its id
				}
				told += said.Dropped
				last = r.Message
			}
			if q.After = page.Next; !page.More {
				return last == "after"
			}
		}
	})
	atMost(t, "the log is back after", time.Since(back), 5*time.Second+recovery) // it pauses up to 5 s between tries
	assert.EqualValues(t, handler.Dropped(), told, "what was dropped is told in the log")
	assert.Equal(t, records+2, len(stored)+told, "and nothing else is lost")
}
