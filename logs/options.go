package logs

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/redis-process-worker/rpw"
)

// Defaults of a Handler.
const (
	DefaultBuffer = 4096 // records
	DefaultBatch  = 256  // records
)

// Option changes how NewHandler makes a Handler.
type Option func(*options)

type options struct {
	level    slog.Leveler
	source   string
	log      string
	keep     rpw.Retention
	buffer   int
	batch    int
	fallback slog.Handler
}

// WithLevel sets the lowest level that is logged; a *slog.LevelVar can be changed later. The default, also for nil, is slog.LevelInfo.
func WithLevel(l slog.Leveler) Option { return func(o *options) { o.level = l } }

// WithSource says which program or component writes; it becomes LogRecord.Source. The default is the name of the executable file.
func WithSource(source string) Option { return func(o *options) { o.source = source } }

// WithLog writes to another log than rpw.DefaultLog.
func WithLog(name string) Option { return func(o *options) { o.log = name } }

// WithKeep bounds what the log keeps, by count and by age. The default leaves the log its bounds, at first rpw.DefaultKeepEvents records. Over a socket it needs the
// right to administer the log.
func WithKeep(r rpw.Retention) Option { return func(o *options) { o.keep = r } }

// WithBuffer sets how many records are kept at most while they cannot be written; at least 2, 0 is DefaultBuffer. Together they hold
// at most 16 MiB, too.
func WithBuffer(records int) Option { return func(o *options) { o.buffer = records } }

// WithBatch sets how many records are written at once at most: up to rpw.MaxBatch and half of the buffer; 0 is DefaultBatch.
func WithBatch(records int) Option { return func(o *options) { o.batch = records } }

// WithFallback names a handler, such as a Console, that is told when the log cannot be written: at most two records a second.
func WithFallback(h slog.Handler) Option { return func(o *options) { o.fallback = h } }

// apply lets options change what they are for. A nil one changes nothing.
func apply[T any, O ~func(*T)](to *T, opts []O) {
	for _, opt := range opts {
		if opt != nil {
			opt(to)
		}
	}
}

func newOptions(opts []Option) options {
	o := options{level: slog.LevelInfo, source: filepath.Base(os.Args[0]), buffer: DefaultBuffer, batch: DefaultBatch}
	apply(&o, opts)
	if o.level == nil {
		o.level = slog.LevelInfo
	}
	if o.buffer <= 0 {
		o.buffer = DefaultBuffer
	}
	if o.batch <= 0 {
		o.batch = DefaultBatch
	}
	o.buffer = max(o.buffer, 2)
	o.batch = min(o.batch, o.buffer/2, rpw.MaxBatch-1) // one more says what was dropped
	return o
}
