package rpw

import (
	"bytes"
	"context"
	"encoding/json"
)

// guardedLogs is the LogSink of a Hub: the driver's, or the log in a stream.
type guardedLogs struct{ h *Hub }

var _ LogSink = guardedLogs{}

// sink returns the driver's log. The stream log goes through the guarded streams, which add the namespace and the producer, and repeat.
func (g guardedLogs) sink(c *call, log *string) LogSink {
	if g.h.parts.Logs == nil && g.h.parts.Streams != nil {
		c.nested = true
		return NewStreamLogs(g.h.Streams())
	}
	*log = g.h.inward(*log)
	return g.h.parts.Logs
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
	total := 0
	for i := range req.Records {
		size, err := checkRecord(&req.Records[i])
		if err != nil {
			return c.wrap(err)
		}
		total += size
	}
	if total > MaxBatchBytes {
		return c.wrap(Errorf(ErrTooLarge, "the records have %d bytes together (max %d); split the call", total, MaxBatchBytes))
	}
	sink := g.sink(&c, &req.Log)
	_, err := invoke(ctx, c, sink, func(sink LogSink, ctx context.Context, req WriteLogs) (struct{}, error) {
		return struct{}{}, sink.Write(ctx, req)
	}, req)
	return err
}

func checkRecord(r *LogRecord) (size int, err error) {
	size = recordSize(r)
	if err := checkSize("the record", size); err != nil {
		return size, err
	}
	if r.Attrs != nil && (!json.Valid(r.Attrs) || bytes.TrimLeft(r.Attrs, " \t\r\n")[0] != '{') {
		return size, Errorf(ErrInvalid, "the attributes are no JSON object")
	}
	return size, nil
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
	case !q.After.IsZero() && q.After.Epoch == 0:
		err = Errorf(ErrInvalid, "After has no epoch; use the Next of a page")
	case !q.Since.IsZero() && q.Since.UnixMilli() < 0 || !q.Until.IsZero() && q.Until.UnixMilli() <= 0:
		err = Errorf(ErrInvalid, "Since and Until need a time after 1970")
	case !q.Until.IsZero() && q.Until.Before(q.Since):
		err = Errorf(ErrInvalid, "the time range is empty: Until is before Since")
	}
	if err != nil {
		return LogPage{}, c.wrap(err)
	}
	sink := g.sink(&c, &q.Log)
	return invoke(ctx, c, sink, LogSink.Query, q)
}

func recordSize(r *LogRecord) int {
	return len(r.ID) + len(r.Message) + len(r.Source) + len(r.Worker) + len(r.Action) + len(r.Attrs)
}
