package rpw

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// LogSink is the contract of a driver for the global log. The rules of StreamBus for every method hold
// here too. A driver may leave it out: NewStreamLogs keeps the log in a stream.
// Package logs has the slog.Handler, the console and the typed tail over it.
type LogSink interface {
	// Write appends records in order, all or none.
	Write(ctx context.Context, req WriteLogs) error
	// Query returns a page of the records that match, oldest first or newest first. A page that matched nothing still moves
	// Next. With Wait it is a tail: it waits until a matching record arrives.
	Query(ctx context.Context, q LogQuery) (LogPage, error)
}

// DefaultLog is the stream that holds the global log, by the name the original gives it.
const DefaultLog = "logQueue"

// WriteLogs carries records, 1 to MaxBatch, together at most MaxBatchBytes.
type WriteLogs struct {
	Log     string // the stream that holds the log; "": DefaultLog
	Records []LogRecord
	Keep    Retention // zero: what the log had, at first DefaultKeepEvents
}

// LogRecord is one record of the global log.
type LogRecord struct {
	ID       string     // unique; set by the writer
	Position Position   // set by the store
	Time     time.Time  // by the writer's clock, milliseconds
	Level    slog.Level //
	Message  string
	Source   string          // which program or component wrote it
	Worker   string          // the worker it was written in, "" outside of one
	Action   string          // the action it was written in, as ActionRef text, "" outside of one
	Attempt  int             // of that action
	Attrs    json.RawMessage // the attributes, one JSON object; may be nil
}

// LogFilter selects records. Zero fields select everything.
type LogFilter struct {
	Level  *slog.Level // this level and above; nil: all
	Source string
	Worker string
	Action string            // ActionRef text
	Text   string            // in the message, without regard to case
	Attrs  map[string]string // these attributes, by path ("http.status"), with these values as text
}

// LogQuery asks for a page of records.
type LogQuery struct {
	LogFilter
	Log     string        // the stream that holds the log; "": DefaultLog
	After   Position      // exclusive; zero: the oldest (Reverse: the newest)
	Since   time.Time     // stored at this time or later; zero: no bound
	Until   time.Time     // stored before this time; zero: no bound
	Max     int           // records looked at and returned at most; 0 or above MaxPage: MaxPage
	Reverse bool          // newest first; never waits
	Wait    time.Duration // how long to wait for a record
}

// LogPage is a page of records.
type LogPage struct {
	Records []LogRecord
	Next    Position // where the next query goes on; it moves also past records that did not match
	More    bool     // there was more to look at when the page was full
}
