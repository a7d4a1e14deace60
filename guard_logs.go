package rpw

import (
	"context"
	"encoding/json"
)

// guardedLogs is the LogSink of a Hub: the driver's, or the log in a stream.
type guardedLogs struct{ h *Hub }

var _ LogSink = guardedLogs{}

// sink returns the driver's log. The stream log goes through the guarded streams, which add the namespace and the producer.
func (g guardedLogs) sink() (sink LogSink, name func(string) string) {
	if g.h.parts.Logs != nil {
		return g.h.parts.Logs, g.h.inward
	}
	if g.h.parts.Streams != nil {
		return NewStreamLogs(g.h.Streams()), func(name string) string { return name }
	}
	return nil, g.h.inward
}

func (g guardedLogs) Write(ctx context.Context, req WriteLogs) error {
	c := call{h: g.h, verb: "write log", items: len(req.Records)}
	if req.Log == "" {
		req.Log = DefaultLog
	}
	c.target = req.Log
	if err := first(checkStream(req.Log), checkItems(len(req.Records)), checkRetention(req.Keep)); err != nil {
		return c.wrap(err)
	}
	for i := range req.Records {
		if attrs := req.Records[i].Attrs; attrs != nil && !json.Valid(attrs) {
			return c.wrap(Errorf(ErrInvalid, "the attributes of record %d are not JSON", i))
		}
	}
	sink, name := g.sink()
	req.Log = name(req.Log)
	_, err := invoke(ctx, c, sink, func(sink LogSink, ctx context.Context, req WriteLogs) (struct{}, error) {
		return struct{}{}, sink.Write(ctx, req)
	}, req)
	return err
}

func (g guardedLogs) Query(ctx context.Context, q LogQuery) (LogPage, error) {
	c := call{h: g.h, verb: "query log", items: 1, repeat: true, waits: q.Wait > 0}
	if q.Log == "" {
		q.Log = DefaultLog
	}
	c.target = q.Log
	err := first(checkStream(q.Log), checkWait(q.Wait), pageMax(&q.Max, MaxPage, MaxPage))
	switch {
	case err != nil:
	case !q.Since.IsZero() && q.Since.UnixMilli() < 0 || !q.Until.IsZero() && q.Until.UnixMilli() <= 0:
		err = Errorf(ErrInvalid, "Since and Until need a time after 1970")
	case !q.Until.IsZero() && q.Until.Before(q.Since):
		err = Errorf(ErrInvalid, "the time range is empty: Until is before Since")
	}
	if err != nil {
		return LogPage{}, c.wrap(err)
	}
	sink, name := g.sink()
	q.Log = name(q.Log)
	return invoke(ctx, c, sink, LogSink.Query, q)
}
