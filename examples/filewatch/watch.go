package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/redis-process-worker/rpw"
)

// settle is how long changes are gathered: programs write a file in several steps.
const settle = 100 * time.Millisecond

// watcher watches a folder and all below it.
type watcher struct {
	*fsnotify.Watcher
	root    string
	folders int64
}

func newWatcher(root string) (*watcher, error) {
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{Watcher: inner, root: root}
	if err := w.addTree(root, func(string) error { return nil }); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watcher) close() { w.Watcher.Close() }

// addTree watches a folder and those below it, and tells of the files that are there.
func (w *watcher) addTree(dir string, file func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it is gone again, or closed to us: a scan tells of it
		case !entry.IsDir():
			return file(path)
		}
		err = w.Add(path) // before its files are listed, so that none is missed
		switch {
		case err == nil:
			w.folders++
		case errors.Is(err, syscall.ENOSPC):
			return fmt.Errorf("%s cannot be watched: more folders than the system allows (on Linux: sysctl fs.inotify.max_user_watches)", Path(path))
		case path == w.root:
			return fmt.Errorf("%s cannot be watched: %w", Path(path), err)
		}
		return nil
	})
}

// watchFolder digests what changes in the folder, and prints a line for each file, until ctx ends.
func (p *program) watchFolder(ctx context.Context, w *watcher) (err error) {
	l, err := openLedger(ctx, p.hub, p.printDone, p.fail)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	c := changes{program: p, watcher: w, starter: &starter{hub: p.hub, ledger: l}, paths: make(map[string]struct{})}
	p.out.printf("\nwatching %s (%s); Ctrl-C stops\n", Path(p.dir), counted(w.folders, "folder"))
	if err := c.follow(ctx); ctx.Err() == nil {
		return err
	}
	handedBack := p.crew.dismiss()
	err = errors.Join(ignoreStop(ctx), l.lookUp(context.WithoutCancel(ctx)))
	sum, open := l.now()
	p.out.printf("stopped: %s digested, %s failed; %s\n", counted(sum.Digested, "change"), number(sum.Failed), p.left(handedBack, open))
	return err
}

func (p *program) printDone(done FileDone) {
	if done.Error != "" {
		p.printLine("failed", done.Path, printable(done.Error))
		return
	}
	p.printLine("digested", done.Path, fmt.Sprintf("%s  %.12s…  %s", size(done.Size), done.SHA256, duration(done.Took)))
}

func (p *program) printLine(what string, path Path, more string) {
	if more != "" {
		more = "  " + more
	}
	p.out.printf("%s  %-8s  %s%s\n", time.Now().Format(time.TimeOnly), what, relative(p.dir, path), more)
}

// changes gathers what the watcher tells and starts digests.
type changes struct {
	program *program
	watcher *watcher
	starter *starter
	paths   map[string]struct{}
	due     <-chan time.Time // nil: nothing is gathered
}

func (c *changes) gather(path string) {
	c.paths[path] = struct{}{}
	if c.due == nil {
		c.due = time.After(settle)
	}
}

func (c *changes) follow(ctx context.Context) error {
	stalled := time.NewTicker(stall)
	defer stalled.Stop()
	for {
		var err error
		select {
		case event := <-c.watcher.Events:
			if event.Op == fsnotify.Chmod {
				continue
			}
			c.gather(event.Name)
		case err = <-c.watcher.Errors:
			if errors.Is(err, fsnotify.ErrEventOverflow) { // some changes were not told
				c.gather(c.watcher.root)
				err = nil
			}
		case <-c.due:
			c.due = nil
			err = c.start(ctx)
		case <-stalled.C:
			err = c.starter.ledger.lookUp(ctx)
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// start takes the paths gathered.
func (c *changes) start(ctx context.Context) error {
	for _, path := range slices.Sorted(maps.Keys(c.paths)) {
		if err := c.look(ctx, path); err != nil {
			return err
		}
	}
	clear(c.paths)
	return c.starter.flush(ctx)
}

// look sees what has become of a path: a folder, a file, or nothing.
func (c *changes) look(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && path == c.watcher.root:
		return fmt.Errorf("%s is gone", Path(path))
	case errors.Is(err, fs.ErrNotExist):
		return c.forget(ctx, Path(path))
	case err == nil && info.IsDir():
		return c.watcher.addTree(path, func(path string) error { return c.starter.add(ctx, path) })
	}
	return c.starter.add(ctx, path)
}

// forget takes a file that is gone out of the cache. Folders and files that came and went are not in it.
func (c *changes) forget(ctx context.Context, path Path) error {
	n, err := rpw.Delete(ctx, c.program.hub, cacheKey(path))
	if n > 0 {
		c.program.printLine("removed", path, "")
	}
	return err
}
