package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/workers"
)

// grace is how long a digest may go on when the program stops; a longer one is handed back, and begins anew elsewhere.
const grace = time.Second

// crew is the workers of this process.
type crew struct {
	workers []*workers.Worker
	stop    context.CancelFunc
	running sync.WaitGroup
	errs    []error // of each worker, once it has stopped
}

// startCrew starts n workers that digest files, until ctx ends or they are dismissed; failed is told why one could not go on.
func startCrew(ctx context.Context, hub *rpw.Hub, log *slog.Logger, n int, config workers.Config, failed func(error)) *crew {
	ctx, stop := context.WithCancel(ctx)
	c := &crew{stop: stop, errs: make([]error, n)}
	d := &digester{hub: hub, log: log}
	for i := range n {
		config.Name = "digest-" + strconv.Itoa(i+1)
		w := workers.New(hub, config)
		workers.Handle(w, Digest, d.digest) // Run returns its error, too
		c.workers = append(c.workers, w)
		c.running.Go(func() {
			if c.errs[i] = w.Run(ctx); c.errs[i] != nil {
				failed(c.errs[i])
			}
		})
	}
	return c
}

// dismiss stops the workers, waits for them, and says how many digests under way they handed back. Doing it again does no harm.
func (c *crew) dismiss() (handedBack int64) {
	c.stop()
	c.running.Wait()
	for _, w := range c.workers {
		handedBack += w.Stats().HandedBack
	}
	return handedBack
}

// err is why workers could not go on, or did not stop in order. Call it after dismiss.
func (c *crew) err() error { return errors.Join(c.errs...) }

// digester handles Digest.
type digester struct {
	hub *rpw.Hub
	log *slog.Logger
}

// digest reads a file, remembers its digest and tells of it. Everything it does may happen twice: the cache is written with
// the same digest again, and the event's key lets it be stored once.
func (d *digester) digest(ctx context.Context, in DigestIn) (DigestOut, error) {
	out, stamp, err := digestFile(ctx, string(in.Path))
	if err == nil {
		err = rpw.Set(ctx, d.hub, cacheKey(in.Path), Remembered{stamp, out.SHA256}, rpw.TTL(cacheTTL))
	}
	if ctx.Err() != nil { // stopped, cancelled or superseded: the file is not done with
		return out, context.Cause(ctx)
	}
	if err != nil && !rpw.IsPermanent(err) && attemptsLeft(ctx) {
		return out, err
	}
	event, done := "digested", FileDone{DigestIn: in, DigestOut: out}
	if err != nil {
		event, done.Error = "failed", reason(err)
		d.log.WarnContext(ctx, "a file could not be digested", "path", in.Path.String(), "reason", done.Error)
	}
	if _, told := FilesDone.Publish(ctx, d.hub, event, done, rpw.WithKey(in.Run+":"+strconv.Itoa(in.File))); told != nil {
		return out, errors.Join(told, err)
	}
	return out, err
}

func attemptsLeft(ctx context.Context) bool {
	run, ok := actions.Current(ctx)
	return ok && run.Attempt < run.MaxAttempts
}

// digestFile digests a regular file, and nothing else: opening a pipe or a device could block, or do something. The stamp is
// from before the reading, so that a change meanwhile shows in the next scan.
func digestFile(ctx context.Context, path string) (out DigestOut, stamp Stamp, err error) {
	began := time.Now()
	f, info, err := openRegular(path)
	if err != nil {
		return out, stamp, lasting(err)
	}
	defer f.Close()
	hash := sha256.New()
	if out.Size, err = io.Copy(hash, reader{ctx, f}); err != nil {
		return out, stamp, lasting(err)
	}
	out.SHA256 = hex.EncodeToString(hash.Sum(nil))
	out.Took = time.Since(began)
	return out, stampOf(info), nil
}

func openRegular(path string) (*os.File, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = checkRegular(info)
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = checkRegular(info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// errNotRegular: there is nothing to read.
var errNotRegular = errors.New("not a regular file")

func checkRegular(info os.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	kind := "special file"
	switch mode := info.Mode(); {
	case mode.IsDir():
		kind = "link to a folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "socket"
	case mode&fs.ModeDevice != 0:
		kind = "device"
	}
	return fmt.Errorf("%w (%s)", errNotRegular, kind)
}

// lasting marks the errors that another attempt would meet again.
func lasting(err error) error {
	for _, target := range []error{errNotRegular, fs.ErrNotExist, fs.ErrPermission, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENOTDIR} {
		if errors.Is(err, target) {
			return rpw.Permanent(err)
		}
	}
	return err
}

// reason is the text of err without the path, which stands beside it.
func reason(err error) string {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	return err.Error()
}

// reader reads until ctx ends, so that a huge file does not hold up a stop.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
