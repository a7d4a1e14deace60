package redis

import (
	"context"
	"strconv"

	"github.com/redis-process-worker/rpw"
)

// The registry of queues tells their names. It is in a slot of its own, so a queue is registered before its first action is
// stored, and again after if the queue was new; who finds one empty takes it off, unless it was registered meanwhile.

var (
	registerScript   = newScript("queues_register.lua")
	forgetScript     = newScript("queues_forget.lua")
	queueNamesScript = newScript("queues_names.lua")
)

// knownQueues bounds the memory of what was registered.
const knownQueues = 10_000

// registeredQueue is a name in the registry.
type registeredQueue struct {
	name string
	at   string // when it was registered
}

func (a *actionStore) registryKeys() []string {
	return []string{a.keys.queues("i"), a.keys.queues("t")}
}

// introduce registers a queue if this process has not done so.
func (a *actionStore) introduce(ctx context.Context, queue string) error {
	a.mu.Lock()
	_, known := a.known[queue]
	a.mu.Unlock()
	if known {
		return nil
	}
	return a.register(ctx, queue)
}

// reintroduce registers a queue in which actions were stored already. If that fails they are there, but a listing of all queues does not show them: the caller
// repeats, and the repeat introduces the queue.
func (a *actionStore) reintroduce(ctx context.Context, queue string) error {
	err := a.register(ctx, queue)
	if err == nil {
		return nil
	}
	a.mu.Lock()
	delete(a.known, queue)
	a.mu.Unlock()
	if ctx.Err() != nil {
		return rpw.Errorf(rpw.ErrUncertain, "the actions are stored, the name of their queue is not: %w", ctx.Err())
	}
	return rpw.Errorf(rpw.ErrUncertain, "the actions are stored, the name of their queue is not: %v", err)
}

func (a *actionStore) register(ctx context.Context, queue string) error {
	if _, err := a.exec(ctx, registerScript, a.registryKeys(), []string{queue}); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= knownQueues {
		clear(a.known)
	}
	a.known[queue] = struct{}{}
	return nil
}

// forget takes queues that were found empty off the registry.
func (a *actionStore) forget(ctx context.Context, empty []registeredQueue) error {
	if len(empty) == 0 || a.rights.refuse(forgetScript) { // who may not, leaves it to others
		return nil
	}
	args := make([]string, 0, 2*len(empty))
	for _, q := range empty {
		args = append(args, q.name, q.at)
	}
	_, err := a.exec(ctx, forgetScript, a.registryKeys(), args)
	return err
}

// queueNames returns up to a page of registered queues with a prefix, after a name.
func (a *actionStore) queueNames(ctx context.Context, prefix, after string) ([]registeredQueue, error) {
	from, to := "["+prefix, "["+prefix+"\xff"
	if prefix == "" {
		from, to = "-", "+"
	}
	if after >= prefix && after != "" {
		from = "(" + after
	}
	m, err := a.exec(ctx, queueNamesScript, a.registryKeys(), []string{from, to, strconv.Itoa(rpw.MaxPage)})
	if err != nil {
		return nil, err
	}
	values, err := m.ToArray()
	if err != nil {
		return nil, err
	}
	names := make([]registeredQueue, len(values)/2)
	for i := range names {
		names[i] = registeredQueue{textOf(&values[2*i]), textOf(&values[2*i+1])}
	}
	return names, nil
}

// allQueues returns the names of all registered queues with a prefix.
func (a *actionStore) allQueues(ctx context.Context, prefix string) ([]string, error) {
	var all []string
	for after := ""; ; {
		page, err := a.queueNames(ctx, prefix, after)
		if err != nil {
			return nil, err
		}
		for _, q := range page {
			all = append(all, q.name)
		}
		if len(page) < rpw.MaxPage {
			return all, nil
		}
		after = page[len(page)-1].name
	}
}
