package rpw

import "context"

// Origin says where code runs: in which worker, action and attempt. Package workers puts it into the ctx of
// a handler, so that what is logged with that ctx carries it.
type Origin struct {
	Worker  string    // the worker's name, "" outside of one
	Action  ActionRef // zero outside of an action
	Attempt int       // of that action, from 1
}

type originKey struct{}

// WithOrigin returns a ctx that carries o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns the Origin that ctx carries; ok is false if there is none.
func OriginOf(ctx context.Context) (o Origin, ok bool) {
	if ctx == nil {
		return o, false
	}
	o, ok = ctx.Value(originKey{}).(Origin)
	return o, ok
}
