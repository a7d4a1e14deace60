package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redis-process-worker/rpw"
)

const (
	batchSize = 256  // files looked up and started together
	maxOpen   = 2048 // files whose digest is started and not done: what a huge folder puts into the store
)

// scan walks a folder and starts a digest for each file that is new or has changed. It does not wait for the last of them.
func scan(ctx context.Context, root string, s *starter) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && path == root:
			return err
		case err != nil: // of a folder; those below the root are accounted for like files
			s.refuse(path, err)
			return nil
		case entry.IsDir():
			return nil
		}
		return s.add(ctx, path)
	})
	if err != nil {
		return err
	}
	return s.flush(ctx)
}

// countFiles counts what scan will find, for the progress bar; 0 if it is stopped.
func countFiles(ctx context.Context, root string) (n int64) {
	filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			n++
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return 0
	}
	return n
}

// starter starts digests in batches, as fast as they are done. Use it from one goroutine.
type starter struct {
	hub    *rpw.Hub
	ledger *ledger
	batch  []found
}

// found is a file that the scan met.
type found struct {
	path    Path
	stamp   Stamp
	regular bool // otherwise its digest will fail, and say why
}

// add takes a file; it may be started with a later one.
func (s *starter) add(ctx context.Context, path string) error {
	file := found{path: Path(path)}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		file.stamp, file.regular = stampOf(info), true
	}
	s.batch = append(s.batch, file)
	s.ledger.account(func(t *totals) { t.Scanned++ })
	if len(s.batch) < batchSize {
		return nil
	}
	return s.flush(ctx)
}

// refuse accounts for what cannot be started.
func (s *starter) refuse(path string, err error) {
	s.ledger.account(func(t *totals) {
		t.Scanned++
		t.add(FileDone{DigestIn: DigestIn{Path: Path(path)}, Error: reason(err)})
	})
}

// flush skips the files whose digest is remembered and starts the others, when there is room.
func (s *starter) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	remembered, err := s.remembered(ctx)
	if err != nil {
		return err
	}
	if err := s.ledger.wait(ctx, maxOpen-batchSize); err != nil {
		return err
	}
	var files []DigestIn
	for i, file := range s.batch {
		if file.regular && remembered[i].SHA256 != "" && remembered[i].Stamp == file.stamp {
			s.ledger.account(func(t *totals) { t.Skipped++; t.SkippedBytes += file.stamp.Size })
			continue
		}
		files = append(files, s.ledger.begin(file.path))
	}
	s.batch = s.batch[:0]
	if len(files) == 0 {
		return nil
	}
	handles, err := Digest.StartAll(ctx, s.hub, files)
	if err != nil {
		return err
	}
	s.ledger.started(files, handles)
	return nil
}

// remembered asks the cache about the batch in one call; what does not read as Remembered is not.
func (s *starter) remembered(ctx context.Context) ([]Remembered, error) {
	keys := make([]string, len(s.batch))
	for i, file := range s.batch {
		keys[i] = cacheKey(file.path)
	}
	values, err := s.hub.Cache().Get(ctx, rpw.GetRequest{Keys: keys})
	if err != nil {
		return nil, err
	}
	known := make([]Remembered, len(values))
	for i, value := range values {
		if value.Found && json.Unmarshal(value.Data, &known[i]) != nil {
			known[i] = Remembered{}
		}
	}
	return known, nil
}
