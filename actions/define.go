package actions

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"github.com/redis-process-worker/rpw"
)

// Definition is a kind of action: its name, the types of its argument and output, and its options. Make one with Define. It
// is immutable and safe for concurrent use.
type Definition[In, Out any] struct {
	spec rpw.ActionSpec
	err  error // of the options
}

// Define defines the action name, for the queue of the same name unless the option Queue says otherwise. In and Out are what encoding/json can
// write; json.RawMessage passes JSON through. Name and options are checked here, and a mistake is the error of all that starts or handles one.
func Define[In, Out any](name string, opts ...Option) *Definition[In, Out] {
	s := settings{spec: rpw.ActionSpec{Name: name, Ref: rpw.ActionRef{Queue: name}}, defining: true}
	s.check(rpw.CheckName("action", name))
	s.apply(opts)
	return &Definition[In, Out]{spec: s.spec, err: s.err}
}

// Name returns the action's name.
func (d *Definition[In, Out]) Name() string { return d.spec.Name }

// Spec returns what the definition says of each of its actions: everything but id and argument. The error tells of
// mistakes in the definition (ErrInvalid).
func (d *Definition[In, Out]) Spec() (rpw.ActionSpec, error) {
	if d == nil || d.spec.Name == "" && d.err == nil {
		return rpw.ActionSpec{}, fault("define", "", rpw.Errorf(rpw.ErrInvalid, "the definition is empty; make it with Define"))
	}
	if d.err != nil {
		return rpw.ActionSpec{}, fault("define", d.spec.Name, d.err)
	}
	return d.spec, nil
}

// Start stores an action with the argument in, for a worker to run. nil means stored. ErrUncertain: it may have been; with the option ID
// the call can be repeated safely. ErrConflict: the id is taken by another action, or the unique key in a way that its policy refuses.
func (d *Definition[In, Out]) Start(ctx context.Context, hub *rpw.Hub, in In, opts ...Option) (Handle[Out], error) {
	handles, err := d.StartAll(ctx, hub, []In{in}, opts...)
	if err != nil {
		return Handle[Out]{}, err
	}
	return handles[0], nil
}

// StartAll stores one action for each argument, all or none, and returns their handles in the same order. At most rpw.MaxBatch
// arguments and rpw.MaxBatchBytes; it is never split. The option ID is for one argument only.
func (d *Definition[In, Out]) StartAll(ctx context.Context, hub *rpw.Hub, ins []In, opts ...Option) ([]Handle[Out], error) {
	specs, err := d.specs(hub, ins, opts)
	if err != nil {
		return nil, err
	}
	answers, err := hub.Actions().Enqueue(ctx, specs)
	if err != nil {
		return nil, err
	}
	handles := make([]Handle[Out], len(answers))
	for i, answer := range answers {
		if answer.Err != nil {
			return nil, cause(answers[i:])
		}
		handles[i] = Handle[Out]{Ref: answer.Ref, Existing: answer.Existing, hub: hub}
	}
	return handles, nil
}

// cause finds the error that refused a batch: the other items of it carry ErrConflict.
func cause(answers []rpw.Enqueued) error {
	for _, answer := range answers {
		if answer.Err != nil && !errors.Is(answer.Err, rpw.ErrConflict) {
			return answer.Err
		}
	}
	return answers[0].Err
}

func (d *Definition[In, Out]) specs(hub *rpw.Hub, ins []In, opts []Option) ([]rpw.ActionSpec, error) {
	spec, err := d.Spec()
	if err != nil {
		return nil, err
	}
	if hub == nil {
		return nil, fault("start", spec.Name, errNilHub)
	}
	if len(opts) > 0 {
		s := settings{spec: spec}
		if s.apply(opts); s.err != nil {
			return nil, fault("start", spec.Name, s.err)
		}
		spec = s.spec
	}
	if spec.Ref.ID != "" && len(ins) > 1 {
		return nil, fault("start", spec.Name, rpw.Errorf(rpw.ErrInvalid, "ID is of one action, and there are %d arguments; call Start for each", len(ins)))
	}
	specs := make([]rpw.ActionSpec, len(ins))
	for i, in := range ins {
		specs[i] = spec
		if specs[i].Arg, err = encode(in); err != nil {
			return nil, fault("start", spec.Name, rpw.Errorf(rpw.ErrInvalid, "the argument cannot be written as JSON: %w", err))
		}
		if spec.Ref.ID == "" {
			id, err := uuid.NewV7()
			if err != nil {
				return nil, fault("start", spec.Name, err)
			}
			specs[i].Ref.ID = id.String()
		}
	}
	return specs, nil
}

// encode is json.Marshal; what is JSON already is taken as it is, and checked by the hub.
func encode(in any) (json.RawMessage, error) {
	if raw, ok := in.(json.RawMessage); ok && raw != nil {
		return raw, nil
	}
	return json.Marshal(in)
}

// Run is Start and Wait: it stores an action and returns its output. ctx ends the wait only; the action goes on.
func (d *Definition[In, Out]) Run(ctx context.Context, hub *rpw.Hub, in In, opts ...Option) (Out, error) {
	handle, err := d.Start(ctx, hub, in, opts...)
	if err != nil {
		var none Out
		return none, err
	}
	return handle.Wait(ctx)
}

// Wait waits until the action ref, of this definition, is finished, and returns its output. One that failed or was cancelled is an *Error;
// ErrNotFound: there is none, or it is no longer kept; ErrConflict: its output is no Out.
func (d *Definition[In, Out]) Wait(ctx context.Context, hub *rpw.Hub, ref rpw.ActionRef) (Out, error) {
	return d.Handle(hub, ref).Wait(ctx)
}

// Watch follows the action ref; see Handle.Watch.
func (d *Definition[In, Out]) Watch(ctx context.Context, hub *rpw.Hub, ref rpw.ActionRef) Updates[Out] {
	return d.Handle(hub, ref).Watch(ctx)
}

// Handle returns a handle of an action that was started before, perhaps by another process. It is not looked up.
func (*Definition[In, Out]) Handle(hub *rpw.Hub, ref rpw.ActionRef) Handle[Out] {
	return Handle[Out]{Ref: ref, hub: hub}
}
